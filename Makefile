# `make help` lists the targets. Each sets up what it needs first, once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

# --- Which Python, and which environment ---
# Prints the first interpreter among its arguments that is in range. Where pyenv's shims
# answer only for the versions that are switched on, PYENV_VERSION switches one on.
HASH := \#
IN_RANGE := import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
  print(sys.executable) if ok else sys.exit(1)
find_python = $(shell for name in $(1); do \
  "$$name" -c '$(IN_RANGE)' 2>/dev/null && break; \
  PYENV_VERSION="$${name$(HASH)python}" "$$name" -c '$(IN_RANGE)' 2>/dev/null && break; \
  done)
minor = $(shell "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

ifneq ($(PYTHON),)
  # A Python that was asked for gets an environment of its own, unless .venv is its.
  INTERPRETER := $(call find_python,$(PYTHON))
  ifeq ($(INTERPRETER),)
    $(error PYTHON=$(PYTHON) does not run or is no Python 3.11, 3.12 or 3.13)
  endif
  MINOR := $(call minor,$(INTERPRETER))
  VENV := .venv
  ifneq ($(wildcard .venv/bin/python),)
    ifneq ($(call minor,.venv/bin/python),$(MINOR))
      VENV := .venv-$(MINOR)
    endif
  endif
else
  VENV := .venv
  INTERPRETER = $(call find_python,python3.11 python3.12 python3.13 python3)
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

# --- The environment ---
# A compiler that came after the installation is reason to install again.
NATIVE := tfpriv/ops/_native.so
ifeq ($(wildcard $(NATIVE)),)
  ifneq ($(shell command -v $(CXX)),)
    $(STAMP): again
  endif
endif
.PHONY: again

$(STAMP): setup.cfg setup.py pyproject.toml $(wildcard tfpriv/ops/cc/*)
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  python="$(INTERPRETER)"; \
	  if [[ -z $$python ]]; then \
	    echo "make: needs Python 3.11, 3.12 or 3.13; none found." >&2; exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$python (TensorFlow and friends: some minutes, 3 GB)"; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing tfpriv and what it needs into $(VENV)"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -qq -e '.[all,test,notebooks]'
	@if [[ ! -e $(NATIVE) ]]; then \
	  echo "No native ops: there is no working C++ compiler (CXX=$(CXX)). tfpriv runs"; \
	  echo "its pure-TensorFlow ops instead: the same results, slower."; \
	fi
	@touch $@

# Most of a test's time is Keras' and TensorFlow's Python, on one core. By file, because
# tests of one file share what they trained.
TWO_AT_A_TIME := -n 2 --dist loadfile

# --- The targets ---
.PHONY: demo
demo: $(STAMP) ## train privately on generated pictures, print epsilon and captions
	$(BIN)/tfpriv demo

.PHONY: test
test: $(STAMP) ## run the tests (ARGS: to pytest, as "-k noise", or --fresh for new random inputs)
	$(BIN)/python -m pytest -m "not slow" $(TWO_AT_A_TIME) $(ARGS)

.PHONY: test-slow
test-slow: $(STAMP) ## run the long tests: statistics, kills, packaging
	$(BIN)/python -m pytest -m slow $(ARGS)

.PHONY: faults
faults: $(STAMP) ## kill, fill the disk, damage files: what happens (docs/faults.md)
	$(BIN)/python tests/faults/run.py $(TWO_AT_A_TIME) $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## give parsers inputs that are almost right, for MINUTES=60 (docs/fuzzing.md)
	@$(BIN)/python -m pip install -qq -e '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py --minutes $(or $(MINUTES),60) $(ARGS)

.PHONY: reference
reference: $(STAMP) ## build the reference environments and compare with them
	bash tests/reference/build.sh
	$(BIN)/python -m pytest tests/reference -m "not slow" $(ARGS)

.PHONY: reference-full
reference-full: $(STAMP) ## the same with networks of full size: 16 GB of memory, 10 of disk
	bash tests/reference/build.sh
	$(BIN)/python -m pytest tests/reference -m slow $(ARGS)

.PHONY: lint
lint: $(STAMP) ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# An environment of its own: pages are built from the sources, without TensorFlow.
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/installed
REQUIREMENTS := import configparser; c = configparser.ConfigParser(); c.read("setup.cfg"); \
  print(c["options.extras_require"]["docs"])

$(DOCS_STAMP): setup.cfg
	@python="$(INTERPRETER)"; \
	if [[ -z $$python ]]; then \
	  echo "make: needs Python 3.11, 3.12 or 3.13; none found." >&2; exit 1; \
	fi; \
	"$$python" -m venv --clear $(DOCS); \
	$(DOCS)/bin/python -c '$(REQUIREMENTS)' > $(DOCS)/requirements.txt
	@$(DOCS)/bin/python -m pip install -qq -r $(DOCS)/requirements.txt
	@touch $@

.PHONY: docs
docs: $(DOCS_STAMP) ## build the site of the documentation: build/site/index.html
	$(DOCS)/bin/python docs/site/stage.py build/site-source
	@# Not --quiet: --strict counts warnings that are logged, and would find none.
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

.PHONY: notebooks
notebooks: $(STAMP) ## run the notebooks from top to bottom
	@if compgen -G 'notebooks/*.ipynb' >/dev/null; then \
	  $(BIN)/python -m pytest --nbmake --nbmake-timeout=900 notebooks $(ARGS); \
	else \
	  echo "There are no notebooks yet."; \
	fi

.PHONY: bench
bench: $(STAMP) ## measure speed (benchmarks/README.md explains the figures)
	@for script in benchmarks/*.py; do $(BIN)/python "$$script"; done

.PHONY: release
release: $(STAMP) ## build sdist and wheel, try them in fresh environments (docs/releasing.md)
	$(BIN)/python tests/release/run.py $(ARGS)

.PHONY: clean
clean: ## remove what was built; the environments stay
	rm -rf build dist tfpriv.egg-info $(NATIVE) demo_output
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find tfpriv tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## list the targets
	@echo "make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile
