# `make help` says what there is. Everything is made in .venv and in the user's cache; nothing else is touched.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Debian's own Python first: the guest runs the same one. Another: make setup PYTHON=python3.12
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vaccel
export PIP_DISABLE_PIP_VERSION_CHECK := 1

say = echo "==> $(1)"

.NOTPARALLEL:
.PHONY: help setup run test lint pytest validate proto lock clean packages
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16
	echo '  Cache of guest images and models: $(CACHE)'

setup: packages $(DONE)/project ## Debian's packages, Python's packages, and vaccelctl, vacceld, vaccel-agent in .venv/bin

run: setup ## the demo: a VM with a virtual NPU runs two real models, and a table says how well
	@$(BIN)/vaccelctl demo

test: setup lint pytest ## every check and every test, those in QEMU included

lint: setup ## style, types and layers
	@$(call say,ruff)
	$(BIN)/ruff check
	$(call say,mypy)
	$(BIN)/mypy
	$(call say,import-linter)
	$(BIN)/lint-imports --no-cache

pytest: setup
	@$(call say,pytest)
	$(BIN)/pytest

validate: setup ## compare the device models with reference results: make validate ORACLES=dir
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m host_daemon.devices.validate $(if $(ORACLES),"$(ORACLES)")

proto: setup ## generate vaccel/v1 from proto/ again
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. proto/vaccel/v1/*.proto

lock: setup ## resolve Python's packages again, from pyproject.toml, into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --output-file requirements.lock --quiet \
	  --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header

clean: ## remove what was made in this folder; the cache stays
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked of dpkg each time, because packages come and go without this folder knowing (20 ms).
packages:
	@wanted=$$(sed 's/#.*//' packages.apt)
	have=" $$(dpkg-query -W -f '$${db:Status-Status}:$${Package} ' $$wanted 2>/dev/null || true)"
	missing=()
	for package in $$wanted; do
	  [[ $$have == *" installed:$$package "* ]] || missing+=("$$package")
	done
	(( $${#missing[@]} )) || exit 0
	if (( EUID )); then
	  echo "These Debian packages are missing. Install them, then run make again:"
	  echo "  sudo apt-get install --no-install-recommends $${missing[*]}"
	  exit 1
	fi
	$(call say,installing $${missing[*]})
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -q -y --no-install-recommends "$${missing[@]}"

$(DONE)/python: requirements.lock
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
	  echo "$(PYTHON) is not Python 3.11 or newer with venv. As root: apt-get install python3-venv"
	  exit 1
	}
	[[ -x $(BIN)/python ]] || { $(call say,creating $(VENV)); $(PYTHON) -m venv $(VENV); }
	$(call say,installing Python packages from requirements.lock)
	$(BIN)/python -m pip install --no-input --progress-bar off --require-hashes --only-binary :all: \
	  --requirement requirements.lock | sed -un 's/^Collecting \([^ ]*\).*/  \1/p; /^Installing/p'
	mkdir -p $(DONE)
	touch $@

# A plain path file: setuptools' other form of editable installation costs every start of vaccelctl 10 ms.
$(DONE)/project: $(DONE)/python pyproject.toml vaccel/__init__.py
	@$(call say,installing vaccel)
	$(BIN)/python -m pip install --no-input --quiet --no-deps --no-build-isolation --editable . \
	  --config-settings editable_mode=compat
	for program in vaccelctl vacceld vaccel-agent; do [[ -x $(BIN)/$$program ]]; done
	touch $@
