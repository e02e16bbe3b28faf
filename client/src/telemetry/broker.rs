//! Whether the broker exports spans, so that its `item` and `deliver` spans may be parents of ours.
//!
//! Owns the last known answer of one client. Each stream brings one in its `Started`. Who needs it before any came (the
//! first sampled item of a client, the unary calls) asks GetServerInfo, once, and waits for at most a second; without an
//! answer the broker is taken not to. A wrong answer costs spans that hang on a parent which nobody exports, no more.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use baton_proto::v1::GetServerInfoRequest;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::context::Context;

/// A connection and a round trip, with room to spare; an item waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct BrokerTracing {
    known: AtomicU8,
    asked: OnceCell<()>,
}

impl BrokerTracing {
    /// The broker said so.
    pub(crate) fn note(&self, tracing: bool) {
        let known = if tracing { YES } else { NO };
        self.known.store(known, Ordering::Relaxed);
    }

    /// None: nobody has asked, or there was no answer.
    pub(super) fn known(&self) -> Option<bool> {
        match self.known.load(Ordering::Relaxed) {
            UNKNOWN => None,
            known => Some(known == YES),
        }
    }

    /// As far as is known, without asking.
    pub(crate) fn is_on(&self) -> bool {
        self.known().unwrap_or(false)
    }

    /// Asks first if nothing is known. Cancel-safe.
    pub(super) async fn ask(&self, context: &Context) -> bool {
        if self.known().is_none() {
            self.asked.get_or_init(|| self.ask_once(context)).await;
        }
        self.is_on()
    }

    async fn ask_once(&self, context: &Context) {
        let mut admin = context.admin();
        let answer = timeout(PATIENCE, admin.get_server_info(GetServerInfoRequest {})).await;
        // A stream of ours may have been faster, and is newer.
        if let (Ok(Ok(info)), None) = (answer, self.known()) {
            self.note(info.get_ref().tracing);
        }
    }
}
