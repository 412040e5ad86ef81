# make course   run the whole course and open an index of the executed notebooks
# make lab      open JupyterLab
# make test     lint, test, execute every notebook, drive the widgets in a browser
# make test-all the same, and what takes longer: benchmarks, every try, a class of 300
# make faults   kills, full disks, hostile files, each many times: a table fault x tries x survived x lost
# make audit    look the locked versions up among those with known vulnerabilities (needs a network)
# make types    check the types of the public modules with pyright
# make versions the fast tests with the lowest and the newest allowed versions: PYTHONS='python3.12 ...'
# make lessons  rebuild the notebooks from notebooks/source/, and the rubric's table
# make site     write the project's site into build/site: lessons, reference, results, interface
# make release  build the package as for a release and try it in an empty environment; uploads nothing
# make lock     write the versions installed here into requirements.lock
#
# Each sets up .venv first, if need be. MODE=learn make course runs the lessons at full length.
# Without a GPU the CPU build of torch saves 4 GB; where PyTorch's own index can be reached:
#   make course TORCH_INDEX=https://download.pytorch.org/whl/cpu

MODE ?= quick
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
BIN := .venv/bin
READY := .venv/.ready
NBGRADER := .venv/nbgrader/.ready
# Compiled modules are kept even where PYTHONDONTWRITEBYTECODE is set: many tests start processes.
export PYTHONDONTWRITEBYTECODE :=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help course lab test test-all faults audit types versions lessons site release lock chromium bubblewrap clean
help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "annlib needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv (a few minutes, once)"
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --constraint requirements.lock --editable '.[course,data,record,site,test]'
	@touch $@

course: $(READY)
	$(BIN)/annlib lessons run --mode $(MODE)

# On this computer alone; the token that JupyterLab draws is needed to get in.
lab: $(READY)
	$(BIN)/annlib lab notebooks

lessons: $(READY)
	$(BIN)/annlib lessons build
	$(BIN)/python -m tools.rubric

site: $(READY)
	$(BIN)/python -m tools.site

release: $(READY)
	$(BIN)/python -m tools.release

# Two calls of pytest, each in two processes: a call imports and collects before it tests. Tests that
# share what is slow to make (a server and a browser, trained networks) stay in one process, and the
# most expensive begin first: tests/selection.py. The fast suite checks the lessons' sources, too.
test: $(READY) $(NBGRADER) chromium bubblewrap
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/check_prose.py
	$(PYTEST) -m "not browser and not notebooks and not all"
	$(PYTEST) -m "(browser or notebooks) and not all"

test-all: test
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m all

# About 25 minutes on 2 cores. Tests are dealt out one by one: those of a file share little.
faults: $(READY) bubblewrap
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m fault

# In an environment of its own: what looks for vulnerabilities is not part of what is looked at.
audit: $(READY)
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	@.venv/audit/bin/pip-audit --strict --requirement requirements.lock --no-deps --disable-pip \
	  2> .venv/audit/said || { tail -n 1 .venv/audit/said; \
	  echo "The audit did not pass: either the table above lists known vulnerabilities, or the service that knows"; \
	  echo "them could not be asked (a connection error, or 'not found on PyPI'). Then try again where pypi.org is reached."; \
	  exit 1; }

PYTHONS ?= $(PYTHON)
versions: $(READY)
	$(BIN)/python -m venv .venv/uv
	.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	PATH=$(CURDIR)/.venv/uv/bin:$$PATH OMP_NUM_THREADS=1 $(BIN)/python -m tools.versions --part whole core --python $(PYTHONS)

# In an environment of its own: pyright brings Node, 200 MB.
types: $(READY)
	$(BIN)/python -m venv .venv/types
	.venv/types/bin/python -m pip install --quiet --disable-pip-version-check 'pyright[nodejs]>=1.1.400'
	.venv/types/bin/pyright --pythonpath $(BIN)/python

# Browser tests need a Chromium. Debian's is installed where that is allowed; elsewhere they say so.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update && \
	apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null || \
	echo "No Chromium here: browser tests are skipped. To run them: sudo apt-get install chromium"

# The grader runs what students write inside a sandbox, and its tests break out of it if they can.
bubblewrap:
	@command -v bwrap >/dev/null || { \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update && \
	apt-get -qq install -y --no-install-recommends bubblewrap >/dev/null; } || \
	echo "No bubblewrap here: tests of the sandbox are skipped. To run them: sudo apt-get install bubblewrap"

# nbgrader makes and grades the exported assignment in a test. In an environment of its own, which
# sees the packages of ours: beside them it would put its menus into every student's JupyterLab.
$(NBGRADER): $(READY)
	$(BIN)/python -m venv $(@D)
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > \
	  $$($(@D)/bin/python -c "import site; print(site.getsitepackages()[0])")/course.pth
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint requirements.lock 'nbgrader==0.9.6' && touch $@ || \
	echo "No nbgrader could be had: its test is skipped. To run it: make test, with a network"

lock: $(READY)
	@{ sed -n '/^#/p' requirements.lock; \
	  $(BIN)/python -m pip list --format=freeze --exclude annlib --exclude pip --exclude setuptools; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv build
