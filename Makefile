# make demo   environment, install, and the main example on embedded data
# make test   environment, install, and every check
# make docs   the site, in docs/_build/html
# make sampler   torch_scatter and torch_sparse into the environment, so that no test is skipped
#
# Each prepares what it needs. PYTHON picks the interpreter of the environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet --no-input
LOG := .cache/install.log

.PHONY: demo test docs lint sampler clean

demo: $(VENV)/.examples
	@$(BIN)/python examples/quickstart.py

test: lint docs
	@echo "Building the wheel and trying it in a new environment ..."
	@$(BIN)/python -W ignore tests/smoke/try_wheel.py
	@echo "Running the tests and doctests ..."
	@$(BIN)/python -m pytest -q -n 2 --doctest-modules graphkd tests

lint: $(VENV)/.test
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@echo "Lint and types: clean"

docs: $(VENV)/.test
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "Docs: docs/_build/html/index.html"

# torch goes first and exactly: a looser request may bring a build for another machine.
$(VENV)/.torch: constraints.txt
	@mkdir -p .cache
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch (a few minutes on first use) ..."
	@$(PIP) install $$(grep '^torch==' constraints.txt) > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@

$(VENV)/.examples: $(VENV)/.torch pyproject.toml
	@echo "Installing graphkd and what its examples need ..."
	@$(PIP) install -c constraints.txt -e '.[examples]' > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	@echo "Installing graphkd and what its tests and docs need ..."
	@$(PIP) install -c constraints.txt -e '.[test,docs]' > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@touch $@ $(VENV)/.examples

# Built from source against the installed torch; pip keeps the wheels for the next time.
sampler: $(VENV)/.test
	@echo "Installing torch_scatter and torch_sparse (ten minutes on first use) ..."
	@$(PIP) install setuptools wheel ninja > $(LOG) 2>&1 || (tail -n 20 $(LOG); exit 1)
	@$(PIP) install --no-build-isolation torch-scatter torch-sparse > $(LOG) 2>&1 \
		|| (tail -n 20 $(LOG); exit 1)

clean:
	rm -rf $(VENV) .cache build dist docs/_build
