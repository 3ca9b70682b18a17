# `make demo` and `make test` need a Python 3.11 to 3.13 with venv, and nothing else.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV_INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint requirements.lock
# The tests' many processes find what the first one compiled, even where the environment forbids it.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-slow bench bench-quick bench-scale soak mutation-check lint docs site lock clean
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## Train, publish, submit and check a job, here and now
	@$(BIN)/fornada demo

test: $(VENV)/.dev  ## Run the tests that prove the product (5 minutes)
	$(PYTEST)

test-slow: $(VENV)/.dev  ## Run the rest of the tests: detail that takes long
	$(PYTEST) -m slow

bench: $(VENV)/.dev  ## Compare Fornada with others on the same work (25 minutes)
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.dev  ## Check that the comparison runs, with little work (3 minutes)
	$(BIN)/python -m benchmarks --quick

bench-scale: $(VENV)/.dev  ## Measure what a shard costs, and how workers scale
	$(BIN)/python -m benchmarks.scale

soak: $(VENV)/.dev  ## Break the real servers for minutes, and the protocol at length
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -m 'soak or not soak' --timeout 1800 tests/faults tests/integration/worker \
		tests/integration/model_store/test_applications.py tests/integration/model_store/test_hostile_models.py

mutation-check: $(VENV)/.dev  ## Check that tests fail when the protocol is broken
	$(BIN)/python tests/faults/mutation/mutation_check.py

lint: $(VENV)/.dev  ## Run ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/api.py
	$(BIN)/lint-imports

docs: $(VENV)/.dev  ## Rewrite the generated reference pages, dashboards and rules
	$(BIN)/python docs/generate.py
	$(BIN)/python deploy/generate.py
	$(BIN)/python docs/generate_keras_objects.py

site: $(VENV)/.dev  ## Build the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lock: $(VENV)/.dev  ## Resolve the dependencies into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --group docs --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean:  ## Remove everything made here, the demo's data too
	rm -rf $(VENV) benchmarks/.cache fornada-demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/uv: requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "making a virtual environment with $(PYTHON) in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }
	@# The lock holds the hash of the installer, too.
	@sed -n '/^uv==/,/# via/p' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@touch $@

$(VENV)/.runtime: $(BIN)/uv pyproject.toml requirements.lock
	@echo "installing the locked dependencies (TensorFlow is large)"
	@$(UV_INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(UV_INSTALL) --group dev
	@touch $@
