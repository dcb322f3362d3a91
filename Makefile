# Every target makes the virtual environment first if it is missing or out of date. Nothing is installed globally, but
# for the programs that tests start, by `make test` of root.
# `make help` lists the targets. Plain POSIX sh throughout.

PYTHON3 ?= python3
REPO ?= .
SEEDS ?= 2000
FAULTS ?= 30
SEED ?= 1
HOURS ?= 2
SECONDS ?= 60
# More than there are processors: for half of its time a test waits, for processes of its own or for a clock.
JOBS ?= $$((2 * $$(nproc)))

VENV := .venv
READY := $(VENV)/.ready
RUNS := $(VENV)/.runs
PYTHON := $(VENV)/bin/python
# The folders that hold code. Those that are missing are checked as soon as they exist.
CODE := $(wildcard surveil tests benchmarks tools)
CORE_TESTS := $(wildcard tests/core tests/contract tests/tools/test_reference.py tests/test_house.py)
BENCHES := dispatch latency push builds failover scale logs followers files idle watch validate covering shards containers pages
# Spreads the tests over workers. Eight are plenty: the system tests start processes of their own.
SPREAD := -n $(JOBS) --maxprocesses 8 --dist worksteal
COMPILE := build/constraints/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--upgrade --no-header --no-emit-index-url --no-emit-find-links \
	--group build pyproject.toml

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What is compiled is kept, whatever the environment says: else every worker compiles every test, and every process that
# a test starts compiles surveil.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up test long check format lint types contracts core sim campaign soak fuzz bench $(BENCHES:%=bench-%) docs constraints clean

help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# $(call install,CONSTRAINTS)
define install
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "surveil needs Python 3.11 or newer, and '$(PYTHON3)' is not:" \
			"install one and type 'make PYTHON3=python3.11 $(MAKECMDGOALS)'." >&2; exit 1; }
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments: on Debian or Ubuntu type" \
			"'apt install python3-venv', then 'make $(MAKECMDGOALS)' again." >&2; exit 1; }
	@echo "Setting up $(VENV) from $(1) (this happens once, and again when it changes)."
	@$(PYTHON) -c '' 2>/dev/null || $(PYTHON3) -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --require-hashes -r $(1)
	@$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation -e .
endef

$(READY): constraints-dev.txt pyproject.toml
	$(call install,constraints-dev.txt)
	@touch $(RUNS) $@

# What surveil itself needs is a fraction of what its tests do, and enough for who uses it.
$(RUNS): constraints.txt pyproject.toml
	$(call install,constraints.txt)
	@touch $@

setup: $(RUNS) ## Makes the virtual environment with all that surveil needs, and starts nothing.

up: $(RUNS) ## Runs observer, dispatcher and runner on REPO (default: this repository).
	@$(PYTHON) -m surveil up $(REPO)

test: $(READY) ## Runs the tests, spread over the processors, in a quarter of an hour on two of them.
	@.ci/programs where-it-may
	@$(PYTHON) -m pytest $(SPREAD) -m "not long"

long: $(READY) ## Runs the tests that take long: searches for what nobody thought of, and the how-tos about images.
	@.ci/programs where-it-may
	@$(PYTHON) -m pytest $(SPREAD) -m long

check: format lint types contracts core ## Runs what every commit must pass, in under a minute.

format: $(READY)
	@echo "Layout (ruff format)"
	@$(VENV)/bin/ruff format --check --output-format concise $(CODE) > $(VENV)/format.log || { cat $(VENV)/format.log; \
		echo "Type '$(VENV)/bin/ruff format $(CODE)' to lay these files out." >&2; exit 1; }

lint: $(READY)
	@echo "Rules (ruff check)"
	@$(VENV)/bin/ruff check --quiet $(CODE)

types: $(READY)
	@echo "Types (mypy --strict)"
	@$(VENV)/bin/mypy --no-error-summary $(CODE)

contracts: $(READY)
	@echo "Import contracts (import-linter)"
	@$(VENV)/bin/lint-imports --config setup.cfg > $(VENV)/contracts.log || { cat $(VENV)/contracts.log; exit 1; }

core: $(READY)
	@echo "House rules and the minds (pytest)"
	@$(PYTHON) -m pytest --quiet $(CORE_TESTS)

sim: $(READY) ## Runs SEEDS simulated clusters (default: 2000).
	@$(PYTHON) -m pytest $(SPREAD) tests/simulation --seeds $(SEEDS)

campaign: $(READY) ## Strikes a cluster of real processes with FAULTS faults (default: 30), drawn from SEED.
	@$(PYTHON) -m tests.campaign --faults $(FAULTS) --seed $(SEED)

fuzz: $(READY) ## Fuzzes every reader for SECONDS each (default: 60).
	@$(PYTHON) -m tests.fuzz --seconds $(SECONDS)

soak: $(READY) ## Strikes a cluster for HOURS (default: 2), and measures what grows.
	@$(PYTHON) -m tests.campaign.soak --hours $(HOURS) --seed $(SEED)

bench: $(BENCHES:%=bench-%) ## Runs every benchmark; bench-dispatch and so on run one.

$(BENCHES:%=bench-%): bench-%: $(READY)
	@$(PYTHON) -m benchmarks.$*

docs: $(READY) ## Regenerates the reference pages from the code.
	@$(PYTHON) -m tools.reference

constraints: ## Resolves the newest allowed versions into both constraints files.
	@$(PYTHON3) -m venv build/constraints
	@build/constraints/bin/python -m pip install --quiet uv
	@$(COMPILE) --output-file constraints.txt
	@$(COMPILE) --extra dev --output-file constraints-dev.txt
	@if grep -n '://' constraints.txt constraints-dev.txt; then \
		echo "A constraints file names an address; see docs/dependencies.md." >&2; exit 1; fi

clean: ## Removes everything that make and the checks have made.
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
		.coverage .coverage.* htmlcov
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
