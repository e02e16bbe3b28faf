//! Settling: acks, nacks and extensions, by range of a stream's deliveries or by lease token.

use baton_queue::{Outcome, OutcomeRun, SessionId};

use super::actor::{Effect, QueueActor};
use super::request::{Action, Settle, Settlement};
use super::token::Token;

impl QueueActor {
    pub(super) fn settle(&mut self, settle: Settle) {
        let mut settlement = Settlement {
            durability: self.durability(),
            ..Settlement::default()
        };
        for (first, last, action) in &settle.deliveries {
            let outcomes = self.settle_range(settle.session, (*first, *last), action);
            settlement.deliveries.extend(outcomes);
        }
        for (token, action) in &settle.leases {
            settlement.leases.push(self.settle_token(*token, action));
        }
        self.owe(Effect::Settled(settle.reply, settlement));
    }

    fn settle_token(&mut self, token: Token, action: &Action) -> Outcome {
        match token {
            Token::Lease(session, seq) => {
                let outcomes = self.settle_range(session, (seq, seq), action);
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
    ) -> Vec<OutcomeRun> {
        let (now, (first, last), events) = (self.now, range, &mut self.events);
        match action {
            Action::Ack => self.queue.handle_ack(now, session, first, last, events),
            Action::Nack(nack) => {
                self.queue
                    .handle_nack(now, session, first, last, nack.clone(), events)
            }
            Action::Extend(duration) => self
                .queue
                .handle_extend(now, session, first, last, *duration, events),
        }
    }
}
