# Needs Python 3.11 or newer with pip and venv; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
# Without a C++ compiler the article's sweep takes 25 minutes: then a small part of it.
SWEEP := $(if $(shell command -v c++ || command -v g++ || command -v clang++),parity_1125,quickstart)

.PHONY: run test check report bench bench-peers aot chaos sanitize lock clean

run: .venv/installed ## train the article's 1125 networks, sort them into phases, draw them
	$(BIN)/grok-sweep sweeps=$(SWEEP)

test: check ## the whole test suite
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: .venv/installed ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

report: .venv/installed ## the page of the recorded sweep of 1125 runs: build/parity_1125/report.html
	rm -rf build/parity_1125 && mkdir -p build && cp -r sweeps/parity_1125 build/
	$(BIN)/grok-analyze build/parity_1125 --report

bench: .venv/installed ## how fast, as ratios to what is measured in the same run
	$(BIN)/python -m grok_sweep.bench

bench-peers: .venv-peers/installed ## the same runs by Ray Tune, Hydra, vmap, torch: hours; PEERS="--slices short"
	.venv-peers/bin/python -m grok_sweep.bench peers --record tests/peers.yaml $(PEERS)

aot: .venv-aot/installed ## compile the sweeps' programs for an H100 and three TPUs, none of which need be here
	.venv-aot/bin/python -m grok_sweep.bench aot --record tests/aot.yaml

chaos: .venv/installed ## 100 times kill something that a sweep needs: nothing may be lost or doubled
	$(BIN)/python tests/chaos.py --kills 100 --record tests/chaos.yaml

sanitize: .venv/installed ## the native engine's tests, stopped at a wrong address or undefined behaviour
	CXX=$(CURDIR)/tests/sanitized-c++ LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	    $(BIN)/python -m pytest -p no:cacheprovider tests/test_engines.py tests/test_modular_engine.py -k "not gpu"

lock: .venv/installed ## resolve the dependencies anew
	$(BIN)/pip install --quiet uv
	$(COMPILE) --generate-hashes --group dev -o requirements.lock
	$(COMPILE) --generate-hashes --group dev --group aot --constraints requirements.lock -o requirements-aot.lock
	$(COMPILE) --group dev --group peers --constraints requirements.lock -o requirements-peers.lock

COMPILE = $(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-annotate \
    --custom-compile-command "make lock" pyproject.toml

clean:
	rm -rf .venv .venv-peers .venv-aot build dist *.egg-info

# Apart, as jax would take these compilers for devices.
.venv-aot/installed: requirements-aot.lock pyproject.toml
	$(PYTHON) -m venv .venv-aot
	.venv-aot/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-aot.lock
	touch $@

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Without hashes: those of torch are of builds for GPUs, and pip takes one for CPUs where it knows one.
.venv-peers/installed: requirements-peers.lock pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" # the first to read groups
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c requirements-peers.lock --group dev --group peers --editable .
	touch $@
