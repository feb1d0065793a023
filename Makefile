# Each target sets up what it needs, once. Another Python: make test PYTHON=python3.12
PYTHON ?= python3

# Processes that share the tests; 0: this one alone, for a debugger.
WORKERS ?= 2

.PHONY: help demo test lint check bench goldens docs

help:
	@echo "make demo     the light core in its own environment, and its picture: facemend-demo.png"
	@echo "make test     every test; one file: make test ARGS=tests/unit/metrics/test_seam.py"
	@echo "make lint     format, style, types, imports"
	@echo "make check    lint and test"
	@echo "make bench    every benchmark, one after the other"
	@echo "make docs     the documentation's site, for reading offline: site/index.html"
	@echo "make goldens  draws the golden pictures anew; look at each before you commit it"

demo: .venv-demo/.ready
	.venv-demo/bin/facemend demo

test: .venv/.ready
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: .venv/.ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint test

bench: .venv/.ready
	@for script in benchmarks/*.py; do echo "$$script"; .venv/bin/python "$$script" || exit 1; done

goldens: .venv/.ready
	.venv/bin/python -m tests.golden.occlusions

docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

# $(call install,environment,package): a virtual environment with the tested versions.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	"facemend needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo not there). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	exit 1; }
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '$(2)'
@touch $(1)/.ready
endef

.venv/.ready: pyproject.toml constraints.txt
	$(call install,.venv,.[dev])

.venv-demo/.ready: pyproject.toml constraints.txt
	$(call install,.venv-demo,.)

.venv-docs/.ready: pyproject.toml constraints.txt
	$(call install,.venv-docs,.[docs])
