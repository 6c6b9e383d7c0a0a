# The one door: `make demo` and `make test` set all up first, in a virtual environment beside this file.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup compiled demo test check bench lock clean

setup: .venv/.installed compiled

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": run make PYTHON=python3.x")'
	@echo "Setting up .venv (a minute or two, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The generated codec is optional: without a C compiler, or if it fails to build, fastavro serves.
compiled: .venv/.installed
	@if [ -e schemas/codec/build.py ] && command -v cc >/dev/null; then \
		$(BIN)/python -m schemas.codec.build || echo "The compiled codec did not build: fastavro serves."; \
	fi

demo: setup
	@$(BIN)/trading demo $(if $(KEEP),--keep)

test: setup
	@$(BIN)/pytest

check: setup
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest

bench: setup
	@$(BIN)/python -m tests.bench

# Resolves every dependency again, for all platforms, with the hash of each file.
lock:
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet uv
	build/uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --upgrade \
		--generate-hashes --no-annotate --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
