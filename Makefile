# `make demo` runs it, `make test` tests it; `make check` is what CI runs.
.PHONY: help build demo test check fmt clippy doc lint-proto deny test-foreign bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

build: ## optimised programs, in target/release
	cargo build --release --locked

demo: build ## the classic pipeline: a broker, two producers, one consumer
	@sh demo/classic.sh

test: ## everything that needs nothing but the Rust toolchain
	cargo build --workspace --locked
	cargo test --workspace --locked

check: fmt clippy doc test ## what CI runs, but for test-foreign and lint-proto

fmt: ## is the code formatted?
	cargo fmt --all --check

clippy: ## lints, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc: ## builds the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

lint-proto: .venv/bin/buf ## the wire contract against buf's STANDARD rules
	PATH="$(CURDIR)/.venv/bin:$$PATH" buf lint

test-foreign: .venv/bin/buf ## a client made from the bare .proto, in Python
	cargo build --locked -p baton-broker
	.venv/bin/python e2e/foreign/bare_proto.py target/debug/baton-broker

deny: ## licences, bans, sources (needs cargo-deny)
	cargo deny check licenses bans sources

bench: build ## items a second, latency of a publish, memory of a backlog
	target/release/baton-bench throughput
	target/release/baton-bench throughput --payload 1024 --items 400000
	target/release/baton-bench ping-pong
	target/release/baton-bench backlog --runs 3

clean: ## removes what was built
	cargo clean
	rm -rf .venv

.venv/bin/buf:
	python3 -m venv .venv
	.venv/bin/pip install --quiet buf-bin grpcio-tools grpcio-reflection
