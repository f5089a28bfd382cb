# Two commands matter: `make demo` and `make test`. Both prepare whatever they need, say what they do, and start in seconds the second time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
DEMO ?= edge/data/demo_scene.flac
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test lint format native-test wheel-check export-test bench train evaluate lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: ## .venv with pinned dependencies and the native module
	@scripts/setup.sh demo

demo: setup ## plays a scene through the whole line in real time and shows live captions
	@echo "auricle: listening to $(DEMO) at the speed of real time (Ctrl-C ends it)"
	@auricle listen --input $(DEMO) --format live

test: ## everything that CI runs
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint native-test wheel-check
	@echo "auricle: pytest"
	@python -m pytest
	@$(MAKE) --no-print-directory export-test

lint: ## ruff, mypy --strict, clang-format, shellcheck
	@scripts/lint.sh

format: setup ## rewrites Python and C++ in the house's format
	@ruff check --fix --quiet . ; ruff format --quiet . ; find native -name '*.[ch]pp' -exec clang-format -i {} +

native-test: ## C++ tests, plain and under the sanitizers
	@echo "auricle: native tests"
	@native/tests/run.sh

wheel-check: ## builds the wheel and uses it in an empty environment
	@scripts/check_wheel.sh

export-test: ## the laws of training and export, in the environment that has torch
	@scripts/setup.sh export
	@echo "auricle: pytest of the export toolchain"
	@.venv-export/bin/python -m pytest tests/test_training.py tests/test_training_gpu.py tests/test_thresholds.py tests/test_shipped_encoder.py tests/test_carried.py tests/test_evaluate.py tests/test_recipes.py tests/test_moonshine.py tests/test_taggers.py tests/test_gama.py tests/test_gguf_pair.py tests/test_models.py tests/test_npu.py tests/test_speech_prompt.py tests/test_word_times.py tests/test_text_decoder.py

bench: ## every benchmark, results into benchmarks/results (about two hours on an idle machine)
	@scripts/setup.sh test
	@scripts/bench.sh

train: ## trains, evaluates and packs the starter bundle anew (hours; needs ../shared/data)
	@scripts/setup.sh train
	@echo "auricle: training the starter bundle"
	@PATH="$(CURDIR)/.venv-export/bin:$$PATH" auricle-export train starter

DATA ?= ../shared/data
evaluate: ## examines the shipped starter and draws its page (needs ../shared/data; what it has learnt is no test: see docs/training.md)
	@scripts/setup.sh train
	@PATH="$(CURDIR)/.venv-export/bin:$$PATH" auricle-export evaluate starter --data $(DATA)

lock: ## resolves pyproject.toml into requirements/*.txt again (needs uv)
	@scripts/lock.sh

clean: ## removes what was built, not the cached llama-cpp-python wheel
	rm -rf .venv .venv-export build dist .mypy_cache .ruff_cache .pytest_cache edge/data/silero edge/_native*.so
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
