//! Ports for programs that are stopped and started again where they were.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of the loopback address that nobody listens at.
///
/// Below the ports that the system gives to connections: while a program is away, nobody else gets its port, and no
/// client that looks for it there meets itself. No port is given twice by the same process.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    let candidates = (0..COUNT).map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + own.wrapping_add(next) % COUNT
    });
    let mut free = candidates.filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    free.next().expect("a port is free")
}
