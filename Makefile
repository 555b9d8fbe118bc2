# make demo   the whole job on an embedded data set        make test   everything, as CI runs it
# make check  formatting, types, import contracts and the fast tests, under three minutes
# Each sets up .venv from nothing, and is quick when it exists.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check schema tree clean
.DEFAULT_GOAL := demo

.venv/installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (torch alone is several GB; a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compress,openvino,dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/edgekd demo

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist worksteal

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/system_packages.py
	$(BIN)/pytest --numprocesses 2 --dist worksteal

schema: .venv/installed
	$(BIN)/python -c "from edgekd.results import schema_text; print(schema_text(), end='')" > docs/results.schema.json
	$(BIN)/python -c "from edgekd.editor_schemas import recipe_schema_text; print(recipe_schema_text(), end='')" \
		> docs/recipe.schema.json
	$(BIN)/python -c "from edgekd.editor_schemas import project_schema_text; print(project_schema_text(), end='')" \
		> docs/edgekd.schema.json

tree:
	$(PYTHON) docs/make_tree.py

clean:
	rm -rf .venv runs build dist
