# Every target sets up its own .venv from a bare Python 3.11 or later.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-all venv check coverage docs release-check

demo: venv
	$(BIN)/polyspan demo

test: venv check
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-all: venv check
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m ""

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Lines and branches that the tests reach, the files with the largest holes last.
coverage: venv
	$(BIN)/python -m pytest --cov=polyspan --cov-branch --cov-report=
	$(BIN)/coverage report --skip-covered --skip-empty --sort=-cover --show-missing

# The site, in build/site; a dead link or an unknown name is an error.
docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

# What a release must pass: both archives, and the wheel used from a clean place.
release-check: venv
	PYTHON="$(PYTHON)" ./scripts/release-check

venv: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@
