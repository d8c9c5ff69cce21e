# Everything here needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-all lint format requirements clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed (set PYTHON=python3.12, say)")'
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(STAMP)

setup: $(STAMP) ## Make .venv with everything in it

demo: $(STAMP) ## Play the whole story on this machine: identity token, token, stream, quota, revocation, audit
	@$(BIN)/python -m local demo

dev: $(STAMP) ## Start the broker, the edge and the practice parts, and leave them running
	@$(BIN)/python -m local serve

test: $(STAMP) ## Run the tests: lint, types, everything offline
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -n 2 -m "not slow"

test-all: $(STAMP) ## Run the tests, the slow ones too
	@$(BIN)/pytest -n 2

lint: $(STAMP) ## Run the linter and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

requirements: $(STAMP) ## Write requirements.txt, which Chalice's packager reads, from pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["broker"], sep="\n")' > requirements.txt

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
