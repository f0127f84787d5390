# `make` lists the targets. Everything lives in .venv; nothing outside the checkout is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint docs notebooks doctor clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/\1|\2/' \
		| while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

install: $(STAMP)  ## create .venv and install mer with everything (skipped while up to date)

# The stamp is older than these two files when something changed that an install must take up.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mer needs Python 3.11 or newer, \
	$(PYTHON) is " + sys.version.split()[0] + ". Name another: make install PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[all,dev]'
# mediapipe brings opencv-contrib-python, which needs libGL; mer and albumentations need opencv-python-headless, which
# does not. Both write the folder cv2/, and pip installs the former last. This writes the latter's files again; removing
# the former instead would take cv2/ with it, and pip would bring it back with the next install.
	$(BIN)/pip install --quiet --no-deps --force-reinstall -c constraints.txt opencv-python-headless
# Ends with an error, and its mend, when this machine lacks something that no Python package brings.
	$(BIN)/mer doctor
	@touch $@

demo: install  ## synthetic corpora, preparation, training, scores, audit and report (repeats reuse what is done)
	$(BIN)/mer train experiment=demo
	$(BIN)/mer audit runs/demo
	$(BIN)/mer report runs/demo
	$(BIN)/mer train experiment=demo_from_scratch
	$(BIN)/mer compare runs/demo runs/demo-from-scratch

# Two processes with one thread each are quicker than two that fight for the cores; a file stays in one process,
# which sets its fixtures up once. Sorted by their number of tests, the files with few long ones would come last.
test: install  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: install  ## the slow tests
	$(BIN)/pytest -m slow

lint: install  ## style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install  ## build the documentation in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: install  ## open the notebooks in JupyterLab
	$(BIN)/pip install --quiet -c constraints.txt -e '.[notebooks]'
	cd notebooks && ../$(BIN)/jupyter lab

doctor: install  ## check this machine
	$(BIN)/mer doctor

clean:  ## remove .venv and caches; data, prepared stores and runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build dist
