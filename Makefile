# make demo   sets everything up, then runs Foresell from a sample CRM to scores over HTTP
# make test   sets everything up, then runs the tests (SLOW=1: the slow ones too)
# make check  lint and types
# make docs   writes the generated pages of docs/ again
# make lock   resolves requirements.lock again

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
WORKERS ?= 2

export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export PYTHONDONTWRITEBYTECODE := # where it is set, every process compiles four thousand modules again

.PHONY: demo test check docs lock clean

demo: $(READY)
	$(VENV)/bin/foresell demo

test: $(READY)
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow") $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: $(READY)
	$(VENV)/bin/python docs/build.py

lock: $(READY)
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --extra dev --upgrade --no-header --quiet \
		pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Foresell needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.lock)
	$(VENV)/bin/uv pip install --quiet --system-certs --python $(VENV) --requirement requirements.lock
	$(VENV)/bin/uv pip install --quiet --system-certs --python $(VENV) --no-deps --editable .
	@touch $@
