//! What no broker on this machine can beat: the same bytes without a queue, and the same commits without anything else.
//!
//! `server` is one end of a bare stream, as a process of its own; its client is `drivers::floor`, so that it is measured
//! exactly as the others are. `disk` repeats the commits that a peer made. `wire` is what both ends of the stream share.

pub(crate) mod disk;
pub(crate) mod server;
pub(crate) mod wire;
