# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# TORCH=cpu make demo: torch without CUDA, a tenth of the size, for Linux without an NVIDIA GPU.
# uv knows where torch publishes it; pip would have to be told the address.
TORCH  ?=

# Processes that share the tests, one core each; WORKERS=0 runs them in one.
WORKERS ?= auto

# Compiled modules are kept: without them a start of gentool or pytest takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fast lint docs site torture bench gpu clean

demo: $(VENV)/installed
	$(BIN)/gentool train vae
	@echo; echo "The picture:"; $(BIN)/gentool sample --n 64
	@echo; echo "So that gentool is found by its name: source $(BIN)/activate"

test: $(VENV)/tested lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# What one runs after each change: everything that is not marked slow.
fast: $(VENV)/tested
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

docs: $(VENV)/installed
	$(BIN)/python docs/make_cli.py

# The documentation as a site in site/, every page and every docstring checked on the way.
site: $(VENV)/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

torture: $(VENV)/tested
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/kill.py --kills 50
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/faults.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/fuzz.py --count 100000
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/hammer.py cache --count 10000
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/hammer.py lock --count 50000
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/explore.py --count 10000

bench: $(VENV)/installed
	$(BIN)/python benchmarks/kernels.py --device cpu --quick
	$(BIN)/python benchmarks/train_speed.py --quick

gpu:
	bash benchmarks/gpu.sh

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/installed: pyproject.toml setup.py constraints.txt
	@echo "Installing into $(VENV); torch takes a few minutes"
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	$(PIP) uv
	$(BIN)/python -m uv pip install --python $(BIN)/python --torch-backend cpu -c constraints.txt torch
endif
	$(PIP) -e .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) -e ".[test,onnx,tensorboard,crosscheck]"
	touch $@

$(VENV)/documented: $(VENV)/installed
	$(PIP) -e ".[site]"
	touch $@
