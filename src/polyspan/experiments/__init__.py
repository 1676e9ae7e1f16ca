"""Recipes and run folders."""
