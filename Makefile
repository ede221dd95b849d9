# Everything a developer or user does, in one place. Needs only make, Python >= 3.11 and pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
# Tests keep their own copy of the weights, so that they never touch a user's home.
MODELS := $(CURDIR)/.cache/models

# Files of tests are shared out among the cores: no test may lean on another's port, folder or order.
PYTEST := $(BIN)/python -m pytest
SHARED := -n logical --maxprocesses 4 --dist loadfile

# Clients in JavaScript; tests of theirs are skipped where npm or these are absent.
CLIENTS := tests/clients/ai6 tests/clients/ai7

.DEFAULT_GOAL := help
.PHONY: help run setup page clients test test-train test-all lint types docs demo bench release lock clean

# Node.js of the system where it is new enough, else one that pip installs. It builds the page;
# nothing needs it afterwards.
NODE_IS_NEW := const [a, b] = process.versions.node.split('.').map(Number); \
  process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)
NPM := PATH="$(CURDIR)/$(VENV)/node:$$PATH" npm --prefix web --silent
PAGE := src/gnomon/serve/page/index.html
PAGE_SOURCES := docs/reference/openapi.json \
  $(shell find web -path web/node_modules -prune -o -type f ! -name schema.d.ts -print)

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run $(VENV)/.page  ## Set everything up and start Gnomon on http://127.0.0.1:8420
	$(BIN)/gnomon up

setup: $(VENV)/.run $(VENV)/.dev  ## Install everything, development tools included

test: $(VENV)/.dev $(VENV)/.models $(PAGE)  ## Run the default test suite
	$(NPM) test
	GNOMON_MODELS__DIR=$(MODELS) $(PYTEST) $(SHARED) -m "not slow"

page: $(PAGE)  ## Build the page (web/) into the package

clients: $(addsuffix /node_modules/.package-lock.json,$(CLIENTS))  ## Install the JavaScript clients that tests use

test-train: $(VENV)/.train  ## Run the training platform's tests (installs PyTorch)
	$(PYTEST) tests/train -m "not slow"

test-all: $(VENV)/.dev $(VENV)/.models $(PAGE)  ## Run every test, the slow ones too
	GNOMON_MODELS__DIR=$(MODELS) $(PYTEST)

lint: $(VENV)/.dev web/node_modules/.package-lock.json  ## Check style, types, floors and generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/reference.py --check
	$(NPM) run check

types: $(VENV)/.dev  ## Check types only
	$(BIN)/mypy

docs: $(VENV)/.dev  ## Write the generated reference pages anew
	$(BIN)/python scripts/reference.py

demo: $(VENV)/.run  ## Say what is true in the demo world now
	$(BIN)/gnomon demo

bench: $(VENV)/.dev $(VENV)/.models  ## Run the benchmarks; results go to bench/results/
	$(PIP) install -r requirements/bench.txt
	GNOMON_MODELS__DIR=$(MODELS) $(BIN)/python -m bench

release: lint test $(PAGE)  ## Build the wheel and the source archive into dist/
	$(PIP) install build
	$(BIN)/python -m build

lock:  ## Resolve the dependencies anew (needs uv)
	for extra in main llm bench dev; do \
	  uv pip compile pyproject.toml $$( [ $$extra = main ] || echo --extra $$extra ) \
	    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --no-header --quiet --output-file requirements/$$extra.txt || exit 1; done
	uv pip compile --group pyproject.toml:node --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements/node.txt

clean:  ## Remove everything that was built; keeps your data
	rm -rf $(VENV) web/node_modules $(dir $(PAGE)) .cache dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Gnomon needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.main: requirements/main.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/main.txt
	$(PIP) install --no-deps -e .
	@touch $@

# The language model is an extra: where no wheel of its engine exists, answers stay extractive.
$(VENV)/.run: $(VENV)/.main requirements/llm.txt
	$(PIP) install --require-hashes -r requirements/llm.txt || \
	  echo "No embedded language model on this machine; Gnomon answers by quoting."
	$(BIN)/gnomon models fetch || echo "Weights are missing; 'gnomon models fetch' tries again."
	@touch $@

$(VENV)/.dev: $(VENV)/.main requirements/dev.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.node: requirements/node.txt | $(VENV)/bin/python
	@mkdir -p $(VENV)/node
	@if npm --version >/dev/null 2>&1 && node -e "$(NODE_IS_NEW)"; then rm -f $(VENV)/node/*; \
	else $(PIP) install --require-hashes -r requirements/node.txt && \
	  ln -sf ../bin/node ../bin/npm ../bin/npx $(VENV)/node/; fi
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json web/.npmrc $(VENV)/.node
	$(NPM) ci
	@touch $@

$(PAGE): web/node_modules/.package-lock.json $(PAGE_SOURCES)
	$(NPM) run build -- --logLevel warn
	@touch $@

# Without a page Gnomon still runs, and its address says how to build it.
$(VENV)/.page: $(PAGE_SOURCES) | $(VENV)/.main
	$(MAKE) --no-print-directory page || echo "The page could not be built; the API works without it."
	@touch $@

# PyTorch comes for many devices, so that its wheels are pinned by version and not by hash.
# transformers and accelerate are lm-eval's own reader, which ours is compared with.
$(VENV)/.train: $(VENV)/.dev requirements/train.txt
	$(PIP) install -e ".[train,cluster,lm-eval]" transformers accelerate -c requirements/train.txt
	@touch $@

tests/clients/%/node_modules/.package-lock.json: tests/clients/%/package-lock.json
	cd tests/clients/$* && npm ci --no-audit --no-fund
	@touch $@

$(VENV)/.models: $(VENV)/.dev
	$(BIN)/gnomon models fetch --dir $(MODELS)
	@touch $@
