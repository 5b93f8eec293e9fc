# On a machine with Python 3.11 or newer and make, `make demo` and `make test` need nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The package with what the demo needs, with all tools and libraries of the tests, and with the generator of the site.
DEMO := $(VENV)/.demo
TEST := $(VENV)/.test
DOCS := $(VENV)/.docs
JOBS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONSTRAINED := $(PIP) --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest
# What failed is run again, alone: what fails then too is a fault; what passes waited for a machine that was too busy.
ONCE_MORE = --verbose --last-failed --last-failed-no-failures none
COVERED = --cov --cov-append --cov-report=
WITHOUT_PROGRAMS := PATH=/nonexistent NOAI_REQUIRE=none

.DEFAULT_GOAL := help
.PHONY: help demo test bare quick check core bench bench-instructions monitoring rules fuzz oldest docs constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(DEMO) ## a music site with real audio, its visitors, and what each of them gets
	$(BIN)/python -m examples.demo $(if $(ONCE),--once)

test: $(TEST) check core ## all checks and tests
	$(PYTEST) -m "not serial" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report= || $(PYTEST) $(ONCE_MORE) $(COVERED)
	$(PYTEST) -m serial $(COVERED) || $(PYTEST) $(ONCE_MORE) $(COVERED)
	$(BIN)/python -m coverage report

bare: $(TEST) ## the tests as on a machine that has Python and make alone: what needs more is skipped, and nothing fails
	$(WITHOUT_PROGRAMS) $(PYTEST) tests/clients tests/gateway/proxies tests/monitoring tests/targets/servers \
	  --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder || $(WITHOUT_PROGRAMS) $(PYTEST) $(ONCE_MORE)

quick: $(TEST) ## the tests without servers, with few generated examples
	HYPOTHESIS_PROFILE=dev $(PYTEST) -m "not serial and not thorough" --numprocesses $(JOBS) --ignore-glob='*_servers.py' \
	  tests/config tests/core tests/declarations tests/middleware tests/responses

check: $(TEST) ## style, types, import contracts and the catalogue
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/noai-guard rules check

core: $(TEST) ## every branch of the core, by named examples alone
	$(PYTEST) tests/core tests/config -m "not hypothesis" --numprocesses $(JOBS) --dist loadfile --cov=noai_guard.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

oldest: ## the middleware under the oldest and the newest FastAPI and Starlette
	.ci/starlette_versions

docs: $(DOCS) ## the documentation as a site, in site/; a broken link fails
	$(BIN)/zensical build --clean --strict

monitoring: $(TEST) ## Prometheus and the dashboards' queries beside the music site
	$(BIN)/python -m examples.monitoring $(if $(ONCE),--once)

bench: $(TEST) ## what the guard costs in time and memory
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

bench-instructions: $(TEST) ## what the guard costs in instructions, counted by valgrind
	$(BIN)/python -m benchmarks.instructions

rules: $(DEMO) ## compile the catalogue
	$(BIN)/noai-guard rules compile

fuzz: $(TEST) ## a minute of fuzzing for each target
	$(PIP) atheris
	for target in tests/fuzz/fuzz_*.py; do $(BIN)/python $$target -max_total_time=60; done

# pip reads dependency groups since 25.1; Python 3.11 brings an older one.
$(DEMO): pyproject.toml hatch_build.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	$(CONSTRAINED) --editable . --group demo
	touch $(DEMO)

# Of these the tests use a downloader and axe-core, and not what they ask for beside it.
$(TEST): $(DEMO)
	$(CONSTRAINED) --editable '.[audit,c2pa,creators,embedded,identity,otel,record,redis,replay,serve,spark,tag]' --group test
	$(CONSTRAINED) --no-deps axe-playwright-python img2dataset
	touch $(TEST)

$(DOCS): $(DEMO)
	$(CONSTRAINED) --group docs
	touch $(DOCS)

constraints: ## write constraints.txt anew, with the newest versions that work together
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --editable '.[audit,c2pa,creators,embedded,identity,otel,record,redis,replay,serve,spark,tag]' --group test --group docs
	$(PIP) --no-deps axe-playwright-python img2dataset
	echo '# The versions of everything that `make demo`, `make test`, `make docs` and CI install. Written by `make constraints`.' > constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable >> constraints.txt
	touch $(DEMO) $(TEST) $(DOCS)

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build site
