# Two commands do all set-up on a machine that has Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test check bench format lock clean

demo: $(READY)
	PATH="$(abspath $(VENV))/bin:$$PATH" bash demo.sh

test: $(READY)
	$(PY) -m pytest -q -m "not slow" -n auto --dist loadfile

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/test_house.py

bench: $(READY)
	$(PY) -m benchmarks

format: $(READY)
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format --quiet .

lock:
	uv pip compile --universal --all-extras --no-header --no-annotate --no-emit-index-url -p 3.11 pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --progress-bar off -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)

clean:
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
