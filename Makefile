# make demo   environment, install, and the main example on embedded data
# make test   environment, install, and every check
# make docs   environment, install of what it needs, and the site, in docs/_build/html
# make browse  the site in headless Chromium, which must be installed (a test does the same)
# make lint   style and types
# make wheel  the wheel, built and tried in a new environment
# make lowest  some of the tests on the lowest versions of torch, PyG and triton
# make sampler   torch_scatter and torch_sparse into the environment, so that no test is skipped
#
# Each prepares what it needs. PYTHON picks the interpreter of the environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet --no-input
# Python compiles what it imports; to compile all that is installed takes a minute.
INSTALL := $(PIP) install --no-compile
LOG := .cache/install.log

# Else each process that imports torch would compile its sources anew, which takes seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test docs browse lint wheel lowest sampler clean

demo: $(VENV)/.examples
	@$(BIN)/python examples/quickstart.py

# Lint, docs and the wheel take one core each. The tests take two, and a third process works while
# one waits for ranks or programs that it has started. A file's tests stay together, which share
# what they start, until a process has none left. Torch's threads would only be in the way.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.test
	@$(MAKE) --no-print-directory --jobs 2 lint docs wheel
	@echo "Running the tests and doctests ..."
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal --doctest-modules graphkd tests

lint: $(VENV)/.test
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@echo "Lint and types: clean"

docs: $(VENV)/.docs
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "Docs: docs/_build/html/index.html"

browse: $(VENV)/.test docs
	@REQUIRE_BROWSER=1 $(BIN)/python -m pytest -q tests/test_browser.py

wheel: $(VENV)/.test
	@echo "Building the wheel and trying it in a new environment ..."
	@$(BIN)/python -W ignore tests/smoke/try_wheel.py

# torch goes first and exactly: a looser request may bring a build for another machine.
$(VENV)/.torch: constraints.txt
	@mkdir -p .cache
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch (a few minutes on first use) ..."
	@$(INSTALL) $$(grep '^torch==' constraints.txt) > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@

$(VENV)/.examples: $(VENV)/.torch pyproject.toml
	@echo "Installing graphkd and what its examples need ..."
	@$(INSTALL) -c constraints.txt -e '.[examples]' > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@

$(VENV)/.docs: $(VENV)/.torch pyproject.toml
	@echo "Installing graphkd and what its docs need ..."
	@$(INSTALL) -c constraints.txt -e '.[docs]' > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@ $(VENV)/.examples

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	@echo "Installing graphkd and what its tests and docs need ..."
	@$(INSTALL) -c constraints.txt -e '.[test,docs]' > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@ $(VENV)/.docs $(VENV)/.examples

lowest: $(VENV)/.test
	@$(BIN)/python tests/smoke/versions.py

# Built from source against the installed torch; pip keeps the wheels for the next time.
sampler: $(VENV)/.test
	@echo "Installing torch_scatter and torch_sparse (ten minutes on first use) ..."
	@$(INSTALL) setuptools wheel ninja > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@$(INSTALL) --no-build-isolation torch-scatter torch-sparse > $(LOG) 2>&1 \
		|| (tail -n 20 $(LOG); exit 1)

clean:
	rm -rf $(VENV) .cache build dist docs/_build
