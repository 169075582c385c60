# Everything a person or CI does here. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENT := clients/python
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test check lint format types generate generated-is-current proto-is-good lock \
	clients client-python clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort | awk -F '\t' '{printf "  make %-22s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Serve in development mode: sample data, a token and calls to paste
	@dashkeeper serve --dev

test: $(VENV)/.dev $(CLIENT)/.venv/.installed ## Run the whole test suite
	@pytest -n 2

check: lint types proto-is-good generated-is-current ## All that CI checks
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.dev ## Check style and format
	@ruff check
	@ruff format --check

format: $(VENV)/.dev ## Mend style and format where a tool can
	@ruff check --fix
	@ruff format
	@buf format -w --path proto/dashboards --path proto/insights

types: $(VENV)/.dev ## Check types, strictly
	@pyright

generate: $(VENV)/.dev ## Generate code from proto/, offline
	@buf generate
	@python $(CLIENT)/generate.py

generated-is-current: $(VENV)/.dev ## Fail if proto/ and the committed code differ
	@rm -rf build/generated && buf generate -o build/generated
	@diff -r -x __pycache__ build/generated/src/dashkeeper/gen src/dashkeeper/gen \
		|| { echo 'proto/ and src/dashkeeper/gen differ: run `make generate`'; exit 1; }
	@python $(CLIENT)/generate.py --out build/generated/client
	@diff -r -x __pycache__ build/generated/client/dashkeeper_client/gen $(CLIENT)/src/dashkeeper_client/gen \
		|| { echo 'proto/ and dashkeeper_client/gen differ: run `make generate`'; exit 1; }

proto-is-good: $(VENV)/.dev ## Lint proto/, and fail on changes that break clients of the last release
	@buf lint
	@buf format --diff --exit-code --path proto/dashboards --path proto/insights
	@buf build -o - | buf breaking - --against proto/baseline.binpb --config buf.yaml

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml
	@uv pip compile pyproject.toml $(LOCK) --group build --group try -o requirements.txt
	@uv pip compile pyproject.toml $(LOCK) --group build --group try --group dev -o requirements-dev.txt
	@cd $(CLIENT) && uv pip compile pyproject.toml $(LOCK) --group neighbours -o requirements-test.txt

LOCK := --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade

clients: client-python ## Build the clients' packages into clients/*/dist

client-python: $(CLIENT)/dist/.built ## Build the Python client's wheel into clients/python/dist

clean: ## Remove the environments and what was built
	rm -rf $(VENV) $(CLIENT)/.venv $(CLIENT)/dist build dist .pytest_cache .ruff_cache .hypothesis

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

# The Python client as its users have it: the wheel, in an environment without the server.

$(CLIENT)/dist/.built: $(shell find $(CLIENT)/src -name '*.py*' -not -path '*/__pycache__/*') \
		$(CLIENT)/pyproject.toml $(CLIENT)/README.md | $(VENV)/.dev
	@rm -rf $(CLIENT)/dist
	@cd $(CLIENT) && hatchling build -t wheel >/dev/null
	@touch $@

$(CLIENT)/.venv/.installed: $(CLIENT)/requirements-test.txt $(CLIENT)/dist/.built
	@echo 'Installing the Python client into $(CLIENT)/.venv ...'
	@test -x $(CLIENT)/.venv/bin/python || $(PYTHON) -m venv $(CLIENT)/.venv
	@$(CLIENT)/.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(CLIENT)/requirements-test.txt
	@$(CLIENT)/.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(CLIENT)/dist/*.whl
	@touch $@
