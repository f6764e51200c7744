# `make run`: environment, then the sample dataset end to end.
# `make test`: environment, then lint, types, import contracts, tests.
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3.11)
VENV := .venv
BIN := $(VENV)/bin
SPEC ?= data/dataset.yaml
LOADERS := trl llamafactory axolotl
PEERS := rensa datasketch datatrove data-juicer clean-text lingua langdetect
LOCKED := --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

.PHONY: help env run test lint types contracts tests test-faults test-servers test-real-data test-loaders ui peers benchmark lock format clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

env: $(VENV)/.ready ## make the environment

$(VENV)/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] < (3, 11))" 2>/dev/null || { echo "Python 3.11 is needed: name yours with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: env ## build the sample dataset (or SPEC=path)
	$(BIN)/dataset-pipeline run --spec $(SPEC)

ui: env ## open Dagster on 127.0.0.1
	$(BIN)/dataset-pipeline ui --spec $(SPEC)

test: env lint types contracts tests ## lint, types, import contracts, tests

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

types: env
	$(BIN)/mypy

contracts: env
	$(BIN)/lint-imports

tests: env
	$(BIN)/pytest -m "not real_data and not faults and not servers and not loaders" -n 4 --dist loadfile --no-loadscope-reorder

test-real-data: env ## tests on real data (DATASET_PIPELINE_REAL_DATA names the folder)
	$(BIN)/pytest -m "real_data and not loaders and not faults" -n 4 --dist loadfile --no-loadscope-reorder

.venv-loaders/%/.ready: dataset_pipeline_tests/loaders/%.txt | env
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-loaders/$*
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python .venv-loaders/$*/bin/python -r $<
	@touch $@

test-loaders: env $(LOADERS:%=.venv-loaders/%/.ready) ## releases read by TRL, LLaMA-Factory and axolotl (their environments take 12 GB)
	$(BIN)/pytest -m "loaders$(if $(DATASET_PIPELINE_REAL_DATA),, and not real_data)"

test-servers: env ## tests against a database and an object store that they start on 127.0.0.1
	$(BIN)/pytest -m "servers and not faults" -n 2 --dist loadfile

test-faults: env ## long fault injection
	$(BIN)/pytest -m "faults$(if $(DATASET_PIPELINE_REAL_DATA),, and not real_data)"

.venv-peers/%/.ready: benchmarks/peers/%.txt | env
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers/$*
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python .venv-peers/$*/bin/python -r $<
	@touch $@

peers: env $(PEERS:%=.venv-peers/%/.ready) ## environments of the programs that benchmarks compare with (1.2 GB)

benchmark: env peers ## measure on the folder DATASET_PIPELINE_REAL_DATA names
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.refresh
	$(BIN)/python -m benchmarks.near
	$(BIN)/python -m benchmarks.contamination
	$(BIN)/python -m benchmarks.personal
	$(BIN)/python -m benchmarks.language
	$(BIN)/python -m benchmarks.texts

format: env ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: env ## renew requirements.txt: hashes, no addresses
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --upgrade -o requirements.txt $(LOCKED)
	for name in $(LOADERS); do \
		$(BIN)/uv pip compile dataset_pipeline_tests/loaders/$$name.in --upgrade -o dataset_pipeline_tests/loaders/$$name.txt $(LOCKED) \
			$$(ls dataset_pipeline_tests/loaders/$$name.overrides 2>/dev/null | sed 's/^/--override /') || exit 1; \
	done
	for name in $(PEERS); do \
		$(BIN)/uv pip compile benchmarks/peers/$$name.in --upgrade -o benchmarks/peers/$$name.txt $(LOCKED) || exit 1; \
	done

clean: ## remove the environment and the sample's state
	rm -rf $(VENV) .venv-loaders .venv-peers build *.egg-info data/.dagster data/releases data/warehouse.duckdb* data/cache.duckdb* data/review_queue.csv data/report.html
