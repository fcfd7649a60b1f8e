# Two commands do everything: `make demo` and `make test`. Needs Python >= 3.10 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV      = UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt
PORT   ?= 8000

# The tests start hundreds of Python processes: without bytecode each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Frameworks and browsers change the process they run in (loggers, loaders, event loops): each has one to itself.
APART := tests/integrations/airflow tests/integrations/prefect tests/integrations/dagster tests/e2e/browser

.PHONY: demo test test-stack test-matrix test-lowest release-check docs check constraints audit bench bench-store bench-peers format clean help
help:           ## say what can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 16

$(BIN)/uv: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "X-Ray needs Python 3.10 or newer; set PYTHON=/path/to/python3")'
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' constraints.txt)"
	@touch $@

$(VENV)/.demo: $(BIN)/uv pyproject.toml
	@$(UV) -e '.[demo]' && touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml
	@echo "installing the development environment ..."
	@$(UV) -e '.[dev,frameworks]' && touch $@

AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js
$(AXE): | $(BIN)/uv    # for the tests of the pages; they say so when it is missing
	@! command -v npm >/dev/null || npm install --no-save --no-package-lock --silent --prefix $(VENV)/axe axe-core@4 2>/dev/null || true

# Where each run of pytest adds what its diagnosis suite came to.
SCORE := $(VENV)/diagnosis.jsonl
test test-in-%: export XRAY_TEST_SCORE := $(abspath $(SCORE))

demo: $(VENV)/.demo    ## the flights example: two runs, and why the traveller was sent to Buffalo
	@$(BIN)/xray demo --port $(PORT) --directory .demo

GENERATOR := $(VENV)/openapi/bin/openapi-python-client
$(GENERATOR): | $(BIN)/uv    # generates a client from our OpenAPI document, apart: it wants other versions than ours
	@$(BIN)/uv venv -q $(VENV)/openapi --python $(BIN)/python && $(BIN)/uv pip install -q --python $(VENV)/openapi/bin/python openapi-python-client || true

test: $(VENV)/.dev $(AXE) $(GENERATOR)  ## the tests (under 6 minutes)
	@rm -f $(SCORE)
	@$(BIN)/python -m pytest -q -n 4 -m "not stack" $(addprefix --ignore=,$(APART))
	@$(MAKE) --no-print-directory -j3 --output-sync=target $(addprefix test-in-,$(notdir $(APART)))
	@$(BIN)/python -m tests.diagnosis.score $(SCORE)

test-in-%:
	@$(BIN)/python -m pytest -q -m "not stack" $(filter %/$*,$(APART))

test-stack: $(VENV)/.dev  ## slower tests on real stacks
	@$(BIN)/python -m pytest -q -m stack
	@ulimit -n 256; XRAY_TEST_EXAMPLES=50 $(BIN)/python -m pytest -q -m "hypothesis and not stack" tests/core tests/server tests/diagnosis

$(VENV)/.docs: $(BIN)/uv pyproject.toml
	@$(UV) -e '.[docs]' && touch $@

docs: $(VENV)/.docs    ## the documentation site, into build/site; links and anchors checked, no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build 2>&1 | { ! grep -v "^INFO"; } && echo "build/site/index.html; with search: $(PYTHON) -m http.server -d build/site"

test-matrix: $(VENV)/.dev   ## the tests on every Python that this machine has; PYTHONS="3.12" ARGS="tests/core -k wire"
	@$(BIN)/python -m tests.release.matrix $(ARGS)

test-lowest: $(VENV)/.dev   ## most tests on the lowest Python, with the lowest version of every dependency
	@$(BIN)/python -m tests.release.matrix --lowest $(ARGS)

$(VENV)/.release: $(VENV)/.dev
	@$(UV) -e '.[release]' && touch $@

release-check: $(VENV)/.release  ## build, read, install and use what would be published, on 3.10 and 3.13 (PYTHONS="3.12" FRAMEWORKS=prefect)
	@$(BIN)/python -m tests.release.check

check: $(VENV)/.dev    ## format, lint, types, import contracts
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --no-emit-index-url --no-emit-find-links
constraints: $(BIN)/uv  ## what tests and users install, resolved anew (needs the network); ARGS=--upgrade for the newest
	@printf 'uv\npip-audit\n' > $(VENV)/tools.in
	@$(COMPILE) --all-extras pyproject.toml $(VENV)/tools.in -o constraints.txt $(ARGS)
	@for each in server prefect airflow dagster; do \
	  $(COMPILE) --extra $$each -c constraints.txt pyproject.toml -o xray_core/constraints/$$each.txt || exit 1; done

audit: $(VENV)/.dev    ## known weaknesses of what is installed (needs the network)
	@$(BIN)/python -m tests.audit

format: $(VENV)/.dev   ## put the code in shape
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(VENV)/.dev    ## cost per step and per item, beside OpenTelemetry and structlog
	@$(BIN)/python -m tests.benchmarks $(ONLY)

bench-store: $(VENV)/.dev  ## the stores: ingest rate, bytes a step, latency of every query; ARGS="--steps 10000000"
	@$(BIN)/python -m tests.benchmarks.store $(ARGS)

bench-peers: $(VENV)/.dev  ## an MLflow server beside ours: what each takes in and keeps of the same runs; installs MLflow into .peers
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

clean:          ## remove the environment and the demo's data
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache
