# `make demo` and `make test` set up all they need, in .venv and build/, from nothing
# but Python 3.11 or newer and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Also for the environments in which pip builds packages.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1

.PHONY: demo test lint format benchmark clean

demo: $(VENV)/done
	$(BIN)/python examples/demo.py build/demo

# Tests what users get: the wheel, in an environment of its own, from a folder in which
# the checkout cannot be imported.
test: build/test-venv/done
	mkdir -p build/elsewhere
	cd build/elsewhere && TESTING_WHEEL=1 ../test-venv/bin/python -P -m pytest -c $(CURDIR)/pyproject.toml \
	    --rootdir=$(CURDIR) -o cache_dir=$(CURDIR)/build/pytest-cache -n 2 -q \
	    $(CURDIR)/tests $(PYTEST_ARGS)

lint: $(VENV)/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/done
	$(BIN)/python benchmarks/run_recycle.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache

SOURCES := setup.cfg pyproject.toml README.md LICENSE \
    $(shell find prompt_tuning_recycling gin tasks -type f -not -name '*.pyc' 2>/dev/null)

$(VENV)/done: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Set PYTHON, as in: make test PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install --editable '.[dev]'
	touch $@

build/test-venv/done: $(VENV)/done $(SOURCES)
	rm -rf build/wheel build/lib build/bdist*
	mkdir -p build
	$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel.log || (cat build/wheel.log; exit 1)
	test -x build/test-venv/bin/python || $(PYTHON) -m venv build/test-venv
	build/test-venv/bin/pip install --upgrade pip
	build/test-venv/bin/pip uninstall --yes prompt_tuning_recycling
	build/test-venv/bin/pip install "$$(ls build/wheel/*.whl)[test]"
	touch $@
