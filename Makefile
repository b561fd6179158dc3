# From a clone, with python3 >= 3.10 and pip: `make demo` or `make test`, in any order.
#
# PYTHON is the interpreter that makes the virtual environment VENV. PIP_OPTIONS goes to every `pip install`,
# for example an index of your own; pip reads its environment variables and configuration as always. On Linux
# the usual wheel of torch brings CUDA, some gigabytes; PIP_OPTIONS="--extra-index-url URL" with PyTorch's own index
# of CPU builds gets by with a tenth.

PYTHON ?= python3
VENV ?= .venv
PIP_OPTIONS ?=
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2
PYTEST_OPTIONS ?=
# Nine benchmarks need to be told what they measure; seven others take those in photos/val, where it is there.
OF_PHOTOS := cluster default_steps effort learning local resnet zarr_codecs
BENCHMARKS ?= $(filter-out $(patsubst %,benchmarks/%.py,block_size learning_rate local_inputs photographs shapes small_photographs speed sure_gain weights $(if $(wildcard photos/val),,$(OF_PHOTOS))), \
	$(wildcard benchmarks/*.py))
FUZZ_SECONDS ?= 600

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) $(PIP_OPTIONS)

.PHONY: help demo tables test coverage test-oldest test-prerelease check docs bench fuzz dist clean

help:
	@echo "make demo    compress and decompress the sample digits, show the sizes"
	@echo "make test    run the tests"
	@echo "make coverage  run the tests, and report which lines and branches they reach"
	@echo "make check   run the linter, the type checker and the check of layers"
	@echo "make docs    build the site of the documentation into build/site"
	@echo "make dist    build the sdist and the wheel into dist/"
	@echo "make tables  write the tables of benchmarks/README.md and README.md from benchmarks/results"
	@echo "make bench   run the benchmarks, those of photographs only where photos/val has some"
	@echo "make fuzz    fuzz the readers, FUZZ_SECONDS each (Linux)"
	@echo "make clean   remove $(VENV), caches and build outputs"

demo: $(VENV)/.installed
	@$(BIN)/python tools/demo.py

# A module's tests run in one process, so that what they share is made once, and in the order that tests/conftest.py
# gives them. Hundreds of processes are started: byte code is kept, whatever the variable says.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# A report of lines and branches, in build/coverage too. It is no part of `make test`, since counting takes half as
# long again. Compiled loops, and the processes that tests start, are not counted.
coverage: $(VENV)/.installed-test
	@mkdir -p build
	@$(BIN)/python -m coverage run -m pytest $(PYTEST_OPTIONS)
	@$(BIN)/python -m coverage html --quiet --directory build/coverage
	@$(BIN)/python -m coverage report

# The tests with the lowest versions that pyproject.toml allows, and with the newest, pre-releases among them.
test-oldest:
	@$(MAKE) test VENV=build/oldest CONSTRAINTS=constraints-oldest.txt

test-prerelease:
	@$(MAKE) test VENV=build/prerelease CONSTRAINTS=constraints-none.txt PIP_OPTIONS="--pre $(PIP_OPTIONS)"

dist: $(VENV)/.installed-test
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist

check: $(VENV)/.installed-test
	@mkdir -p build
	@$(BIN)/ruff format --check --quiet . || { echo "ruff format would change files"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > build/lint-imports.log || { cat build/lint-imports.log; exit 1; }

# A link that leads nowhere, and a page that is not in the menu, are errors.
docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "built: build/site/index.html"

tables: $(VENV)/.installed
	@$(BIN)/python benchmarks/tables.py

bench: $(VENV)/.installed-bench
	@set -e; for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python "$$script"; done

# What is found is left in build/fuzz; new inputs of interest too. tests/fuzz/fuzz_runner.py says more.
fuzz: $(VENV)/.installed-fuzz
	@set -e; for target in container decode images manifest model; do mkdir -p build/fuzz/$$target; \
	$(BIN)/python tests/fuzz/fuzz_$$target.py build/fuzz/$$target tests/fuzz/corpus/$$target \
	-max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/; done

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find bbcompress benchmarks tests tools -name __pycache__ -exec rm -rf {} +

# The files below say what the environment holds, so that nothing is installed twice. The package is installed in
# place: it is the checkout that runs.

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.exit("bbc needs Python 3.10 or newer, $(PYTHON) is " + v if sys.version_info < (3, 10) else 0)'
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml $(CONSTRAINTS)
	@echo "Installing bbc and the packages it needs (torch among them: this may take minutes) ..."
	@$(PIP_INSTALL) pip hatchling
	@$(PIP_INSTALL) --no-build-isolation -e '.[train]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[train,remote]' --group test
	@touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	@echo "Installing the fuzzer ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[train,remote]' --group fuzz
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-test
	@echo "Installing what the documentation needs ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[train,remote]' --group docs
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@echo "Installing what the benchmarks need ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[train]' --group bench
	@touch $@
