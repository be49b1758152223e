# What the README tells a newcomer to type. It needs Python >= 3.11, pip and make; everything else goes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test lint docs bench clean python-is-new-enough
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:
	@echo "make demo    optimize the bundled model at -O2 and show it before and after"
	@echo "make test    check style and types, then run all tests"
	@echo "make lint    check style and types only"
	@echo "make docs    write the pages that are made from docstrings"
	@echo "make bench   print measured ratios to other tools (minutes)"
	@echo "make clean   delete build products and caches, not $(VENV)"
	@echo
	@echo "PYTHON=$(PYTHON) makes the environment $(VENV); tests run in JOBS=$(JOBS) processes."

demo: $(VENV)/.demo-installed
	$(BIN)/pruna-opt --demo

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.test-installed
	$(BIN)/python scripts/make_docs.py

bench: $(VENV)/.test-installed
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The files named .*-installed say that an install is done, so that a second call goes straight to work. The install is
# editable: what is tested and run is the tree that is being edited, with no reinstall after a change.
$(VENV)/.demo-installed: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing pruna-ir into $(VENV) (once)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test-installed: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "Installing pruna-ir and its test tools into $(VENV) (once)"
	@$(PIP) --editable '.[test]'
	@touch $(VENV)/.demo-installed $@

$(VENV)/pyvenv.cfg: | python-is-new-enough
	$(PYTHON) -m venv $(VENV)

python-is-new-enough:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo missing); \
	  echo "error: pruna-ir needs Python 3.11 or newer, '$(PYTHON)' is $$found"; \
	  echo "  = help: name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; \
	  exit 1; } >&2
