# Each target sets up what it lacks, saying so, and then does one thing. It needs git, make, curl, a C compiler and
# rustup's cargo; everything else is put into a folder of its own under ~/.cache or, where we may, through apt.
#
#   make play      build the page and serve it (PORT=8080)
#   make build     build the page into dist/ and print what it weighs
#   make up        a cluster of native processes: Kafka on 9092, ZooKeeper on 2181 (UP=flags of `glasshouse up`)
#   make test      every test
#   make sim       10,000 seeds of the swarm
#   make bench     how fast it is, beside Apache's own and others measured in the same run
#   make interop   foreign clients and Apache's tools against real processes

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-wasm setup-page setup-browser setup-python build play up sim clean

PORT ?= 8080
WASM_BINDGEN := 0.2.130
TRUNK := 0.21.14
WASM_PACK := 0.15.1
BINARYEN := 132
# One folder for every clone of this user, so that a second clone installs nothing.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glasshouse
TOOLS := $(CACHE)/tools
PYTHON := $(CACHE)/python
# Ours first: the versions matter.
export PATH := $(TOOLS)/bin:$(HOME)/.cargo/bin:$(PATH)
# Trunk reads NO_COLOR as a flag of its own and takes nothing but true and false.
export NO_COLOR ?= true

help:
	@sed -n '4,12s/^# *//p' Makefile

setup: setup-wasm setup-page setup-browser setup-python

# -- tools: each line looks first, and says what it is about to do (the system's packages: make/apt) -----------------

setup-wasm:
	@rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs -r test -d || { \
	  echo "setup: the wasm target of this Rust"; rustup target add wasm32-unknown-unknown; }
	@wasm-bindgen --version 2>/dev/null | grep -qF ' $(WASM_BINDGEN)' || { \
	  echo "setup: wasm-bindgen $(WASM_BINDGEN), about 3 minutes"; \
	  cargo install -q wasm-bindgen-cli --version $(WASM_BINDGEN) --root $(TOOLS); }

setup-page: setup-wasm
	@trunk --version 2>/dev/null | grep -qF ' $(TRUNK)' || { \
	  echo "setup: trunk $(TRUNK), about 8 minutes on two cores"; \
	  cargo install -q trunk --version $(TRUNK) --locked --no-default-features --features rustls --root $(TOOLS); }
	@wasm-opt --version 2>/dev/null | grep -qF 'version $(BINARYEN)' || { \
	  command -v npm >/dev/null || make/apt "Node with npm" nodejs npm; \
	  echo "setup: wasm-opt $(BINARYEN), from npm's binaryen"; mkdir -p $(TOOLS)/bin; \
	  npm install --silent --no-fund --no-audit --prefix $(TOOLS) binaryen@$(BINARYEN).0.0; \
	  ln -sf ../node_modules/.bin/wasm-opt $(TOOLS)/bin/wasm-opt; }

# Browser tests want wasm-pack, Chromium and its driver.
setup-browser: setup-wasm
	@wasm-pack --version 2>/dev/null | grep -qF ' $(WASM_PACK)' || { \
	  echo "setup: wasm-pack $(WASM_PACK), about 3 minutes"; cargo install -q wasm-pack --version $(WASM_PACK) --root $(TOOLS); }
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	  make/apt "Chromium and its driver" chromium chromium-driver fonts-liberation

# The Python clients of the tests, each pinned; a folder of their own, renewed when the pins change.
setup-python: $(PYTHON)/.installed
$(PYTHON)/.installed: tests/interop/python/requirements.txt
	@echo "setup: Kafka and ZooKeeper clients for Python"
	@python3 -m venv $(PYTHON) 2>/dev/null || { \
	  make/apt "Python with its venv" python3 python3-venv; python3 -m venv $(PYTHON); }
	@$(PYTHON)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

# -- the page --------------------------------------------------------------------------------------------------------

build: setup-page
	@trunk build --release
	@$(MAKE) --no-print-directory weigh

# What a first visit downloads: wasm, JS and CSS, gzipped. The goal is 350 KB; what is more than PAGE_MOST fails the
# tests, so that it does not grow unseen on the way there.
.PHONY: weigh
PAGE_GOAL := 358400
PAGE_MOST := 670500
weigh:
	@total=0; for file in dist/*.wasm dist/*.js dist/*.css; do \
	  bytes=$$(gzip -9c "$$file" | wc -c); total=$$((total + bytes)); \
	  printf '%8d bytes gzipped  %s\n' "$$bytes" "$${file##*/}"; done; \
	 printf '%8d bytes gzipped  in all; the goal is %d\n' "$$total" $(PAGE_GOAL); test "$$total" -le $(PAGE_MOST)

play: setup-page
	@echo "play: http://127.0.0.1:$(PORT)/ once it is built; the first build takes some minutes"
	@trunk serve --release --address 127.0.0.1 --port $(PORT)

# -- the cluster, natively -------------------------------------------------------------------------------------------

UP ?=
up:
	@cargo build --release -q -p glasshouse-node
	@$${CARGO_TARGET_DIR:-target}/release/glasshouse up --stones $(UP)

# -- the laboratory --------------------------------------------------------------------------------------------------

sim:
	@cargo sim --seeds 0..10000

include make/test.mk
include make/peers.mk

clean:
	cargo clean
	rm -rf dist
