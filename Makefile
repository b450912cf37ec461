# Two commands: `make book` builds and executes the book, `make test` tests everything.
# Each does all set-up by itself; a second run repeats no work.

VENV ?= .venv
PYTHON ?= python3

# One thread per process: the models are tiny, and two threads that share a
# busy machine are slower than one.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
# Silences a debugger note of newer Pythons that would land on stderr.
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUILT := _build/.built
PAGES := _build/html/book/index.html

PACKAGE := $(shell find lossderiv -name '*.py' -o -name '*.json' -o -name '*.html' \
    -o -name '*.mplstyle' -o -name '*.c')
# The pages of book/atlas/families and book/atlas/made are written by the build itself.
BOOK := $(shell find book -type f ! -path '*/.*' ! -path '*/__pycache__/*' \
    ! -path 'book/atlas/families/*' ! -path 'book/atlas/made/*')
CONFIG := _config.yml _toc.yml $(shell find book/_ext -name '*.py')

.PHONY: book test lab notebooks certificates lint clean
.DEFAULT_GOAL := book

book: $(BUILT)
	@echo
	@echo "The book is ready. Open it in a browser, no server needed:"
	@echo "    file://$(CURDIR)/$(PAGES)"

test: $(INSTALLED) $(BUILT)
	MPLBACKEND=Agg VENV=$(VENV) $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

lab: $(INSTALLED)
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@cp book/_ext/lab_settings.json $(VENV)/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab book

notebooks: $(BUILT)
	rm -rf _build/notebooks
	mkdir -p _build/notebooks
	cd _build/html/_sources && find . -name '*.ipynb' | tar cf - -T - \
	    | tar xf - -C ../../notebooks
	@echo
	@echo "Executed notebooks (and, as *.to-run.ipynb, without outputs) are in"
	@echo "    $(CURDIR)/_build/notebooks/book"

# Measures the families whose code has changed since they were last measured.
certificates: $(INSTALLED)
	$(BIN)/python -m benchmarks.accuracy --certificates

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

clean:
	rm -rf _build book/atlas/families book/atlas/made .pytest_cache .ruff_cache
	find lossderiv tests book benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- stamps -----------------------------------------------------------------

# uv when it is there, else the standard tools. Importing the font manager once
# builds matplotlib's font cache here, not on stderr in the first chapter. The
# kernels need not warn at every start that they talk unencrypted: they do so
# within this machine.
$(INSTALLED): requirements.txt pyproject.toml
	@if command -v uv >/dev/null; then \
	    set -ex; \
	    test -x $(BIN)/python || uv venv --python $(PYTHON) $(VENV); \
	    uv pip install --python $(BIN)/python -r requirements.txt; \
	else \
	    set -ex; \
	    test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	    $(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt; \
	fi
	$(BIN)/python -c "import matplotlib.font_manager"
	@mkdir -p $(VENV)/etc/ipython
	@echo '{"IPKernelApp": {"log_level": "ERROR"}}' \
	    > $(VENV)/etc/ipython/ipython_kernel_config.json
	@touch $@

# A page that left the table of contents, or a setting or an extension that
# changed, must not leave traces in the output. Executed cells stay cached.
_build/.fresh: $(CONFIG) $(INSTALLED)
	rm -rf _build/html _build/.doctrees
	@mkdir -p _build
	@touch $@

# LOSSDERIV_DATASET and LOSSDERIV_DATA choose what the chapters run on: rewritten
# only when they change, so that a change rebuilds the book.
.PHONY: switches
switches:
	@mkdir -p _build
	@env | grep '^LOSSDERIV_DATA' | LC_ALL=C sort > _build/.switches.new || true
	@cmp -s _build/.switches.new _build/.switches \
	    || cp _build/.switches.new _build/.switches
	@rm -f _build/.switches.new
_build/.switches: switches ;

# Sphinx does not warn twice about a page it has already read, so a failed
# build forgets what it read: the next one fails for the same reason.
$(BUILT): _build/.fresh _build/.switches $(PACKAGE) $(BOOK)
	$(BIN)/jupyter-book build . -W --keep-going -n \
	    || { rm -rf _build/.doctrees; exit 1; }
	@touch $@
