# Needs nothing but GNU make and Python >= 3.11 with pip.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Two installations into one environment at once would damage it.
.NOTPARALLEL:
.PHONY: help setup demo test cover lint docs audit format up clean

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
TESTS := $(VENV)/.installed-tests
LINTERS := $(VENV)/.installed-linters
DOCS := $(VENV)/.installed-docs
EVERYTHING := $(VENV)/.installed-everything
# Modules are compiled when they are first imported: few of those installed ever are.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt
CODE := $(wildcard components flows benchmarks tests tools docs/reference docs/notebooks docs/examples)
TYPED := $(wildcard components flows benchmarks tools)
PYTEST := $(BIN)/python -m pytest

# Test processes side by side; one file stays in one process, with what it has set up. Files of slow
# tests keep the order of tests/conftest.py, the longest first: else it would run alone at the end.
# Slow tests wait for servers and other processes a third of their time: one process more.
WORKERS ?= 2
SLOW_WORKERS ?= $(shell expr $(WORKERS) + 1)
SPREAD := --dist loadfile

# The first Python on the path that is new enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# Nothing phones home.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT := false
export PREFECT_CLI_PROMPT := false
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without compiled modules every process compiles the libraries it imports: seconds each time.
unexport PYTHONDONTWRITEBYTECODE
# Busy threads of two processes on the same cores slow each other down tenfold and more.
export OMP_WAIT_POLICY := PASSIVE
export MLFLOW_BACKEND_STORE_URI := sqlite:///mlruns/mlflow.db

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(RUNTIME) $(TESTS) $(LINTERS) ## Make .venv and install everything (only when something changed)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python >= 3.11 was not found. Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[demo]"
	@touch $@

# For .ci/run, by one call of pip: each call builds the project and compares all packages again.
$(EVERYTHING): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[demo,test,content,dev,docs]"
	@touch $(RUNTIME) && touch $(TESTS) $(LINTERS) $(DOCS) $@

# With the weights of encoders (content): 8 seconds of processor time, 210 MB.
$(TESTS): $(RUNTIME)
	$(INSTALL) -e ".[demo,test,content]"
	@touch $@

$(LINTERS): $(RUNTIME)
	$(INSTALL) -e ".[demo,dev]"
	@touch $@

$(DOCS): $(RUNTIME)
	$(INSTALL) -e ".[demo,docs]"
	@touch $@

demo: $(RUNTIME) ## Train, compare and promote on a real log of purchases
	$(BIN)/chronotope demo

# pytest exits with 5 when nothing is marked slow; that is no failure.
test: export OMP_NUM_THREADS := 1
test: $(TESTS) ## Fast tests first, then the slow ones
	$(PYTEST) -n $(WORKERS) $(SPREAD) -m "not slow" $(PYTEST_ARGS)
	$(PYTEST) -n $(SLOW_WORKERS) $(SPREAD) --no-loadscope-reorder -m slow -o testpaths=tests $(PYTEST_ARGS) || test $$? -eq 5

cover: export OMP_NUM_THREADS := 1
cover: $(TESTS) ## All tests, with branch coverage
	$(PYTEST) --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

lint: $(TESTS) $(LINTERS) ## Format, style, types, layers, spelling, dependencies, readability
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/deptry $(TYPED)
	$(BIN)/python tools/readability.py components flows

docs: export NO_MKDOCS_2_WARNING := true
docs: export DISABLE_MKDOCS_2_WARNING := true
docs: $(DOCS) ## Build the documentation site into build/site, broken links are errors
	$(BIN)/python -m mkdocs build --quiet --strict

# In an environment of its own: what it needs must not move our pins. Strict: what the index does not
# know is no package without vulnerabilities. It asks the package index
# (PIP_INDEX_URL, or pypi.org); AUDIT_ARGS="-s osv" asks osv.dev instead.
audit: ## Known vulnerabilities of the pinned packages (needs the network)
	test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet pip-audit; }
	.audit/bin/pip-audit -r constraints.txt --no-deps --disable-pip --strict --progress-spinner off $(AUDIT_ARGS)

format: $(LINTERS) ## Format and fix what can be fixed
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

up: $(RUNTIME) ## Start the Prefect UI, the MLflow UI, the deployments and the service until Ctrl-C
	@$(BIN)/chronotope up $(if $(DATASET),--dataset $(DATASET),--config conf/training/quick.yaml)

clean: ## Remove the environment and caches; data and models stay
	rm -rf $(VENV) .audit build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find components flows benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
