"""A thin trainer, teacher generations, progress."""
