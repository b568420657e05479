# What `make test` does, in order of how soon each part can fail. Each part is a target of its own.
#
#   make tidy              layers, module docs, dead files, banned words, format
#   make lint              clippy on the core, the native node and the fuzz targets
#   make test-core         the core's own tests, in debug: every assertion and overflow check is on; digests in release too
#   make test-node         the native node's own tests, in debug
#   make test-house        the tests that span rooms, in release: wire, disk, scenarios, golden, swarm, real processes
#                          under stones and on failing disks, and Python's clients against them
#   make test-browser      the core and the page's components in headless Chromium
#   make test-page         the page itself in headless Chromium, and what it weighs

TEST_PARTS := tidy lint test-core test-node test-house test-browser test-page
.PHONY: test $(TEST_PARTS)

test: setup
	@begun=$$(date +%s); \
	for part in $(TEST_PARTS); do \
	  echo "== $$part"; since=$$(date +%s); \
	  $(MAKE) --no-print-directory $$part || { echo "make test: FAILED in $$part"; exit 1; }; \
	  echo "== $$part: ok, $$(( $$(date +%s) - since )) s"; \
	done; \
	echo "make test: ok, $(words $(TEST_PARTS)) parts in $$(( $$(date +%s) - begun )) s"

tidy:
	cargo fmt --all --check
	cargo test --release -p glasshouse-tests --test tidy

lint:
	cargo clippy -q -p glasshouse-core --all-features -- -D warnings
	cargo clippy -q -p glasshouse-node -- -D warnings
	cargo clippy -q -p glasshouse-tests --test fuzz -- -D warnings

test-core:
	cargo test -p glasshouse-core
	cargo test --release -p glasshouse-core --features serde --test digests

test-node:
	cargo test -p glasshouse-node

test-house: setup-python
	cargo build --release -p glasshouse-node
	cargo test --release -p glasshouse-tests

test-browser: setup-browser
	cargo test -p glasshouse-web --lib
	CHROMEDRIVER=$$(command -v chromedriver) wasm-pack test --headless --chrome core
	CHROMEDRIVER=$$(command -v chromedriver) wasm-pack test --headless --chrome web-app

test-page: setup-browser build
	cargo test --release -p glasshouse-tests --test page -- --ignored --nocapture --test-threads 1
