# Every command sets itself up: the first one that needs Python builds .venv, later ones find it ready.
#
#   PYTHON=python3.12       the Python that .venv is built from (3.11 or newer; default: the first that fits)
#   JOBS=4                  processes that the tests are spread over (default: 2)
#   PUBLISHED_FLAGS="--data /mnt/coco"   options of benchmarks/published.py
#   LAB_FLAGS=--no-browser  what JupyterLab is started with
#   KIT_FLAGS=--nbgrader    options of pfpn kit
#   FILES="A.py B.py"       whose mutants are tested (default: the core; see tests/mutants.py), of seed SEED=0
#   MINUTES=10              how long the readers are fuzzed
#   TORCH_INDEX=ADDRESS     a further package index, for torch's smaller builds without GPU support
#                           (PyTorch's own install page names the address). pip's variables work too,
#                           for instance PIP_CONSTRAINT=.ci/oldest.txt for the oldest supported versions.

ENV := .venv
PY := $(ENV)/bin/python
READY := $(ENV)/.ready
LOG := $(ENV)/install.log
JOBS ?= 2
SEED ?= 0
MINUTES ?= 10
FITS = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(p) -c '$(FITS)' 2>/dev/null && echo $(p))) python3)

NOTEBOOKS = $(wildcard notebooks/*.ipynb)
# gpu.py needs a GPU, published.py a network: neither belongs to what every machine can measure.
BENCHMARKS = $(filter-out benchmarks/_% benchmarks/gpu.py benchmarks/published.py,\
	$(wildcard benchmarks/*.py))
# Shapes and types of every call into the package are checked while its tests run.
SHAPES := --jaxtyping-packages=pfpn,shape_check.check
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(JOBS) --dist loadscope
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg --nbval-cell-timeout=600

# Settings of the machine that would leak into .venv, or change what a notebook draws.
unexport PYTHONPATH PYTHONHOME MPLBACKEND
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint lint-web format package-tests notebook-tests lab kit notebooks book bench \
	published weights mutants fuzz clean distclean FORCE

help:  ## show what can be made
	@echo "Panoptic FPN and the Lovász losses. Usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY)  ## train a Panoptic FPN from scratch, score it, draw what it sees (about 6 minutes)
	@$(PY) -m pfpn demo

test: lint package-tests notebook-tests  ## check everything: style, types, tests, notebooks

test-long: $(READY)  ## run the tests that take long and add little, which `make test` leaves out
	@$(PYTEST) $(SHAPES) -m long

lab: $(READY)  ## open your own copy of the course (lab/) in JupyterLab
	@$(PY) -m pfpn lab lab --jupyter="$(LAB_FLAGS)"

kit: $(READY)  ## write what a class needs: hand-outs, slides, quiz, notes for the instructor (dist/kit)
	@if command -v npm > /dev/null && ! test -d web/slides/node_modules; then \
		npm ci --prefix web/slides --ignore-scripts --no-audit --no-fund --silent || true; fi
	@$(PY) -m pfpn kit dist/kit $(KIT_FLAGS)

notebooks: $(READY)  ## execute all notebooks anew and store what they show
	@$(PY) notebooks/execute.py

book: $(READY)  ## build the book, a site that needs no server (site/)
	@OMP_NUM_THREADS=1 $(PY) docs/_book/build.py --out site

bench: $(READY)  ## measure speed, each claim beside its peer
	@set -e; for file in $(BENCHMARKS); do echo "== $$file"; $(PY) $$file; done

published: $(READY)  ## score the published weights on COCO val2017 (fetches 2.3 GB; a GPU is advised)
	@$(PY) benchmarks/published.py $(PUBLISHED_FLAGS)

weights: $(READY)  ## train the weights that come with the course anew (about half an hour)
	@OMP_NUM_THREADS=1 $(PY) data/checkpoints/make.py

mutants: $(READY)  ## change the code in small ways and count the changes that a test notices
	@OMP_NUM_THREADS=1 $(PY) tests/mutants.py --seed $(SEED) $(FILES)

fuzz: $(READY)  ## feed the readers of files with damaged ones for MINUTES
	@PFPN_FUZZ_MINUTES=$(MINUTES) OMP_NUM_THREADS=1 $(PY) -m pytest -q -m fuzz -p no:xdist tests

lint: $(READY) lint-web  ## check style, spelling and types
	@$(PY) -m ruff format --check --quiet . || { echo "make: 'make format' mends this"; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m codespell_lib
	@$(PY) -m mypy --no-error-summary
	@echo "lint: style, spelling and types are fine"

# The pages that run in a browser; where node is missing, pytest skips their tests and says so.
lint-web: $(READY)
	@if command -v node > /dev/null; then \
		for file in $$(git ls-files 'web/*.js' 'web/*.mjs'); do node --check "$$file" || exit 1; done; \
	fi
	@if test -f web/build.py; then $(PY) web/build.py --check; fi

format: $(READY)  ## mend the style where it can be mended by itself
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .

setup: $(READY)  ## only build .venv, or bring it up to date

clean:  ## remove caches and build products (.venv, data and runs stay)
	@rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov
	@find . -path ./$(ENV) -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-exec rm -rf {} +

distclean: clean  ## remove .venv too
	@rm -rf $(ENV)

package-tests: $(READY)
	@$(PYTEST) $(SHAPES)

notebook-tests: $(READY)
ifneq ($(NOTEBOOKS),)
	@PFPN_STATIC=1 $(PYTEST) $(NBVAL) notebooks
endif

# The stamp is written last, so that a .venv without it was interrupted and is built anew, as is one
# whose Python has gone. A newer pyproject.toml only brings the packages up to date.
$(READY): pyproject.toml $(if $(shell test -x $(PY) && echo there),,FORCE)
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
		echo "make: Python 3.11 or newer with its venv module is needed, but '$(PYTHON)'" \
			"answers: $$($(PYTHON) --version 2>&1 | head -n 1)"; \
		echo "      Install one (on Debian and Ubuntu: python3 and python3-venv), or name yours:" \
			"make PYTHON=python3.12"; \
		exit 1; }
	@if test -f $@ && test -x $(PY); then \
		echo "pyproject.toml has changed: bringing $(ENV) up to date ..."; \
	else \
		echo "First run: building $(ENV) with $$($(PYTHON) --version 2>&1) (PyTorch and the rest:" \
			"about 3 GB to download, 6 GB on disk,"; \
		echo "           a few minutes on a fast line; what happens is written to $(LOG)) ..."; \
		rm -rf $(ENV) && $(PYTHON) -m venv $(ENV); \
	fi
	@begin=$$(date +%s); \
	$(PY) -m pip install --disable-pip-version-check --no-input --progress-bar off \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[notebooks,dev,book]' > $(LOG) 2>&1 || { \
		tail -n 15 $(LOG); \
		echo "make: the packages could not be installed. The reason stands above, all of it in $(LOG)."; \
		exit 1; }; \
	touch $@; \
	echo "$(ENV) is ready after $$(($$(date +%s) - begin)) s."

FORCE:
