# Every target sets up what it needs in .venv, once. Start with `make demo`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-slow lint bench docs clean
help:
	@echo "make demo       train, draw and report: the decay clock, the lr x weight-decay map (3 min)"
	@echo "make test       everything CI runs: lint, types, tests, doctests"
	@echo "make test-slow  what needs minutes, kills or a server"
	@echo "make bench      speed against torch's own optimizers and loops"
	@echo "make docs       the documentation, into docs/_build/html"

$(VENV)/bin/python:
	@echo "== creating $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing etalambda with its lab (once, about a minute)"
	$(BIN)/pip install -q -c constraints.txt -e '.[lab]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing etalambda with its development tools (once, about two minutes)"
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.lab

demo: $(VENV)/.lab
	$(BIN)/etalambda demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check

test: lint
	$(BIN)/python -m pytest -n 2 -q -m "not slow" --durations=15

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m slow --durations=0

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/offline.py docs/_build/html
	@echo "== open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache
