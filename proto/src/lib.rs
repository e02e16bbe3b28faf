//! Baton's wire contract, generated from `baton/v1/*.proto`.
//!
//! [`v1`] is the contract as written: what a client of the bare `.proto` sees. [`opaque`] is the same contract with every
//! `Item` field declared as `bytes` (the same on the wire): the broker and the client library use it, so that an item is
//! encoded once, by its producer, and decoded once, by its consumer.
//!
//! Owns no policy. Used by the broker's `rpc` module and by the client library, and by nothing below them.

pub mod item_scan;

/// The contract as written.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated; its documents are in the .proto files"
)]
#[allow(
    unused_qualifications,
    unreachable_pub,
    clippy::too_many_lines,
    clippy::use_self
)]
#[allow(clippy::or_fun_call, clippy::cast_lossless, clippy::large_futures)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/typed/baton.v1.rs"));
}

/// The same contract with every `Item` as `bytes`.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated; its documents are in the .proto files"
)]
#[allow(
    unused_qualifications,
    unreachable_pub,
    clippy::too_many_lines,
    clippy::use_self
)]
#[allow(clippy::or_fun_call, clippy::cast_lossless, clippy::large_futures)]
pub mod opaque {
    include!(concat!(env!("OUT_DIR"), "/opaque/baton.v1.rs"));
}

/// The compiled `.proto` files, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
