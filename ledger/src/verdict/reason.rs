//! What ready items wait for, in words.

use std::cmp::Reverse;

use baton_telemetry::names;

use crate::waits::{Stall, Waits};

/// What a ready item waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The queue does not hand out.
    Stalled(Stall),
    /// It hands out others.
    BehindOthers,
    /// Nobody knows: the broker was restarted meanwhile.
    BeforeRestart,
}

impl Reason {
    const ALL: [Self; 5] = [
        Self::Stalled(Stall::Paused),
        Self::Stalled(Stall::NoConsumer),
        Self::Stalled(Stall::NoCredit),
        Self::BehindOthers,
        Self::BeforeRestart,
    ];

    /// A wait by its reasons, the largest first. What no stall explains was spent behind others.
    pub(crate) fn shares(waits: &Waits, wait_ns: u128) -> [(Self, u128); 5] {
        let explained = u128::from(waits.explained());
        let mut shares = Self::ALL.map(|reason| match reason {
            Self::Stalled(stall) => (reason, u128::from(waits.of(stall))),
            Self::BehindOthers => (reason, wait_ns.saturating_sub(explained)),
            Self::BeforeRestart => (reason, u128::from(waits.before_restart)),
        });
        shares.sort_by_key(|(_, ns)| Reverse(*ns));
        shares
    }

    /// Beside a number.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Stalled(Stall::Paused) => "paused",
            Self::Stalled(Stall::NoConsumer) => "no consumer",
            Self::Stalled(Stall::NoCredit) => "no credit",
            Self::BehindOthers => "behind others",
            Self::BeforeRestart => "before a restart of the broker",
        }
    }

    /// As in spans.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stalled(stall) => stall.name(),
            Self::BehindOthers => "backlog",
            Self::BeforeRestart => "before_restart",
        }
    }

    /// Which attribute of spans has its share.
    pub(crate) const fn attribute(self) -> &'static str {
        match self {
            Self::Stalled(Stall::Paused) => names::MESSAGING_BATON_WAIT_PAUSED_MS,
            Self::Stalled(Stall::NoConsumer) => names::MESSAGING_BATON_WAIT_NO_CONSUMER_MS,
            Self::Stalled(Stall::NoCredit) => names::MESSAGING_BATON_WAIT_NO_CREDIT_MS,
            Self::BehindOthers => names::MESSAGING_BATON_WAIT_BACKLOG_MS,
            Self::BeforeRestart => names::MESSAGING_BATON_WAIT_BEFORE_RESTART_MS,
        }
    }

    /// Of a wait that is over.
    pub(super) const fn was(self) -> &'static str {
        match self {
            Self::Stalled(Stall::Paused) => "the queue was paused",
            Self::Stalled(Stall::NoConsumer) => "nobody consumed the queue",
            Self::Stalled(Stall::NoCredit) => "no consumer had credit",
            Self::BehindOthers => "others went first",
            Self::BeforeRestart => "the broker was restarted meanwhile",
        }
    }

    /// Of a wait that goes on.
    pub(super) const fn is(self) -> &'static str {
        match self {
            Self::Stalled(Stall::Paused) => "the queue is paused",
            Self::Stalled(Stall::NoConsumer) => "nobody consumes the queue",
            Self::Stalled(Stall::NoCredit) => "no consumer has credit",
            Self::BehindOthers => "others go first",
            Self::BeforeRestart => "the broker was restarted meanwhile",
        }
    }

    /// The largest reason, and the second where it comes within 10 points of it. Empty: there was no wait.
    pub(super) fn why(waits: &Waits, wait_ns: u128) -> String {
        let [(first, most), (second, less), ..] = Self::shares(waits, wait_ns);
        if most == 0 {
            return String::new();
        }
        if (most - less) * 100 <= super::NEAR_POINTS * wait_ns {
            return format!("{}, and {}", first.was(), second.was());
        }
        first.was().to_owned()
    }
}
