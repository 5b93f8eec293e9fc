# Two commands do everything on a fresh machine with Python and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench bench-instructions monitoring rules fuzz clean

demo: $(STAMP)
	$(BIN)/noai-guard demo $(if $(ONCE),--once)

test: $(STAMP) check
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/python -m coverage report

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/noai-guard rules check

monitoring: $(STAMP)
	$(BIN)/python -m examples.monitoring $(if $(ONCE),--once)

bench: $(STAMP)
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

bench-instructions: $(STAMP)
	$(BIN)/python -m benchmarks.instructions

rules: $(STAMP)
	$(BIN)/noai-guard rules compile

fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet atheris
	for target in tests/fuzz/fuzz_*.py; do $(BIN)/python $$target -max_total_time=60; done

$(STAMP): pyproject.toml hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[clients,demo,frameworks,serve,servers,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps img2dataset
	touch $(STAMP)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
