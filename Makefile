# Two commands: "make demo" shows what chexkeras does, "make test" proves that it works.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo app example test test-all lint types unit notebooks audit docs clean

demo: $(VENV)/.installed
	$(BIN)/chexkeras demo

# The page to try the demo's run, at http://127.0.0.1:7860/ on this machine alone.
app: $(VENV)/.installed-app
	@test -d demo/runs/demo || $(BIN)/chexkeras demo
	$(BIN)/chexkeras app demo/runs/demo

# For maintainers: renews the committed example, FDA_Submission.md and reports/demo. Another machine rounds otherwise, so
# its numbers differ a little: to be committed when the content changes, never for the numbers alone.
example: $(VENV)/.installed
	$(BIN)/chexkeras demo --out .

test: lint types unit notebooks

# Before a release: also what takes long and is rarely decisive (tests marked "release").
test-all: UNIT =
test-all: lint types unit notebooks

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

UNIT = -m "not release"
unit: $(VENV)/.installed-dev
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(UNIT) \
		--durations=10

# One after the other and in order: the later ones read the run that the earlier ones trained.
notebooks: $(VENV)/.installed-dev
	CHEXKERAS_DATA=phantoms $(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks -p no:randomly

# Known vulnerabilities of what is installed, by pip-audit in an environment of its own. It takes a package that its
# service does not know for one without any, so the service is asked for a vulnerable one first; where it cannot answer,
# the dated list in SECURITY.md is what the installed packages are held against.
KNOWN = import json, urllib.request as web; \
	assert json.load(web.urlopen("https://pypi.org/pypi/jinja2/2.10/json", timeout=20))["vulnerabilities"]
audit: $(VENV)/.installed-dev
	@if $(BIN)/python -c '$(KNOWN)' 2>/dev/null; then \
		$(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit && build/audit/bin/pip-audit \
			--path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	else \
		echo "PyPI's vulnerabilities cannot be asked for here; held against the dated list in SECURITY.md instead"; \
		$(BIN)/python -m pytest tests/test_packaging.py; \
	fi

# The documentation site, in build/site: the notebooks are executed once, the pages are built without a network.
docs: $(VENV)/.installed-docs build/docs/tutorial/.executed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site is build/site/index.html"

build/docs/tutorial/.executed: $(wildcard notebooks/*.ipynb) docs/execute_notebooks.py | $(VENV)/.installed-docs
	rm -rf build/docs
	$(BIN)/python docs/execute_notebooks.py build/docs/tutorial
	@touch $@

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, found {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.txt lists into $(VENV); the first time this takes some minutes"
	$(PIP) --requirement requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/.installed-app: $(VENV)/.installed
	$(PIP) --editable ".[app]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
