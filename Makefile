# Everything works on a fresh clone: what a target needs is set up first, which takes seconds when it is there already.
# STACK=onedl uses the maintained forks of the OpenMMLab packages, in an environment of their own.
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
TORCH ?= 2.13.0
# cpu or cuda. auto: cuda with an NVIDIA GPU and an nvcc that fits; an environment that is there keeps what it has.
TORCH_BUILD ?= auto
# The first Python from 3.10 to 3.12 there is; name another with PYTHON=...
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && exit; \
	done; echo python3)
# Tests run in so many processes; one takes up to 6 GiB. 0: in one, with output as it comes and a debugger.
WORKERS ?= 2
# The tests of a file share what they have built, so one process gets them all; the long ones come first.
SHARED = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
BIN = $(VENV)/bin

# Linters need nothing of the environment, and are there in seconds.
LINT = .venv-lint/bin

.PHONY: help setup peers pretrain demo test test-fast test-stack lint types docs site doctor
.DEFAULT_GOAL := help

help:
	@echo 'make setup      an environment with torch, mmcv, mmdet, mmseg and mmswin in $(VENV)'
	@echo 'make peers      exporters in $(VENV)/export, and what tests compare with: timm and its like in $(VENV)/peers, SAHI in $(VENV)/inference'
	@echo 'make pretrain   mmpretrain for classification and pretraining, in $(VENV)/pretrain'
	@echo 'make demo       set up, then train and test a small detector and a segmentation model on synthetic data'
	@echo 'make test       set up, then run all tests'
	@echo 'make test-fast  set up, then run the unit tests'
	@echo 'make test-stack set up, then run the tests of what OpenMMLab and its forks can answer differently'
	@echo 'make lint       check style, format and spelling'
	@echo 'make types      set up, then check types'
	@echo 'make docs       set up, then write the tables of docs/model-zoo.md again and build the pages in site/'
	@echo 'make site       build the pages in site/, which needs Python alone'
	@echo 'make doctor     say whether what is installed fits together'
	@echo 'Variables: STACK=openmmlab|onedl PYTHON=python3.11 VENV=folder TORCH=2.13.0 TORCH_BUILD=cpu|cuda MAX_JOBS=1 WORKERS=2'

setup:
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV) --torch $(TORCH) --build $(TORCH_BUILD)

# Exporters, and what the tests compare with besides: a quarter of a minute once.
peers: setup
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV) --torch $(TORCH) --build $(TORCH_BUILD) --peers

# Classification and pretraining: mmpretrain apart from the rest, which torchvision could break (docs/classify.md).
pretrain: setup
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV) --torch $(TORCH) --build $(TORCH_BUILD) --pretrain

demo: setup
	@$(BIN)/python tools/demo.py $(ARGS)

test: setup peers pretrain
	@$(BIN)/python -m pytest $(SHARED) $(ARGS)

test-fast: setup
	@$(BIN)/python -m pytest $(SHARED) tests/structure tests/unit $(ARGS)

# Values beside mmdet's and mmseg's, what is registered and built, runs, files of checkpoints, and each tool once.
test-stack: setup pretrain
	@$(BIN)/python -m pytest $(SHARED) -m 'not slow' tests/e2e tests/parity \
		tests/structure/test_imports.py tests/unit/engine tests/unit/checkpoints tests/unit/detectors tests/unit/configs $(ARGS)

$(LINT)/pyrefly: constraints/lint.txt
	@$(PYTHON) -m venv .venv-lint
	@$(LINT)/python -m pip install --quiet --disable-pip-version-check -r constraints/lint.txt
	@touch $@

lint: $(LINT)/pyrefly
	@$(LINT)/ruff check --quiet .
	@$(LINT)/ruff format --quiet --check .
	@$(LINT)/codespell

types: setup $(LINT)/pyrefly
	@$(LINT)/pyrefly check --python-interpreter-path $(BIN)/python --summary=none

docs: setup
	@$(BIN)/python docs/model_zoo.py
	@$(MAKE) --no-print-directory site

# The pages alone need Python and nothing of the stack.
site: .venv-docs/complete
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

.venv-docs/complete: constraints/docs.txt
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install --quiet --disable-pip-version-check -r constraints/docs.txt
	@touch $@

doctor: setup
	@$(BIN)/python tools/doctor.py
