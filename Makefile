PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Compiled kernels outlive a run.
export NUMBA_CACHE_DIR ?= $(CURDIR)/.cache/numba

.PHONY: demo test lint unit docs dist clean

demo: $(READY)
	$(BIN)/python -m si_crsae.evaluation.demo

test: lint unit docs dist

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Tests start processes of their own: these share the cores, so none takes them all.
unit: export OMP_NUM_THREADS ?= 1
unit: $(READY)
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Generated pages go first: one of a module that is gone would fail the build.
docs: $(READY)
	rm -rf docs/reference/generated
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

# The wheel is built from the sdist, so that what this lacks shows. EMPTY=1: all requirements are fetched, minutes.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python release/try_wheel.py dist/*.whl $(if $(EMPTY),--empty)

# torch first: a later, looser requirement must find it in place rather than fetch another build.
$(READY): pyproject.toml constraints.txt $(wildcard autoload/*.*)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'si_crsae needs Python 3.11 or newer: make PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet -e .[dev,docs] -c constraints.txt
	touch $@

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis docs/_build docs/jupyter_execute docs/reference/generated build dist
