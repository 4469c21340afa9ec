# innerloop. `make serve` runs it, `make test` tests it; both make the virtual environment first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve install test check bench bench-serving bench-index bench-gpu report rectools clean

serve: .venv/.local
	$(BIN)/innerloop serve --demo

# What `serve` needs, and nothing started: `.venv/bin/innerloop` is there then.
install: .venv/.local

test: .venv/.dev
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(BIN)/python -m pytest

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev
	$(BIN)/python -m benchmarks.adaptation

# Needs wrk on the PATH.
bench-serving: .venv/.dev
	$(BIN)/pip install -q -c constraints.txt -e '.[rivals]'
	$(BIN)/python -m benchmarks.serving --seconds 4 --against naive,implicit,melu,litserve,ray --sweep \
		--json benchmarks/results/serving.json --plots docs/performance

# A million items, four minutes; faiss is measured too where it is installed.
bench-index: .venv/.dev
	$(BIN)/python -m benchmarks.index --json benchmarks/results/index.json --plot docs/performance/index.svg

# For a machine with a GPU.
bench-gpu: .venv/.local
	$(BIN)/python -m benchmarks.gpu --json benchmarks/results/gpu.json

report: .venv/.dev
	$(BIN)/python -m benchmarks.report --readme README.md --learner docs/learner.md
	$(BIN)/python -m benchmarks.serving.report

# RecTools pins numpy below 2, so it has an environment of its own; benchmarks/opponents/rectools_adapter.py runs it there.
rectools: .venv/bin/python
	$(PYTHON) -m venv .venv-rectools
	.venv-rectools/bin/pip install -q -c constraints.txt 'rectools[torch]' 'numpy<2'

clean:
	rm -rf .venv .venv-rectools build dist *.egg-info models/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find app models tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("innerloop needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

# The stamps: what `serve` needs, and what development needs on top. Both go again when a dependency or the C changes.
SOURCES := pyproject.toml constraints.txt $(wildcard models/native/*)

.venv/.local: $(SOURCES) | .venv/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[local]'
	touch $@

.venv/.dev: $(SOURCES) | .venv/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/.local
