# From a fresh clone with Python 3.11+ and make: `make test` proves Daybook, `make demo` shows it.
# Every path is relative, so the checkout may live anywhere, spaces included.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# A network may trust a certificate authority of its own: uv and pip use the system's certificates where there are any.
CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
  /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem))
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= true
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test test-fast torture mutants check lint types imports format demo bench wheel sbom release clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 19

setup: $(READY)  ## create .venv with the locked dependencies

$(READY): pyproject.toml uv.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Daybook needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "creating .venv"; rm -rf .venv; "$(PYTHON)" -m venv .venv; }
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || { \
	  PIP_CERT="$${PIP_CERT:-$$($(BIN)/python -m pip config get global.cert 2>/dev/null || echo $(CERTIFICATES))}" \
	  $(BIN)/python -m pip install --quiet uv; }
	@$(BIN)/python -m uv sync --frozen --quiet --compile-bytecode
	@touch $(READY)

test: check  ## check everything, then run every test
	@$(BIN)/python -m pytest

test-fast: $(READY)  ## every test but the slow ones and those in a browser: three minutes
	@$(BIN)/python -m pytest -m "not slow and not browser"

KILLS ?= 200
MUTATIONS ?= 10000
ifndef SEED
SEED := $(shell date +%s)
endif
torture: $(READY)  ## kill 200 times under load, tamper 10,000 times (KILLS=, MUTATIONS=, SEED=)
	@echo "torture from seed $(SEED)"
	@DAYBOOK_TORTURE_KILLS=$(KILLS) DAYBOOK_TORTURE_SEED=$(SEED) $(BIN)/python -m pytest -n 0 tests/scenarios/torture -s
	@DAYBOOK_MUTATIONS=$(MUTATIONS) DAYBOOK_MUTATIONS_SEED=$(SEED) \
	  $(BIN)/python -m pytest -n 0 tests/adapters/verify/test_verification.py -k every_mutation

MUTANTS ?= 1000000
mutants: $(READY)  ## read a million mutated bundles, checkpoints, keys, cursors and files (MUTANTS=, SEED=)
	@$(BIN)/python -m tests.scenarios.mutants $(MUTANTS) $(SEED)
	@DAYBOOK_MUTANTS_RESTORED=1000 DAYBOOK_MUTATIONS_SEED=$(SEED) \
	  $(BIN)/python -m pytest -n 0 tests/scenarios/mutants -k restored

check: lint types imports  ## lint, types and the direction of imports

lint: $(READY)  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict
	@$(BIN)/python -m mypy

format: $(READY)  ## format the code, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

imports: $(READY)  ## the contracts between the packages
	@$(BIN)/lint-imports
	@$(BIN)/deptry .

demo: $(READY)  ## a trading day on your screen; Ctrl-C ends it
	@$(BIN)/daybook demo

bench: $(READY)  ## measure beside the peers; one JSON object a line
	@UV_PROJECT_ENVIRONMENT=.venv-bench $(BIN)/python -m uv sync --frozen --quiet --no-default-groups --group bench
	@for bench in $$(ls benchmarks/[a-z]*.py | grep -v -e lines.py -e desk.py -e servers.py); do \
	  .venv-bench/bin/python -m "benchmarks.$$(basename "$$bench" .py)" || exit 1; \
	done

wheel: $(READY)  ## dist/daybook-*.whl, and dist/requirements.txt: what it runs on, with digests
	@$(BIN)/python -m hatchling build -t wheel
	@$(BIN)/python -m uv export --quiet --frozen --no-default-groups --no-emit-project --no-header \
	  --output-file dist/requirements.txt

sbom: $(READY)  ## dist/daybook-*.cdx.json, what it runs on (CycloneDX), and docs/licences.md
	@$(BIN)/python docs/sbom.py

release: $(READY)  ## tag a release and build its files: VERSION=0.2.0 (runs all tests first; TESTED=yes: they were run)
	@$(BIN)/python docs/release.py check "$(VERSION)"
	@test "$(TESTED)" = yes || $(MAKE) test
	@$(BIN)/python docs/release.py make "$(VERSION)"

clean:  ## remove what make made (not the data in .daybook)
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
