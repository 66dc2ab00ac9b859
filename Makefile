# sudo make setup         install what l7top needs on this machine; then .venv/bin/l7top is the command
# sudo make demo          the dashboard on real servers with lively traffic; nothing of them stays
# sudo make live          the dashboard on this host as it is
# sudo make test          setup for developers, then the linters and all tests, real servers included
# sudo make bench         measure what tracing costs (takes minutes)
# sudo make agreement     compare what l7top tells with what drivers and servers know (takes minutes)
# sudo make screenshots   all pictures in screenshots/, taken in the demo (takes minutes)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help setup demo live test bench agreement screenshots root packages tracefs

PYTHON := /usr/bin/python3

# Debian's packages, each only where what it brings is missing.
has_module = $(shell $(PYTHON) -c 'import importlib.util as u; print(u.find_spec("$(1)") and "yes" or "")')
PACKAGES = \
  $(if $(call has_module,bcc),,python3-bpfcc) \
  $(if $(call has_module,ensurepip),,python3-venv)
SERVER_PACKAGES = $(if $(shell /sbin/ldconfig -p | grep libcurl.so.4),,libcurl4)
TEST_PACKAGES = $(SERVER_PACKAGES) \
  $(if $(shell command -v tcpdump),,tcpdump) \
  $(if $(shell command -v tshark),,tshark) \
  $(if $(shell command -v redis-server),,redis-server) \
  $(if $(shell command -v javac),,default-jdk-headless) \
  $(if $(shell command -v mvn),,maven)
AGREEMENT_PACKAGES = \
  $(if $(shell command -v go),,golang-go) \
  $(if $(shell command -v npm),,npm)
PICTURE_PACKAGES = \
  $(if $(shell command -v rsvg-convert),,librsvg2-bin) \
  $(if $(wildcard /usr/share/fonts/truetype/firacode),,fonts-firacode) \
  $(if $(wildcard /usr/share/fonts/truetype/ancient-scripts),,fonts-symbola)
WANTED = $(strip $(PACKAGES) \
  $(if $(filter test bench agreement,$(MAKECMDGOALS)),$(TEST_PACKAGES)) \
  $(if $(filter agreement,$(MAKECMDGOALS)),$(AGREEMENT_PACKAGES)) \
  $(if $(filter demo screenshots,$(MAKECMDGOALS)),$(SERVER_PACKAGES)) \
  $(if $(filter screenshots,$(MAKECMDGOALS)),$(PICTURE_PACKAGES)))

# What is made here belongs to whoever called sudo, else to the owner of the checkout.
OWNER := $(or $(SUDO_UID),$(shell stat -c %u .)):$(or $(SUDO_GID),$(shell stat -c %g .))
MADE_HERE := .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache screenshots *.egg-info
give_back = for made in $(MADE_HERE) $$(find probes tui tests -name __pycache__); do \
  [ ! -e "$$made" ] || chown -hR $(OWNER) "$$made"; done

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

setup: tracefs .venv/setup

# Neither needs tracefs to be mounted: the collector's compiler mounts it for itself alone.
demo: .venv/setup-demo
	@trap '$(give_back)' EXIT
	.venv/bin/python -m tests.demo

live: .venv/setup
	@trap '$(give_back)' EXIT
	.venv/bin/l7top

test: tracefs .venv/setup-dev
	@trap '$(give_back)' EXIT
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest --durations=15

bench: tracefs .venv/setup-dev
	@trap '$(give_back)' EXIT
	.venv/bin/python -m tests.benchmarks

agreement: tracefs .venv/setup-dev
	@trap '$(give_back)' EXIT
	.venv/bin/python -m tests.agreement

screenshots: .venv/setup-demo
	@trap '$(give_back)' EXIT
	.venv/bin/python -m tests.demo.screenshots screenshots

root:
	@$(if $(filter-out 0,$(shell id -u)),$(error this needs root: sudo make $(MAKECMDGOALS)))

packages: | root
	@[ -n "$(WANTED)" ] || exit 0
	command -v apt-get >/dev/null || { echo "No apt-get here: install by hand what Debian calls $(WANTED)." >&2; exit 1; }
	echo "Installing $(WANTED)"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -q -y --no-install-recommends $(WANTED)

tracefs: | root
	@[ -d /sys/kernel/tracing/events ] && exit 0
	echo "Mounting tracefs at /sys/kernel/tracing"
	mount -t tracefs tracefs /sys/kernel/tracing || echo "This kernel or container refuses: no live probes here." >&2

# The distribution's Python, for its BCC is no package of PyPI.
.venv/setup .venv/setup-demo .venv/setup-dev: pyproject.toml | packages
	@trap '$(give_back)' EXIT
	echo "Installing l7top and its Python packages into .venv"
	$(PYTHON) -m venv --system-site-packages .venv
	.venv/bin/pip install -q -e '.$(patsubst -%,[%],$(@:.venv/setup%=%))'
	touch .venv/setup $(if $(findstring dev,$@),.venv/setup-demo) $@
