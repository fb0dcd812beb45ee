# Each target does all of its own set-up. Needed beforehand: Python >= 3.11 with venv, git and make.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
STAMP := .venv/.ready
export PATH := $(BIN):$(PATH)

.PHONY: help example setup readers demo test test-models lint docs bench bench-full
help:
	@echo "make demo   set up, build two versions of a real dataset with DVC in ./demo, and say what was kept and dropped"
	@echo "make example   train a model on two versions at five thresholds each; downloads 126 MB; minutes"
	@echo "make test   set up, lint, run every test"
	@echo "make test-models  the tests of encoders that need PyTorch, in an environment of their own (gigabytes)"
	@echo "make readers  the libraries that read clean datasets in tests, in an environment of their own (make test does it too)"
	@echo "make setup  the environment alone, in .venv"
	@echo "make docs   write docs/cli.md from the help texts"
	@echo "make bench  compare with other tools on some of the benchmark's data (Debian: it downloads packages with apt-get)"
	@echo "make bench-full   on all of it, and images, vectors, scale, storage: hours"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dedupver needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@command -v git >/dev/null || { echo "dedupver needs git: install it and try again"; exit 1; }
	@echo "setting up .venv from requirements.lock (some minutes, once)"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@"$(BIN)/python" -m pip install -qq --disable-pip-version-check --requirement requirements.lock
	@"$(BIN)/python" -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: setup
	@sh docs/demo.sh "$(BIN)" "$(CURDIR)/demo"

example: setup
	sh examples/licences/run.sh "$(BIN)" "$(CURDIR)/examples/.work/project"
	"$(BIN)/python" examples/licences/results.py examples/.work

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test: setup lint readers
	pytest -n 2

readers: .venv-readers/.ready

.venv-readers/.ready: tests/readers.txt
	@rm -rf .venv-readers && $(PYTHON) -m venv .venv-readers
	@.venv-readers/bin/python -m pip install -qq --disable-pip-version-check --requirement tests/readers.txt
	@touch $@

test-models: requirements.lock tests/models.txt
	@test -d .venv-models || $(PYTHON) -m venv .venv-models
	.venv-models/bin/python -m pip install -qq --disable-pip-version-check --requirement requirements.lock --requirement tests/models.txt
	.venv-models/bin/python -m pytest tests/test_models.py

docs: setup
	python docs/generate_cli.py

bench: setup
	python -m benchmarks.bench

bench-full: setup
	python -m benchmarks.bench --full
	python -m benchmarks.images
	python -m benchmarks.vectors
	python -m benchmarks.scale --lines 8 --sizes 100000 1000000 3000000 --encoded 1000000
	python -m benchmarks.segments
	python -m benchmarks.storage
	python -m benchmarks.gates
	for kind in text embeddings joint audio video row parts; do python -m benchmarks.kinds.$$kind || exit 1; done
