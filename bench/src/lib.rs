//! What the load generator and the comparison beside it (`bench/compare`) share: what the kernel says of processes and disks.

pub mod disk;
pub mod process;
