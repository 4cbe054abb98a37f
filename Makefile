# What people call. Each target installs what it needs into .venv, and no more.
PYTHON ?= python3
RECIPE ?= recipes/quick.yaml
RUN ?= azure_function/model
RUNS ?=
OUT := runs/ensemble
AVERAGE := answers
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SERVING := azure_function/requirements.txt requirements.txt pyproject.toml

.PHONY: app test soak lint train notebook board compare ensemble export publish page clean

app: .venv/serving  ## serve the page and the function here; no torch
	@$(BIN)/python -m commands.serve

test: .venv/everything  ## every test; the browser ones want Chromium
	$(BIN)/python -m pytest $(PYTEST)

soak: .venv/everything  ## the tests of endurance in full, half an hour; figures in runs/soak.json
	$(BIN)/python -m pytest -m soak --soak runs/soak.json $(PYTEST)

lint: .venv/everything  ## style, and nothing that must not be committed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify train.ipynb app/app.ipynb

train: .venv/everything  ## run train.ipynb by RECIPE into runs/; six drawn birds by default
	@$(BIN)/python -m fieldmark.recipe $(RECIPE)

notebook: .venv/everything  ## open train.ipynb in JupyterLab
	@$(BIN)/jupyter lab train.ipynb

board: .venv/everything  ## watch runs that track with tensorboard
	@$(BIN)/tensorboard --logdir runs

compare: .venv/everything  ## put RUNS side by side, or all finished ones in runs/
	@$(BIN)/python -m fieldmark.evaluation.comparison.report $(RUNS)

export: .venv/everything  ## make RUN's birds.onnx again, as fp32, fp16 or int8, and gate it
	@$(BIN)/python -m export.rebuild $(RUN) $(if $(PRECISION),--precision $(PRECISION))

ensemble: .venv/everything  ## make one run of several, RUNS="runs/a runs/b", at OUT
	@$(BIN)/python -m export.ensemble $(RUNS) --out $(OUT) --average $(AVERAGE)

publish: .venv/everything  ## put RUN's model where the function finds it
	@$(BIN)/python -m export.publish $(RUN)

page:  ## the page without a kernel: azure_function's own, and one for a static host that asks FUNCTION
	@$(PYTHON) app/bundle.py azure_function/birds/page.html
	@$(if $(FUNCTION),mkdir -p runs/page && $(PYTHON) app/bundle.py runs/page/index.html $(FUNCTION))

clean:  ## forget the environment
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c "import sys; ok = (3, 11) <= sys.version_info < (3, 13); \
	  sys.exit(None if ok else 'Fieldmark needs Python 3.11 or 3.12: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv

.venv/serving: .venv/bin/python $(SERVING)
	$(PIP) -r azure_function/requirements.txt -r requirements.txt -e ".[serve]"
	@touch $@

.venv/everything: .venv/serving
	$(PIP) -e ".[serve,train,track,test]"
	@touch $@
