# make run    the whole timeline: data, training, evaluation, MLflow, the table
# make test   the test suite
# make prove  the longer proofs: kill sweeps, byte-identical reruns
# make prove-memory  100,000 memories written while their writers are killed
# make prove-models  SmolLM2-135M through the default timeline, left alone and killed again and again (hours)
# make bench-index      which index for how many vectors (docs/index.md)
# make bench-retrieval  which ranker finds what: rewrites the tables of docs/retrieval.md
# make pgvector-server  a PostgreSQL with pgvector for trials; FOLDER=... keeps its data elsewhere
# make lint   ruff and mypy
# make clean  removes what a run builds again, never data/raw, dvc.lock, the registry or anybody's memories
# make distclean CONFIRM=yes  also what none can build again: the registry, DVC's cache, Prefect's history
#
# Needs Python 3.11 to 3.13 and make. PYTHON=/path/to/python3 chooses one.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory --silent

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$name && break; done)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test prove prove-memory prove-models bench-index bench-retrieval pgvector-server lint clean distclean

run: $(VENV)/installed
	perennial run

test: $(VENV)/installed-test
	pytest -m "not slow" --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

prove: $(VENV)/installed-test
	pytest -m slow

prove-memory: $(VENV)/installed-test
	folder=$$(mktemp -d); python -m tests.memory.killing "$$folder" 100000 100; rm -rf "$$folder"

PROVING ?= .perennial/proving
prove-models: $(VENV)/installed-test
	perennial fetch-model smollm2-135m
	nice python -m tests.real.proving "$(PROVING)"

bench-index: $(VENV)/installed-test
	nice python -m benchmarks.index reports/index.md

bench-retrieval: $(VENV)/installed
	nice python -m benchmarks.retrieval

FOLDER ?= .perennial/pgvector
pgvector-server: $(VENV)/installed-test
	python -m benchmarks.pgvector_server "$(FOLDER)"

lint: $(VENV)/installed-lint
	ruff check .
	ruff format --check .
	mypy

# One stamp per set of packages: they are installed again only when what would come may have changed.
$(VENV)/installed: WHAT := .
$(VENV)/installed-test: WHAT := .[test]
$(VENV)/installed-lint: WHAT := .[test,lint]
$(VENV)/installed $(VENV)/installed-test $(VENV)/installed-lint: pyproject.toml constraints.txt | $(BIN)/python
	echo "Installing packages into $(VENV) ..."
	$(BIN)/python install.py "$(WHAT)"
	touch $@

$(BIN)/python:
	if [ -z "$(PYTHON)" ]; then \
		echo "Perennial needs Python 3.11, 3.12 or 3.13, and found none. Install one, or name it: make run PYTHON=..." >&2; exit 1; fi
	rm -rf $(VENV)
	if ! "$(PYTHON)" -m venv $(VENV) >/dev/null 2>&1; then rm -rf $(VENV); \
		echo "$(PYTHON) can't make a virtual environment. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; fi

clean:
	rm -rf data/examples data/pairs data/settings.json models reports .dvc/tmp
	rm -rf .perennial/scratch .perennial/serving .perennial/comparison .perennial/lock .perennial/last_run.json .perennial/last_error.txt
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

distclean:
	if [ "$(CONFIRM)" != yes ]; then \
		echo "This also deletes the registry (mlflow.db, mlruns), from which users may be served, DVC's cache and Prefect's" >&2; \
		echo "history (.prefect). No run brings them back. If that is meant: make distclean CONFIRM=yes" >&2; exit 1; fi
	$(MAKE) clean
	rm -rf mlruns mlflow.db mlflow.db-* .prefect .dvc/cache
