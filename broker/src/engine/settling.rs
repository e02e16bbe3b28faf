//! Settling: acks, nacks and extensions, by range of a stream's deliveries or by lease token.

use baton_ledger::HandlerStamps;
use baton_ledger::party::Shift;
use baton_queue::{Outcome, OutcomeRun, SessionId, Timestamp};

use super::actor::{Effect, QueueActor};
use super::request::{Action, Settle, Settlement};
use super::token::Token;

/// When attempts were settled, and what their consumer says of its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report<'a> {
    /// None, one for all, or one for each.
    pub(super) stamps: &'a [HandlerStamps],
    pub(super) clock: Option<Shift>,
    pub(super) received: Timestamp,
}

impl QueueActor {
    pub(super) fn settle(&mut self, settle: Settle) {
        let mut settlement = Settlement {
            durability: self.durability(),
            ..Settlement::default()
        };
        let report = Report {
            stamps: &[],
            clock: settle.clock,
            received: settle.received,
        };
        for range in &settle.deliveries {
            let report = Report {
                stamps: &range.stamps,
                ..report
            };
            let seqs = (range.first, range.last);
            let outcomes = self.settle_range(settle.session, seqs, &range.action, report);
            settlement.deliveries.extend(outcomes);
        }
        for lease in &settle.leases {
            let report = Report {
                stamps: lease.stamps.as_slice(),
                ..report
            };
            let outcome = self.settle_token(lease.token, &lease.action, report);
            settlement.leases.push(outcome);
        }
        self.owe(Effect::Settled(settle.reply, settlement));
    }

    fn settle_token(&mut self, token: Token, action: &Action, report: Report<'_>) -> Outcome {
        match token {
            Token::Lease(session, seq) => {
                let outcomes = self.settle_range(session, (seq, seq), action, report);
                outcomes
                    .first()
                    .map_or(Outcome::InvalidLease, |run| run.outcome)
            }
            Token::OtherEpoch => Outcome::LeaseLost,
            Token::Invalid => Outcome::InvalidLease,
        }
    }

    fn settle_range(
        &mut self,
        session: SessionId,
        range: (u64, u64),
        action: &Action,
        report: Report<'_>,
    ) -> Vec<OutcomeRun> {
        if !matches!(action, Action::Extend(_)) {
            self.account_report(session, range, report);
        }
        let (now, (first, last), events) = (self.now, range, &mut self.events);
        let outcomes = match action {
            Action::Ack => self.queue.handle_ack(now, session, first, last, events),
            Action::Nack(nack) => {
                self.queue
                    .handle_nack(now, session, first, last, nack.clone(), events)
            }
            Action::Extend(duration) => self
                .queue
                .handle_extend(now, session, first, last, *duration, events),
        };
        self.account_events();
        outcomes
    }
}
