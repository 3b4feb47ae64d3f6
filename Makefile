# Everything a developer does with this project. Works with GNU make 3.81 and later.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# The Python that makes .venv: python3.11 where there is one, else any python3 that is not older.
PYTHON ?= $(shell for candidate in python3.11 python3; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo "$$candidate"; break; }; done)
VENV ?= .venv
# Absolute, so that what runs elsewhere (a plugin of protoc's) finds its way.
BIN := $(abspath $(VENV))/bin
PIP := "$(BIN)/python" -m pip --disable-pip-version-check --no-input
PROTOS := $(wildcard proto/dynamodb_processor/v1/*.proto)
SCRIPTS := .ci/run .ci/test-deep .ci/generate .ci/breaking .ci/debian_tool deploy/cloudformation/deploy

# Options of `make demo`, `make gateway`, `make console`, `make bench`, `make test`, `make test-deep` and `make check-deploy`.
ONCE ?=
DOCUMENT ?=
BACKEND ?= embedded
PYTEST ?=
SEED ?=
ONLY ?=

.PHONY: help
help: ## Say what can be made
	@echo 'DynamoDB Processor'
	@echo
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r a b; \
		do printf '%-16s %s\n' "$$a" "$$b"; done

.PHONY: demo
demo: $(VENV)/.demo ## Serve sample tables and walk through them (ONCE=1 ends after the walk, BACKEND=embedded|dynamodb-local|aws)
	@"$(BIN)/dynamodb-processor" demo --backend "$(BACKEND)" $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: gateway
gateway: $(VENV)/.dev ## Serve the sample tables over HTTP too, and show it with curl (ONCE=1 ends then, BACKEND as in make demo)
	@"$(BIN)/python" deploy/envoy/demo --backend "$(BACKEND)" $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: console
console: $(VENV)/.dev ## Serve the sample tables and the web console, after the same tour (ONCE=1, BACKEND as in make demo)
	@"$(BIN)/python" .ci/console.py
	@"$(BIN)/python" deploy/envoy/demo --backend "$(BACKEND)" --console build/console $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: $(VENV)/.dev ## Run every test, with real backends, and measure coverage (PYTEST='-k tokens' narrows it)
	@PATH="$(BIN):$$PATH" "$(BIN)/python" .ci/test.py $(PYTEST)

.PHONY: test-deep
test-deep: $(VENV)/.dev ## Run what takes an hour: ten times the cases, a year of flights, mutants (SEED=1 repeats a run)
	@PATH="$(BIN):$$PATH" .ci/test-deep $(SEED)

.PHONY: faults
faults: $(VENV)/.dev ## Run half an hour of faults and overload, and print one table (PYTEST='-k zipf' narrows it)
	@PATH="$(BIN):$$PATH" "$(BIN)/python" .ci/faults.py $(PYTEST)

.PHONY: check
check: $(VENV)/.dev ## Lint, type-check and compare the contract with what is generated and with the last one
	@echo '==> ruff';                  "$(BIN)/ruff" check . && "$(BIN)/ruff" format --check .
	@echo '==> mypy';                  "$(BIN)/mypy"
	@echo '==> import-linter';         "$(BIN)/lint-imports" --no-logo
	@echo '==> buf lint and format';   "$(BIN)/buf" lint && "$(BIN)/buf" format --diff --exit-code
	@echo '==> buf breaking';          PATH="$(BIN):$$PATH" .ci/breaking
	@echo '==> generated code';        PATH="$(BIN):$$PATH" .ci/generate --check
	@echo '==> TypeScript';            "$(BIN)/python" .ci/typescript.py --check
	@echo '==> web console';           "$(BIN)/python" .ci/console.py --check
	@echo '==> table of settings';     "$(BIN)/python" .ci/settings.py --check
	@echo '==> API reference';         "$(BIN)/python" .ci/api_reference.py --check
	@echo '==> OpenAPI';               "$(BIN)/python" deploy/envoy/describe --check
	@echo '==> prose';                 "$(BIN)/python" .ci/prose.py
	@echo '==> hadolint';              "$(BIN)/hadolint" Dockerfile
	@echo '==> bash';                  for script in $(SCRIPTS); do bash -n "$$script" || exit 1; done
	@echo 'make check: clean'

.PHONY: check-deploy
check-deploy: $(VENV)/.dev $(VENV)/deploy/.installed $(VENV)/checkov/.installed ## Check the deployment files with the tools of their formats (ONLY=cfn-lint runs one check)
	@PATH="$(BIN):$$PATH" "$(BIN)/python" .ci/check_deploy.py $(ONLY)

.PHONY: sbom
sbom: $(VENV)/deploy/.installed ## Write build/sbom.json, the bill of materials of the image's Python packages
	@mkdir -p build
	@PYTHONWARNINGS=ignore::UserWarning "$(VENV)/deploy/bin/cyclonedx-py" requirements requirements/server.txt --pyproject pyproject.toml \
		--output-reproducible --validate --output-file build/sbom.json
	@"$(BIN)/python" .ci/deploy/sbom.py build/sbom.json requirements/server.txt

.PHONY: format
format: $(VENV)/.dev ## Format Python and proto files
	@"$(BIN)/ruff" check --fix --exit-zero --quiet . && "$(BIN)/ruff" format .
	@"$(BIN)/buf" format --write

.PHONY: proto
proto: $(VENV)/.dev ## Generate Python from the contract, and the synchronous client from the asynchronous one
	@PATH="$(BIN):$$PATH" .ci/generate

.PHONY: typescript
typescript: $(VENV)/.dev ## Generate the TypeScript client's code from the contract
	@"$(BIN)/python" .ci/typescript.py

.PHONY: settings
settings: $(VENV)/.dev ## Write the table of settings into docs/operations/settings.md
	@"$(BIN)/python" .ci/settings.py

.PHONY: api
api: $(VENV)/.dev ## Write the API reference from the comments of the contract
	@"$(BIN)/python" .ci/api_reference.py

.PHONY: openapi
openapi: $(VENV)/.dev ## Write the OpenAPI description of the gateway from the contract, the HTTP routes and the examples
	@"$(BIN)/python" deploy/envoy/describe

.PHONY: bench
bench: $(VENV)/bench/.installed ## Measure the service beside its peers, in at most 20 minutes (DOCUMENT=1 writes docs/performance.md)
	@"$(VENV)/bench/bin/python" benchmarks/run.py $(if $(filter-out 0,$(DOCUMENT)),--document)

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the dependencies anew and lock them with hashes
	@"$(BIN)/python" .ci/lock.py

.PHONY: clean
clean: ## Remove what was built, and .venv
	@rm -rf build dist "$(VENV)" .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find proto server clients tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs what a file locks, which takes minutes, and says how far it is; of pip's own words only
# errors are shown.
define install_locked
	@set -o pipefail; PYTHONUNBUFFERED=1 $(PIP) install --progress-bar off --require-hashes -r $(1) \
		2> >(grep -v '^WARNING:' >&2) | awk -v all="$$(grep -c '^[a-z0-9].*==' $(1))" \
		'/^(Collecting|Processing) / && ++n % 20 == 0 { \
			print "  fetched " n " of " all " packages"; fflush() } \
		/^Installing collected/ { print "  installing them"; fflush() }'
endef

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo 'Python 3.11 or later is needed: install it, or name it with make PYTHON=...' >&2; exit 1; fi
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@"$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; exit 1; }

# What the demo needs. The sample data comes as source, hence the build backend from the lock and no
# isolation; its dependencies are for analysing it in Python, and not wanted.
$(VENV)/.demo: requirements/demo.txt requirements/demo-data.txt pyproject.toml | $(VENV)/bin/python
	@echo 'installing what the demo needs: a few minutes, once'
	$(call install_locked,requirements/demo.txt)
	@echo 'building the sample data and this project'
	@$(PIP) install -qq --require-hashes --no-deps --no-build-isolation -r requirements/demo-data.txt
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/demo-data.txt pyproject.toml | $(VENV)/bin/python
	@echo 'installing what developers need: several minutes, once'
	$(call install_locked,requirements/dev.txt)
	@echo 'building the sample data and this project'
	@$(PIP) install -qq --require-hashes --no-deps --no-build-isolation -r requirements/demo-data.txt
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

# Peers of the service have an environment of their own: they are no part of the others.
$(VENV)/bench/.installed: PIP = "$(VENV)/bench/bin/python" -m pip --disable-pip-version-check --no-input
$(VENV)/bench/.installed: requirements/bench.txt pyproject.toml | $(VENV)/bin/python
	@echo 'installing what the benchmark needs: several minutes, once'
	@"$(BIN)/python" -m venv "$(VENV)/bench"
	$(call install_locked,requirements/bench.txt)
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

# Tools that check deployment files have environments of their own: some pin what others need newer.
$(VENV)/deploy/.installed: PIP = "$(VENV)/deploy/bin/python" -m pip --disable-pip-version-check --no-input
$(VENV)/deploy/.installed: requirements/deploy.txt | $(VENV)/bin/python
	@echo 'installing what checks deployment files: a minute, once'
	@"$(BIN)/python" -m venv "$(VENV)/deploy"
	$(call install_locked,requirements/deploy.txt)
	@touch $@

$(VENV)/checkov/.installed: PIP = "$(VENV)/checkov/bin/python" -m pip --disable-pip-version-check --no-input
$(VENV)/checkov/.installed: requirements/checkov.txt | $(VENV)/bin/python
	@echo 'installing checkov: two minutes, once'
	@"$(BIN)/python" -m venv "$(VENV)/checkov"
	$(call install_locked,requirements/checkov.txt)
	@touch $@
