PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Compiled kernels outlive a run.
export NUMBA_CACHE_DIR ?= $(CURDIR)/.cache/numba

.PHONY: demo test lint unit docs dist test-lowest clean

demo: $(READY)
	$(BIN)/python -m si_crsae.evaluation.demo

test: lint unit docs dist

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

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

# The lowest versions that pyproject.toml allows, where they have wheels; what only the tests need is the newest.
LOWEST := .cache/lowest
WITH_LOWEST := tests/test_autoload.py tests/test_command_line.py tests/test_config.py tests/test_diagnostics.py \
	tests/test_job_kwargs.py tests/test_registration.py tests/core/solvers tests/core/test_code_cache.py \
	tests/core/test_compiled.py tests/io tests/models/test_doors.py tests/sorting/test_exporters.py \
	tests/sorting/test_folder.py tests/sorting/test_matching.py tests/sorting/test_recordings.py \
	tests/sorting/test_sorter.py tests/widgets/test_report.py
test-lowest: export OMP_NUM_THREADS ?= 1
test-lowest: $(READY)
	mkdir -p $(LOWEST)
	$(BIN)/uv pip compile --quiet --python $(BIN)/python --resolution lowest-direct --only-binary :all: \
		--extra widgets pyproject.toml --output-file $(LOWEST)/requirements.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)/env
	$(BIN)/uv pip install --quiet --python $(LOWEST)/env/bin/python --only-binary :all: \
		-r $(LOWEST)/requirements.txt -r release/test_tools.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/env/bin/python --no-deps .
	$(LOWEST)/env/bin/python -m pytest -n auto --maxprocesses 2 --dist loadfile -m "not slow" \
		-o addopts="-ra --import-mode=importlib --strict-markers" $(WITH_LOWEST)

# torch first: a later, looser requirement must find it in place rather than fetch another build.
$(READY): pyproject.toml constraints.txt si_crsae/__init__.py $(wildcard autoload/*.*)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'si_crsae needs Python 3.11 or newer: make PYTHON=...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet -e .[dev,docs] -c constraints.txt
	touch $@

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis docs/_build docs/jupyter_execute docs/reference/generated build dist
