# Every target does its own set-up. Variables become flags; there is no logic here.
#   make optimize PROFILE=h100 STUDY=night TRIALS=200
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# Where make was called, so that messages show its targets.
export OPTIMIZE_MAKE_FROM := $(PWD)
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.dev-installed

# Hundreds of processes import the same modules: keep them compiled, whatever the shell says.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n auto --dist loadgroup

quoted = '$(subst ','\'',$(value $(1)))'
flag = $(if $(value $(1)),--$(2) $(call quoted,$(1)))
WHICH = $(call flag,STUDY,study) $(call flag,STORAGE,storage)
TRAINING = $(WHICH) $(call flag,PROFILE,profile) $(call flag,WORKLOAD,workload) $(call flag,SPACE,space) $(call flag,HOURS,hours) \
	$(call flag,EXECUTOR,executor) $(call flag,SLOTS,slots) $(call flag,GPUS,gpus) $(foreach log,$(LOG),--log $(call quoted,log)) $(if $(MIXED_DEVICES),--mixed-devices)
FLAGS = $(TRAINING) $(call flag,TRIALS,trials) $(call flag,UNTIL_WORTH,until-worth) $(call flag,SEED,seed) $(call flag,SAMPLER,sampler) $(call flag,FROM,from) \
	$(foreach prior,$(PRIOR),--prior $(call quoted,prior)) $(if $(NO_PRIOR),--no-prior) \
	$(call flag,ADVISOR,advisor) $(call flag,ADVISOR_SHARE,advisor-share) $(if $(STARTS),--starts) $(if $(NO_STARTS),--no-starts) \
	$(if $(PRUNING),--pruning) $(if $(NO_PRUNING),--no-pruning) $(call flag,PRUNER,pruner)
TRUSTED = $(if $(TRUST),--trust)
ASIDE = $(if $(SET_ASIDE),--set-aside)

TARGETS := help setup prepare optimize confirm dashboard status show export report check autoresearch stop test test-fast lint clean

# A misspelt variable would be ignored without a word, and a misspelt target told only after those before it. Only the user's own
# command line is looked at.
ifeq ($(MAKELEVEL),0)
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
ANY_PYTHON := $(firstword $(wildcard $(BIN)/python) $(PYTHON))
OTHERS := $(filter-out $(TARGETS),$(MAKECMDGOALS))
MISSPELT := $(if $(strip $(GIVEN) $(OTHERS)),$(shell $(ANY_PYTHON) -I optimize/commands/make_variables.py '$(MAKECMDGOALS)' $(GIVEN) 2>/dev/null))
$(if $(MISSPELT),$(error $(MISSPELT)))
endif

# A .venv that was moved or copied has old paths. One whose Python has gone is made anew.
HERE := $(subst ','\'',$(realpath $(VENV)))
MOVED := $(if $(HERE),$(shell at='$(HERE)'; grep -qF -e "=$$at" -e "='$$at" -e "=\"$$at" $(BIN)/activate 2> /dev/null || echo moved))
$(if $(HERE),$(shell test -x $(BIN)/python || rm -f $(INSTALLED) $(DEV_INSTALLED)))

.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(INSTALLED)  ## create .venv and install what a study needs

prepare: $(INSTALLED)  ## prepare the profile's data and stop there
	@$(BIN)/optimize prepare $(call flag,PROFILE,profile) $(call flag,WORKLOAD,workload) $(TRUSTED)

optimize: $(INSTALLED)  ## run a study, or go on with it: PROFILE= STUDY= TRIALS= ...
	@$(BIN)/optimize run $(FLAGS) $(TRUSTED) $(ASIDE) $(call flag,CONFIRM,confirm) $(call flag,BACKUP,backup)

confirm: $(INSTALLED)  ## are the winners real? STUDY= FINALISTS= SEEDS= SCALE=
	@$(BIN)/optimize confirm $(TRAINING) $(TRUSTED) $(ASIDE) $(call flag,FINALISTS,finalists) $(call flag,SEEDS,seeds) $(call flag,SCALE,scale) $(call flag,BACKUP,backup)

dashboard: $(INSTALLED)  ## optuna-dashboard on http://127.0.0.1:8080 (PORT=)
	@$(BIN)/optimize dashboard --port $(call quoted,PORT) $(call flag,STORAGE,storage)

status: $(INSTALLED)  ## the studies; or of STUDY= what won, what next, the trials
	@$(BIN)/optimize status $(WHICH)

show: $(INSTALLED)  ## everything about trial N=
	@$(if $(N),$(BIN)/optimize show $(call quoted,N) $(WHICH),echo "make show: which trial? make show N=12"; exit 2)

export: $(INSTALLED)  ## write tables and best/ again; BUNDLE=1: all of it in one zip
	@$(BIN)/optimize export $(WHICH) $(if $(BUNDLE),--bundle $(if $(filter-out 1,$(BUNDLE)),--to $(call quoted,BUNDLE))) $(if $(ARTIFACTS),--artifacts) $(ASIDE)

report: $(INSTALLED)  ## a study on one page: runs/<study>/report.html
	@$(BIN)/optimize report $(WHICH)

check: $(INSTALLED)  ## what a study would do; REPAIR=1 mends what a crash left
	@$(BIN)/optimize check $(FLAGS) $(if $(REPAIR),--repair) $(ASIDE)

autoresearch: $(INSTALLED)  ## clone karpathy/autoresearch to DIR=, for PROFILE=
	@$(BIN)/optimize autoresearch $(if $(DIR),$(call quoted,DIR)) $(call flag,PROFILE,profile) $(call flag,FROM,from) $(call flag,COMMIT,commit)

stop: $(INSTALLED)  ## end a running study after its present trials; NOW=1: at once
	@$(BIN)/optimize stop $(WHICH) $(if $(NOW),--now)

test: $(DEV_INSTALLED)  ## every test this machine can do, real training included
	@echo "make test: running all tests; real training and a browser take a few minutes"
	@$(PYTEST) $(ARGS)

test-fast: $(DEV_INSTALLED)  ## the inner loop: no torch, no network
	@$(PYTEST) -m "not slow" $(ARGS)

lint: $(DEV_INSTALLED)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:  ## remove .venv and caches; studies under runs/ stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

NEEDED := Python 3.11 or newer is needed. Use: make $(MAKECMDGOALS) $(filter-out PYTHON=%,$(MAKEOVERRIDES)) PYTHON=python3.12
$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "setup: there is no program $(PYTHON) here. $(NEEDED)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $(PYTHON) is too old. $(NEEDED)"; exit 1; }
	@echo "setup: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

.PHONY: moved
moved: | $(BIN)/python
	@$(BIN)/python -I optimize/commands/mend_venv.py $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python $(MOVED)
	@echo "setup: installing the packages of constraints.txt (some minutes the first time: PyTorch with CUDA is 3 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gpt]'
	@touch $@

$(DEV_INSTALLED): $(INSTALLED)
	@echo "setup: installing the test tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
