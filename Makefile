# Everything sets itself up: Python 3.11 and make are all that must be there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
SEED ?= 1
DURATION ?= 600
UV := UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv
# A venv of the caller's must not leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.PHONY: help setup demo up test chaos check bench lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## Build .venv from requirements.lock (every other target does it by itself)

.venv/.ready: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(UV) pip sync --quiet --require-hashes requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Start everything on this machine, run jobs of every kind through faults, and prove the result
	@$(BIN)/python -m sandbox.demo

up: setup ## Run ferryman here with the fake vendors, until Ctrl-C
	@$(BIN)/ferryman up --sandbox

test: setup ## Run the tests (embedded servers, or FERRYMAN_DATABASE_URL and FERRYMAN_BROKER_URL)
	@$(BIN)/pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder

chaos: setup ## Faults of every kind for half an hour (SEED=1 DURATION=600), and a table of what was lost or done twice
	@CHAOS=1 CHAOS_SEED=$(SEED) CHAOS_SECONDS=$(DURATION) $(BIN)/pytest -q -rs tests/chaos tests/money/test_machine.py tests/client/test_examples.py tests/tasks/test_sync_plan.py tests/walk/test_breaker.py tests/walk/test_faults.py tests/client/test_producers.py

check: setup ## Lint, types, import contracts, Compose schema, key-shaped strings
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@! git grep -nIE '(sk|rk)_live_[0-9A-Za-z]{8}|whsec_[0-9A-Za-z]{24}|SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY' -- . ':!Makefile' || (echo 'key-shaped strings: see above' >&2; false)

bench: setup ## Measure beside bare Celery and others, CASES="short waiting" or all (ten minutes)
	@$(UV) pip install --quiet --require-hashes -r bench/requirements.lock
	@$(BIN)/python -m bench $(CASES)

lock: ## Renew requirements.lock
	@$(UV) pip compile pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade --quiet --output-file requirements.lock
	@$(UV) pip compile pyproject.toml --all-extras --group dev --group bench --constraints requirements.lock --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet --output-file bench/requirements.lock

clean: ## Remove .venv and the embedded servers' data
	@# As root below a closed folder, PostgreSQL keeps its data elsewhere, behind a link.
	@find .ferryman -name postgres -type l -exec readlink -f {} \; 2>/dev/null | xargs -r rm -rf
	rm -rf .venv .ferryman
