# make run          both services, with something to listen to (AUDIO=~/Music indexes that folder)
# make run FETCH=1  fetches the weights of the best embedder meanwhile
# make test         the tests
# EXTRA_INDEX=URL   a further package index, for CPU or CUDA builds of torch

PYTHON ?= python3
EXTRA_INDEX ?=
AUDIO ?= demo
FETCH ?=
PORT ?= 8001
export SOUNDALIKE_DATA_DIR ?= $(CURDIR)/data

BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	$(if $(EXTRA_INDEX),--extra-index-url $(EXTRA_INDEX))

.PHONY: run test test-slow lint check clean

run: .venv/ready
	$(BIN)/soundalike serve all --port $(PORT) --log-level warning --fill "$(AUDIO)" $(if $(FETCH),--fetch)

test: .venv/ready-dev
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/ready-dev
	$(BIN)/python -m pytest -m slow

lint: .venv/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv

.venv/ready: pyproject.toml constraints.txt scripts/check_tools.sh
	scripts/check_tools.sh "$(PYTHON)"
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv; the first time takes a few minutes."
	$(INSTALL) -e '.[embedder,recommender,evaluation]'
	touch $@

.venv/ready-dev: .venv/ready
	$(INSTALL) -e '.[embedder,recommender,evaluation,dev]'
	touch $@
