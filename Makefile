# `make run` serves a homeserver on this machine, `make test` runs the tests. Needs make, git and Python 3.11 or later.
# pip is used as it is configured here; set PYTHON to choose an interpreter, ARGS to pass arguments on.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
SERVER_NAME ?= localhost
LISTEN ?= 127.0.0.1:8008
# Anyone who can reach the server may register, so registration is open only while that is this machine.
REGISTRATION ?= $(if $(filter 127.% localhost:% [::1]:%,$(LISTEN)),open,closed)
# For the same reason the first account that registers may be the administrator's.
FIRST_USER := $(if $(filter 127.% localhost:% [::1]:%,$(LISTEN)),true,false)
# For the same reason again: a demo shop with the support chat on it, at shop.localhost.
# Whoever tries it out is many visitors at one address.
DEMO := $(if $(filter true,$(FIRST_USER)),HROMADA_SUPPORT_DEMO=true \
	HROMADA_RATE_LIMITS_SUPPORT_VISITORS_ADDRESS=1/100 HROMADA_RATE_LIMITS_SUPPORT_CASES=1/100)
WORKERS ?= 2
ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

# What the web client is built of; `make run` builds it anew when one of these is newer than the last build.
WEB := embed/web
WEB_SOURCES := $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist*/*' 2>/dev/null)

.PHONY: help run test test-all lint bench chaos soak docs format clean web web-dev wheel

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: $(VENV)/run.stamp ## Serve a homeserver for this machine on http://localhost:8008, with its data in ./data
	@$(MAKE) --no-print-directory web || echo 'The web client could not be built (see above); going on without it.' >&2
	@printf '%s\n' \
		'Starting Hromada as $(SERVER_NAME), with everything it keeps in $(DATA)/. When it says `ready`:' \
		'  Open          http://localhost:$(lastword $(subst :, ,$(LISTEN))) in a browser, or any Matrix client with that as the homeserver' \
		'  First admin   $(if $(filter true,$(FIRST_USER)),the first account that registers; or )$(BIN)/hromada user add --data-dir $(DATA) --admin NAME' \
		'  Others        register there (registration is $(REGISTRATION))' \
		'  Stop          Ctrl-C; the next `make run` goes on where this one ends'
	@exec env HROMADA_REGISTRATION_FIRST_USER=$(FIRST_USER) $(DEMO) \
		$(BIN)/hromada run --data-dir $(DATA) --server-name $(SERVER_NAME) --listen $(LISTEN) \
		--registration $(REGISTRATION) $(ARGS)

test: $(VENV)/dev.stamp ## Run a contributor's tests on SQLite and on a throwaway PostgreSQL (ARGS='-k sync' narrows)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations 10 --tier contributor $(ARGS)

test-all: $(VENV)/dev.stamp ## Run every test: also chaos, abuse, other programs as clients, browsers
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations 10 $(ARGS)

lint: $(VENV)/dev.stamp ## Check style, types, import layers and the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/architecture docs/spec
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet -n $(WORKERS) tests/architecture
	$(BIN)/python $(WEB)/build.py check

format: $(VENV)/dev.stamp ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web: $(WEB)/dist/manifest.json ## Build the web client (Node is fetched from PyPI if there is none)

web-dev: $(VENV)/run.stamp ## Build the web client anew at every change, until Ctrl-C
	@$(BIN)/python $(WEB)/build.py watch

wheel: web ## Make an installable package with the web client in it, in dist/
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

bench: $(VENV)/dev.stamp ## Measure throughput and latency (ARGS are the benchmark's)
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/dev.stamp ## Kill, stall and restart a server under load and check what its clients saw (--chaos-seeds N)
	$(BIN)/python -m pytest tests/chaos $(ARGS)

soak: $(VENV)/dev.stamp ## Load a server for 20 minutes and check that its memory stays flat
	$(BIN)/python -m pytest tests/chaos/test_soak.py -s --soak-minutes 20 $(ARGS)

docs: $(VENV)/dev.stamp ## Write docs/generated anew from the code
	$(BIN)/python -m tests.architecture.documents

clean: ## Remove the virtual environment and caches; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	rm -rf $(WEB)/node_modules $(WEB)/dist $(WEB)/dist.new
	find . -name __pycache__ -not -path './data/*' -prune -exec rm -rf {} +

$(WEB)/dist/manifest.json: $(WEB_SOURCES) | $(VENV)/run.stamp
	@$(BIN)/python $(WEB)/build.py build
	@touch $@

# The environments are installed once and again when pyproject.toml changes, so a second start is quick.
$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing Hromada into $(VENV) (the first time this takes a minute) ...'
	@$(PIP) --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing Hromada and its test tools into $(VENV) (the first time this takes some minutes) ...'
	@$(PIP) --editable '.[test,lint]'
	@touch $(VENV)/run.stamp $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'Hromada needs Python 3.11 or later, and there is no $(PYTHON) here.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Hromada needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name a newer one: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'This Python cannot make virtual environments; on Debian and Ubuntu install the package python3-venv.' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
