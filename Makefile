# Two commands for people: `make demo` (the main job) and `make test`; both set everything up from nothing.
# Another Python: make test PYTHON=python3.12. Elsewhere than here, torch's CPU build comes from TORCH_INDEX.

PYTHON ?= python3
VENV ?= .venv
TORCH = torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
# OpenMP threads that spin while they wait cost more than they gain on few cores.
export OMP_WAIT_POLICY = PASSIVE

# uv takes a quarter of pip's time. It reads none of pip's settings, so where it does not find a package, pip looks for it.
LINKS = $(addprefix --find-links ,$(PIP_FIND_LINKS))
install = { $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(LINKS) $(1) || $(BIN)/pip install --quiet --no-deps $(1); }

# Both are quiet for a while; a dot every 4 seconds says that it lives.
DOTS = while sleep 4; do printf . >&2; done & trap "kill $$!" EXIT;

.PHONY: setup demo test lint fast docs
setup: $(STAMP)

$(STAMP): deploy/requirements-cpu.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), once"
	-$(BIN)/pip install --quiet uv
	$(DOTS) $(call install,$(TORCH)) || $(call install,--index-url $(TORCH_INDEX) $(TORCH))
	$(DOTS) $(call install,-r deploy/requirements-cpu.lock)
	$(DOTS) $(call install,--editable .)
	touch $(STAMP)

demo: setup
	$(BIN)/vgrout demo --out out/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: setup
	$(BIN)/mkdocs build --strict --quiet

fast: setup
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not engine and not cluster"

test: lint docs
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not engine and not cluster"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "(engine or cluster) and not slow"
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow
