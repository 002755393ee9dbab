# Two commands: `make demo` and `make test`. Each makes what it needs in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Most tests wait for a peer more than they compute: three at once on two cores. One file stays in
# one process, so that its peers are started once; in our order, which begins long stories early.
TEST_PROCESSES ?= 3
SYSTEM_PACKAGES := mosquitto faketime dcmtk dicom3tools gcc libc6-dev chromium fonts-dejavu-core prometheus postgresql strace

.PHONY: demo test check docs pictures bench soak torture clean system-packages

demo: $(VENV)/.demo
	$(BIN)/mammoedge demo

test: $(VENV)/.test system-packages build/axe build/node
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python -m pytest --quiet tests/docs/test_links.py tests/docs/test_readme.py

# The pages of docs/ as a site in build/docs; a broken link or anchor fails.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

# The two pictures of README, drawn anew from invented exams.
pictures: $(VENV)/.test system-packages
	$(BIN)/python -m benches.pictures

bench: $(VENV)/.test system-packages
	$(BIN)/python -m benches

soak: $(VENV)/.test system-packages
	$(BIN)/python -m benches.soak --exams 1000 --units 10

# A clinic of 1,000 exams under a seeded mix of faults; SEED=2 for another one. Half an hour.
SEED ?= 1
torture: $(VENV)/.test system-packages
	$(BIN)/python -m tests.torture --exams 1000 --seed $(SEED)

# What the tests need besides Python: installed where we may, skipped (and named) where not.
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=""; for p in $(SYSTEM_PACKAGES); do \
	    dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	  if [ -n "$$missing" ]; then echo "installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	    rc=$$?; [ $$rc = 0 ] || echo "could not install$$missing: tests that need them are skipped"; fi; \
	else echo "not root on Debian: tests that need $(SYSTEM_PACKAGES) are skipped where they are missing"; fi

# The accessibility engine, for tests of the console; they are skipped (and named) without it.
build/axe: | system-packages
	@mkdir -p build
	@# Where Node comes from elsewhere, npm is part of it, and Debian's npm would conflict with it.
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null; } || true
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --ignore-scripts --prefix build/axe axe-core@4 \
	    || { rm -rf build/axe; echo "could not install axe-core: tests that need it are skipped"; }; \
	else echo "npm is missing: tests that need axe-core are skipped"; fi

# An outsider's tools: AsyncAPI's own parser, and an MQTT client of another language.
build/node: | system-packages build/axe
	@mkdir -p build
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --ignore-scripts --prefix build/node @asyncapi/parser@3 ajv@8 mqtt@5 \
	    || { rm -rf build/node; echo "could not install @asyncapi/parser, ajv and mqtt: tests that need them are skipped"; }; \
	else echo "npm is missing: tests that need @asyncapi/parser, ajv and mqtt are skipped"; fi

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mammoedge needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV) || { echo "no virtual environment: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	@echo "installing mammoedge and what the demo needs into $(VENV) (a minute or two the first time)"
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml
	@echo "installing mammoedge and what tests and checks need into $(VENV)"
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[test,check]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.python pyproject.toml
	@echo "installing what the pages are built with into $(VENV)"
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
