# Everything here needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# For two cores. Not `--dist worksteal`: a process from which all was taken can wait for ever for what is left, and the
# run with it. What test-infra runs is not even collected: each process would package the templates for it; what test-console
# runs needs a browser.
PYTEST := $(BIN)/pytest -n 2 --dist load --ignore=tests/integration/infra --ignore=tests/integration/console
.DEFAULT_GOAL := help
OIDC := tests/integration/oidc_provider
CONSOLE := tests/integration/console
CONSOLE_STAMP := $(VENV)/.console
# Debian's: another one is named by CHROMIUM.
export CHROMIUM ?= /usr/bin/chromium
MINISTACK := .venv-ministack
MINISTACK_STAMP := $(MINISTACK)/.installed
LAMBDA := .venv-lambda
LAMBDA_STAMP := $(LAMBDA)/.installed
CONFIG := infra/edge/placeholder.json
DYNAMODB_TESTS := tests/contracts tests/races tests/integration/dynamodb
INFRA := .venv-infra
INFRA_STAMP := $(INFRA)/.installed
CHECKOV := .venv-checkov
LOCK := .venv-lock
LOCK_STAMP := $(LOCK)/.installed
# Most rogue releases are found within days. For an urgent fix: make lock LOCK_AGE='0 days'.
LOCK_AGE := 7 days
SCHEMATHESIS := .venv-schemathesis
SCHEMATHESIS_STAMP := $(SCHEMATHESIS)/.installed
FEDERATION := .venv-federation
FEDERATION_SDKS := tests/integration/federation_sdks
.PHONY: help setup demo dev test test-slow test-all test-zip test-dynamodb test-races test-aws test-oidc test-console screenshots test-api test-sdks test-federation-sdks fuzz soak bench edge package wheel deploy verify destroy test-infra lint format requirements lock schema openapi providers issuers errors clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# What is shipped is installed in its locked versions, so that the tests run with it; the tools are not locked.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed (set PYTHON=python3.12, say)")'
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@sed -n 's/^\([a-z0-9-]*==[^ ]*\).*/\1/p' requirements.lock > $(VENV)/locked.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/locked.txt -e '.[dev]'
	@touch $(STAMP)

setup: $(STAMP) ## Create .venv with everything in it

demo: $(STAMP) ## Run the main scenario on this machine: identity token, token, stream, quota, revocation, audit
	@$(BIN)/python -m local demo

dev: $(STAMP) ## Start the broker, the edge and the practice parts, and keep them running
	@$(BIN)/python -m local serve

test: $(STAMP) ## Run the linter, the type checker and the tests, all offline
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy & types=$$!; $(PYTEST) -m "not slow and not ministack"; tests=$$?; wait $$types && exit $$tests

test-slow: $(STAMP) ## Run the slow tests: the races and properties at length, whole programs, what waits for time-outs
	@KEYBROKER_RACE_ROUNDS=$${KEYBROKER_RACE_ROUNDS:-20} $(PYTEST) --hypothesis-profile=slow -m "(slow or hypothesis) and not ministack"

test-all: test test-slow ## Run all tests, including the slow ones

test-dynamodb: $(STAMP) $(MINISTACK_STAMP) ## Test the DynamoDB adapters over an AWS emulator (ministack, from PyPI); offline once it is installed
	@$(PYTEST) -m ministack $(DYNAMODB_TESTS)

test-races: $(STAMP) $(MINISTACK_STAMP) ## Race revocations against calls, 200 rounds per scope (20 over ministack), and print the numbers
	@KEYBROKER_RACE_ROUNDS=$${KEYBROKER_RACE_ROUNDS:-200} $(BIN)/pytest -p no:xdist --timeout=1800 tests/races/test_revocation.py tests/races/test_over_http.py tests/integration/dynamodb/test_races.py

# Only test-aws may use real tables: no other target exports their prefix.
unexport KEYBROKER_TEST_TABLES
test-aws: $(STAMP) ## Run the contract suite over real tables, which it empties; skipped without KEYBROKER_TEST_TABLES
	@if [ -z '$(KEYBROKER_TEST_TABLES)' ]; then \
		echo "SKIPPED: KEYBROKER_TEST_TABLES is not set (the prefix of tables created from infra/tables.yaml only for tests); no test ran over real tables" >&2; \
	elif ! $(BIN)/python -c 'import sys, botocore.session; sys.exit(botocore.session.get_session().get_credentials() is None)'; then \
		echo "SKIPPED: no AWS credentials; no test ran over the real tables $(KEYBROKER_TEST_TABLES)-*" >&2; \
	else \
		KEYBROKER_TEST_TABLES='$(KEYBROKER_TEST_TABLES)' $(BIN)/pytest -p no:xdist tests/contracts; \
	fi

