# Everything a person or CI does here. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test check lint format types generate generated-is-current proto-is-good lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort | awk -F '\t' '{printf "  make %-22s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Serve in development mode: sample data, a token and calls to paste
	@dashkeeper serve --dev

test: $(VENV)/.dev ## Run the whole test suite
	@pytest -n 2

check: lint types proto-is-good generated-is-current ## All that CI checks
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.dev ## Check style and format
	@ruff check
	@ruff format --check

format: $(VENV)/.dev ## Mend style and format where a tool can
	@ruff check --fix
	@ruff format
	@buf format -w --path proto/dashboards --path proto/insights --path proto/registrations

types: $(VENV)/.dev ## Check types, strictly
	@pyright

generate: $(VENV)/.dev ## Generate code from proto/, offline
	@buf generate

generated-is-current: $(VENV)/.dev ## Fail if proto/ and the committed code differ
	@rm -rf build/generated && buf generate -o build/generated
	@diff -r -x __pycache__ build/generated/src/dashkeeper/gen src/dashkeeper/gen \
		|| { echo 'proto/ and src/dashkeeper/gen differ: run `make generate`'; exit 1; }

proto-is-good: $(VENV)/.dev ## Lint proto/, and fail on changes that break clients of the last release
	@buf lint
	@buf format --diff --exit-code --path proto/dashboards --path proto/insights --path proto/registrations
	@buf build -o - | buf breaking - --against proto/baseline.binpb --config buf.yaml

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml
	@uv pip compile $(LOCK) --group build --group try -o requirements.txt
	@uv pip compile $(LOCK) --group build --group try --group dev -o requirements-dev.txt

LOCK := pyproject.toml --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade

clean: ## Remove the environment and what was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

# The environments: made once, and again when a lock file changed.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo 'venv is missing: on Debian and Ubuntu, apt install python3-venv'; rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo 'Installing Dashkeeper into $(VENV) ...'
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo 'Installing the tools for development into $(VENV) ...'
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
