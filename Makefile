# `make demo` and `make test` set up all they need, in .venv and build/, from nothing
# but Python 3.11 or newer and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_VENV := build/test-venv
ROUNDS ?= 10
# Also for the environments in which pip builds packages.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 1

.PHONY: demo study test test-fast test-thorough fuzz kills several stores lint format benchmark clean

demo: $(VENV)/done
	$(BIN)/python -m examples.demo build/demo

study: $(VENV)/dev
	$(BIN)/python -m examples.study build/study

# Tests what users get: the wheel, in an environment of its own, from a folder in which
# the checkout cannot be imported. What JAX compiles is kept for all of its processes,
# which share the processors: the threads of BLAS would only wait for each other. There is
# one process more than two cores keep busy, since some tests wait for a server. What
# tests write is in memory where that has room: it is many small files.
TESTS_FILES := $(shell grep -qs ' /dev/shm tmpfs .*noexec' /proc/mounts || \
    df -Pk /dev/shm 2>/dev/null | \
    awk 'NR == 2 && $$4 > 4e6 {print "PYTEST_DEBUG_TEMPROOT=/dev/shm"}')
test: $(TEST_VENV)/done
	mkdir -p build/elsewhere
	cd build/elsewhere && TESTING_WHEEL=1 JAX_COMPILATION_CACHE_DIR=$(CURDIR)/build/compiled \
	    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	    OPENBLAS_NUM_THREADS=1 $(TESTS_FILES) \
	    ../test-venv/bin/python -P -m pytest -c $(CURDIR)/pyproject.toml \
	    --rootdir=$(CURDIR) -o cache_dir=$(CURDIR)/build/pytest-cache -n 3 --dist worksteal -q \
	    -m 'not thorough' $(CURDIR)/tests $(PYTEST_ARGS)

# All tests but those that take seconds.
test-fast:
	$(MAKE) test PYTEST_ARGS='-m "not slow and not thorough" $(PYTEST_ARGS)'

# What `make test` leaves out: kills, some long runs, and more cases of what it tests.
test-thorough:
	$(MAKE) test PYTEST_ARGS='-m thorough $(PYTEST_ARGS)'

# Fuzzes each reader of files from strangers for FUZZ_SECONDS; READERS='zarr2 zarr3'
# chooses some.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/fuzz
	PYTHONPATH=. OPENBLAS_NUM_THREADS=1 TF_CPP_MIN_LOG_LEVEL=3 \
	    $(BIN)/python -m tests.fuzzing --seconds $(FUZZ_SECONDS) $(READERS)

# Starts many commands on one output at once, ROUNDS times.
several: $(TEST_VENV)/done
	for round in $$(seq $(ROUNDS)); do \
	    PROMPT_RECYCLING_AT_ONCE=16 $(MAKE) test \
	        PYTEST_ARGS='-m "" -k "test_several_at_once or test_holding" $(PYTEST_ARGS)' \
	        || exit 1; \
	done

# Every fault and kill on object stores, for hours. STORES_EVERY=8 makes the faults at
# every eighth request.
stores: $(VENV)/dev
	STORES=all OPENBLAS_NUM_THREADS=1 $(BIN)/python -P -m pytest -q -n 8 tests/stores \
	    tests/stores/campaign.py $(PYTEST_ARGS)

# Kills every writer KILLS times, and has each of its system calls fail; counts are in
# build/kills. It takes hours of a processor: WRITERS chooses some, and FAULTS_EVERY=6
# makes every sixth call fail, as in `make kills WRITERS='train' FAULTS_EVERY=6`.
KILLS ?= 50
FAULTS_EVERY ?= 1
WRITERS ?= often
kills: $(VENV)/dev
	KILLS=$(KILLS) FAULTS_EVERY=$(FAULTS_EVERY) KILLS_COUNTS=$(CURDIR)/build/kills OPENBLAS_NUM_THREADS=1 PYTHONPATH=. \
	    $(BIN)/python -m pytest -q -n 0 tests/kills/test_kills.py -k 'often and ($(WRITERS))'
	$(BIN)/python tests/kills/table.py build/kills

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/dev
	$(BIN)/python benchmarks/run_recycle.py
	PYTHONPATH=. $(BIN)/python benchmarks/recyclers.py
	PYTHONPATH=. $(BIN)/python benchmarks/standalone.py
	$(BIN)/python -m benchmarks.sweep recycle
	$(BIN)/python -m benchmarks.sweep evaluate

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache

CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Set PYTHON, as in: make test PYTHON=python3.12")'
# On all processors; pip uses one. Some packages hold files that Python cannot compile.
COMPILE = $(1)/bin/python -m compileall -q -j 0 -x /tests/ $(1)/lib > /dev/null 2>&1 || true
SOURCES := setup.cfg pyproject.toml README.md LICENSE \
    $(shell find prompt_tuning_recycling gin tasks -type f -not -name '*.pyc' 2>/dev/null)

$(VENV)/done: setup.cfg pyproject.toml constraints.txt
	$(CHECK_PYTHON)
	@echo "Setting up $(VENV); this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --no-compile --upgrade pip
	# Setuptools warns that folders may share a package's name; here they are the package.
	PYTHONWARNINGS=ignore $(BIN)/pip install --no-compile --editable '.[demo]'
	$(call COMPILE,$(VENV))
	touch $@

# What the demo does not need.
$(VENV)/dev: $(VENV)/done
	PYTHONWARNINGS=ignore $(BIN)/pip install --editable '.[dev]'
	touch $@

$(VENV)/fuzz: $(VENV)/dev
	PYTHONWARNINGS=ignore $(BIN)/pip install --editable '.[fuzz]'
	touch $@

$(TEST_VENV)/done: constraints.txt $(SOURCES)
	$(CHECK_PYTHON)
	@echo "Building the package and setting up $(TEST_VENV) to test it."
	rm -rf build/wheel build/lib build/bdist*
	test -x $(TEST_VENV)/bin/python || $(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --no-compile --upgrade pip
	$(TEST_VENV)/bin/pip wheel --no-deps --wheel-dir build/wheel .
	$(TEST_VENV)/bin/pip uninstall --yes prompt_tuning_recycling
	$(TEST_VENV)/bin/pip install --no-compile "$$(ls build/wheel/*.whl)[test]"
	$(call COMPILE,$(TEST_VENV))
	touch $@