# It pins botocore, so it needs a separate environment.
$(MINISTACK_STAMP): tests/integration/ministack.txt
	@echo "setting up $(MINISTACK) (once, some seconds)"
	@$(PYTHON) -m venv $(MINISTACK)
	@$(MINISTACK)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test-oidc: $(STAMP) ## Test with an OpenID-certified issuer (oidc-provider, from npm); needs Node 18, skipped without it
	@if command -v npm >/dev/null && node -e 'process.exit(Number(parseInt(process.versions.node) < 18))' 2>/dev/null; then \
		$(MAKE) --no-print-directory $(OIDC)/node_modules/.installed && \
		$(BIN)/pytest -vv -p no:xdist tests/integration/test_oidc_provider.py tests/integration/test_oidc_login.py; \
	else \
		echo "SKIPPED: Node 18 with npm was not found; tests/integration/test_oidc_*.py were NOT run" >&2; \
	fi

$(OIDC)/node_modules/.installed: $(OIDC)/package.json
	@npm install --prefix $(OIDC) --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Without a browser it says so, and what is missing.
define WITH_BROWSER
	@if ! command -v npm >/dev/null; then \
		echo "SKIPPED: npm, which brings axe, was not found; $(CONSOLE) was NOT run" >&2; \
	elif [ ! -x '$(CHROMIUM)' ] && ! { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium" && \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null && \
			[ -x '$(CHROMIUM)' ]; }; then \
		echo "SKIPPED: $(CHROMIUM) was not found, and could not be installed (that takes root and Debian's apt-get); name yours in CHROMIUM; $(CONSOLE) was NOT run" >&2; \
	else \
		$(MAKE) --no-print-directory $(CONSOLE_STAMP) $(CONSOLE)/node_modules/.installed && $(1); \
	fi
endef

test-console: $(STAMP) ## Test the console's pages in a real browser (Chromium, with Playwright and axe; four minutes)
	$(call WITH_BROWSER,$(BIN)/pytest -p no:xdist $(CONSOLE))

screenshots: $(STAMP) ## Take the pictures in docs/console of each page of the console, light, dark and narrow
	$(call WITH_BROWSER,$(BIN)/python -m tests.integration.console.screenshots)

# It runs this project's own parts, so it goes into their environment; `make test` does without it.
$(CONSOLE_STAMP): $(CONSOLE)/requirements.txt $(STAMP)
	@echo "installing Playwright into $(VENV) (once, some seconds)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(CONSOLE)/node_modules/.installed: $(CONSOLE)/package.json
	@echo "installing axe from npm (once, some seconds)"
	@npm install --prefix $(CONSOLE) --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

test-api: $(STAMP) $(SCHEMATHESIS_STAMP) ## Test the HTTP API against its OpenAPI document, with schemathesis from PyPI (some minutes)
	@$(BIN)/python -m tests.api.run $(SCHEMATHESIS)/bin/schemathesis

# It has dozens of dependencies, so it gets a separate environment.
$(SCHEMATHESIS_STAMP): tests/api/requirements.txt
	@echo "setting up $(SCHEMATHESIS) (once, some seconds)"
	@$(PYTHON) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test-sdks: $(STAMP) ## Test real SDKs from PyPI and npm, each in a separate environment (15 minutes); SDKS=--write updates docs/clients.md
	@$(BIN)/python -m tests.sdks $(SDKS)

test-federation-sdks: $(STAMP) ## Mint from the practice token endpoints with the providers' own SDKs from PyPI, in a separate environment; skipped without PyPI
	@if [ -e $(FEDERATION)/.installed ] && [ ! $(FEDERATION_SDKS)/requirements.txt -nt $(FEDERATION)/.installed ] || { \
			echo "setting up $(FEDERATION) (once, half a minute)"; \
			$(PYTHON) -m venv $(FEDERATION) && \
			$(FEDERATION)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r $(FEDERATION_SDKS)/requirements.txt && \
			touch $(FEDERATION)/.installed; }; then \
		$(BIN)/python -m tests.integration.federation_sdks $(FEDERATION)/bin/python; \
	else \
		echo "SKIPPED: the SDKs could not be installed from PyPI; $(FEDERATION_SDKS) was NOT run" >&2; \
	fi

fuzz: $(STAMP) ## Fuzz each target for FUZZ_SECONDS (default: 60)
	@$(BIN)/python -m tests.fuzz --seconds $${FUZZ_SECONDS:-60}

soak: $(STAMP) ## Make 100,000 mixed calls (KEYBROKER_SOAK_CALLS) through a built wheel's server, and see that nothing grows (10 to 20 minutes)
	@$(BIN)/python -m tests.soak

bench: $(STAMP) $(MINISTACK_STAMP) $(LAMBDA_STAMP) ## Run the benchmarks and print their results as ratios (docs/performance.md)
	@$(BIN)/python -m tests.bench

# Lambda's runtime has none of our packages, so this gets a separate environment.
$(LAMBDA_STAMP): tests/bench/lambda.txt
	@echo "setting up $(LAMBDA) (once, some seconds)"
	@$(PYTHON) -m venv $(LAMBDA)
	@$(LAMBDA)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

edge: $(STAMP) ## Build dist/edge.zip, the edge function's zip, with the configuration in CONFIG=FILE
	@$(BIN)/python -m infra.edge dist/edge.zip --config $(CONFIG)

# What a function of the zip does is the zip's; what a test has (state, keys, clock) is asked for over pipes.
ZIP_TESTS := tests/test_edge*.py tests/chalicelib/edge tests/chalicelib/models tests/chalicelib/providers/test_paths*.py
test-zip: edge ## Run the edge's tests over the unpacked zip's own files, in a process with nothing else on its path
	@$(BIN)/pytest -p no:xdist -p tests.edge_zip.plugin --edge-zip dist/edge.zip $(ZIP_TESTS)

package: $(STAMP) ## Build everything that is deployed on AWS into dist/, reproducibly; offline once its wheels are downloaded
	@$(BIN)/python -m infra.package --config $(CONFIG)

wheel: $(STAMP) ## Build the wheel and its SBOM into dist/wheel, reproducibly and offline
	@rm -rf dist/wheel
	@$(BIN)/python -m hatchling build -t wheel -d dist/wheel
	@$(BIN)/python -m infra.sbom dist/wheel/*.whl

deploy: package ## Deploy on AWS: make deploy STAGE=prod; CHECK=1 only checks, SHOW=1 only prints the commands (docs/deploy.md)
	@$(BIN)/python -m infra.deploy $(if $(SHOW),--show) $(if $(CHECK),--check) '$(STAGE)'

verify: $(STAMP) ## Check a deployed stage on AWS, row by row: make verify STAGE=test KEY=openai (docs/deploy.md)
	@$(BIN)/python -m infra.verify $(if $(KEY),--key '$(KEY)') '$(STAGE)'

destroy: $(STAMP) ## Delete a stage's broker, administration and edge: make destroy STAGE=prod CONFIRM=prod; tables, keys and logs stay
	@$(BIN)/python -m infra.destroy $(if $(SHOW),--show) --confirm '$(CONFIRM)' '$(STAGE)'

test-infra: package $(MINISTACK_STAMP) $(INFRA_STAMP) ## Check the templates, deploy them to an AWS emulator (ministack), and test what each role must not do
	@$(BIN)/python -m tests.integration.infra.lint
	@$(BIN)/pytest -p no:xdist tests/integration/infra

# aws and cfn-lint bring their own botocore, checkov a hundred packages: each gets a separate environment.
$(INFRA_STAMP): tests/integration/infra/requirements.txt tests/integration/infra/checkov.txt
	@echo "setting up $(INFRA) and $(CHECKOV) (once, a minute)"
	@$(PYTHON) -m venv $(INFRA)
	@$(INFRA)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/integration/infra/requirements.txt
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/integration/infra/checkov.txt
	@touch $@

lint: $(STAMP) ## Run the linter and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

requirements: $(STAMP) ## Write requirements.txt, which Chalice's packager reads, from pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["broker"], sep="\n")' > requirements.txt

lock: $(LOCK_STAMP) ## Write requirements.lock and server.lock: versions a week old or older, with hashes, of what goes into zips and image; then make setup
	@$(LOCK)/bin/uv pip compile --quiet --no-config --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--exclude-newer '$(LOCK_AGE)' --custom-compile-command 'make lock' --extra broker pyproject.toml --output-file requirements.lock
	@sed -n 's/^ *"\(chalice[<>=][^"]*\)",$$/\1/p' pyproject.toml | $(LOCK)/bin/uv pip compile --quiet --no-config --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-header --no-deps --exclude-newer '$(LOCK_AGE)' - >> requirements.lock
	@$(LOCK)/bin/uv pip compile --quiet --no-config --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--exclude-newer '$(LOCK_AGE)' --custom-compile-command 'make lock' --extra server -c requirements.lock pyproject.toml --output-file server.lock

$(LOCK_STAMP): infra/lock.txt
	@echo "setting up $(LOCK) (once, some seconds)"
	@$(PYTHON) -m venv $(LOCK)
	@$(LOCK)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

schema: $(STAMP) ## Write the policy file's JSON Schema from the types of its reader
	@$(BIN)/python -c 'import json; from chalicelib.policy import compile; print(json.dumps(compile.json_schema(), indent=2))' > docs/policy.schema.json && $(BIN)/python -c 'import json; print(json.dumps(json.load(open("docs/policy.schema.json")), separators=(",", ":")))' > keybroker/cli/policy.schema.json

openapi: $(STAMP) ## Write docs/openapi.json from the tables of both doors' routes
	@$(BIN)/python -c 'from chalicelib.openapi import document, routes; print(document.text(routes.ROUTES), end="")' > docs/openapi.json

providers: $(STAMP) schema ## Write what is generated from the providers' entries: tables, the command line's data, the schema
	@$(BIN)/python -m tests.provider_table

issuers: $(STAMP) schema ## Write what is generated from the issuer presets: a table of docs/grants.md, the schema
	@$(BIN)/python -m tests.issuer_table

errors: $(STAMP) ## Write docs/errors.md's tables from the refusals
	@$(BIN)/python -m tests.error_table

clean: ## Remove the environments and caches
	@rm -rf $(VENV) .venv-sdk-* $(CONSOLE)/node_modules tests/sdks/node/node_modules tests/sdks/agents/*/node_modules $(MINISTACK) $(SCHEMATHESIS) $(FEDERATION) $(LAMBDA) $(INFRA) $(CHECKOV) $(LOCK) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
