# The two commands of a fresh clone: `make demo` shows what archfront does, `make test` checks that it works here.
#   PYTHON=python3.12 make test                                                another interpreter (3.11 or newer)
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo         torch without CUDA: 0.2 GB instead of 3

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOMS := space hw_profiles evaluators search reports
TYPING := build/typing/archfront

.PHONY: help setup demo test test-all lint types docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(READY)  ## make .venv with the tested versions of everything

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## search on handwritten digits under a latency and a parameter budget
	$(BIN)/archfront search --name demo --data digits --space micro --device local-cpu --budget "latency<=0.1ms, params<=100k"

test: lint types  ## formatting, lint, types and tests, in about ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: lint types  ## the same with the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) links  ## mypy --strict
	$(BIN)/mypy --package archfront

# Type checkers and editors do not follow the import hook of an editable install: they read this tree of links instead.
.PHONY: links
links:
	@rm -rf $(TYPING) && mkdir -p $(TYPING)
	@ln -s $(foreach item,$(filter-out %/__pycache__,$(wildcard archfront/*)),../../../$(item)) $(TYPING)
	@ln -s $(foreach room,$(ROOMS),../../../$(room)) $(TYPING)

docs: $(READY)  ## write the generated pages: docs/blocks.md, docs/library.md, docs/configuration.md
	$(BIN)/python docs/generate.py

clean:  ## remove what make made; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
