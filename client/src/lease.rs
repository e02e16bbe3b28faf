//! Deliveries of the unary `Lease`, and the task that settles them.
//!
//! Owns one task for each `lease` call, which ends when the last of its deliveries is settled. What is settled while a
//! call is under way goes into the next one together. Used by `Queue`.

use std::sync::Arc;
use std::time::Instant;

use baton_proto::opaque::{self, SettleRequest, SettleResponse};
use bytes::Bytes;

use crate::call::retrying;
use crate::clock;
use crate::delivery::{Arrival, Delivery};
use crate::error::Error;
use crate::settle::{Command, Outbox, Tag, outcome};
use crate::telemetry::Scope;

/// The most settles of one call.
pub(crate) const MAX_SETTLES: usize = 1000;

pub(crate) fn hand_out(scope: &Arc<Scope>, items: Vec<opaque::Delivery>) -> Vec<Delivery> {
    if items.is_empty() {
        return Vec::new();
    }
    let outbox = Arc::new(Outbox::default());
    let settler = Settler {
        scope: Arc::clone(scope),
        outbox: Arc::clone(&outbox),
        unsettled: items.len(),
    };
    scope.context.tasks().spawn(settler.run());
    let broker_traces = scope.context.broker_tracing().is_on();
    let (received_ns, received_at) = (clock::now_ns(), Instant::now());
    let arrivals = items.into_iter().map(|mut wire| {
        // A copy: the answer that it came in may be much larger.
        wire.lease = Bytes::copy_from_slice(&wire.lease);
        Arrival {
            tag: Tag::default(),
            wire,
            received_ns,
            received_at,
            broker_traces,
        }
    });
    arrivals
        .filter_map(|arrival| arrival.hand_out(&outbox, scope))
        .collect()
}

struct Settler {
    scope: Arc<Scope>,
    outbox: Arc<Outbox>,
    unsettled: usize,
}

impl Settler {
    async fn run(mut self) {
        let mut commands = Vec::new();
        while self.unsettled > 0 {
            self.outbox.woken().await;
            self.outbox.take(&mut commands);
            let last_words = commands.iter().filter(|c| !c.action.is_extend()).count();
            self.unsettled -= last_words;
            while !commands.is_empty() {
                let rest = commands.split_off(commands.len().min(MAX_SETTLES));
                let batch = std::mem::replace(&mut commands, rest);
                settle(&self.scope, batch).await;
            }
        }
    }
}

impl Drop for Settler {
    /// Also where the runtime takes the task down.
    fn drop(&mut self) {
        self.outbox.close(&Error::Closed);
    }
}

/// Settles by lease, in one unary call, until the outcome is known. At most 1000 of them.
pub(crate) async fn settle(scope: &Scope, commands: Vec<Command>) {
    let (context, sent_ns) = (&*scope.context, clock::now_ns());
    let request = SettleRequest {
        queue: scope.queue.to_string(),
        settles: commands.iter().map(Command::on_lease).collect(),
    };
    let response = retrying(context, || {
        let (mut calls, request) = (context.calls(), request.clone());
        async move { calls.settle(request).await }
    })
    .await;
    if commands.iter().any(|command| !command.action.is_extend()) {
        scope.settled(sent_ns, response.as_ref().err());
    }
    match response {
        Ok(response) => resolve(commands, &response),
        Err(error) => {
            for command in commands {
                command.resolve(Err(error.clone()));
            }
        }
    }
}

fn resolve(commands: Vec<Command>, response: &SettleResponse) {
    let mut outcomes = response.outcomes.iter();
    for command in commands {
        let missing = || Err(Error::Protocol("a settle without an outcome"));
        let result = outcomes.next().map_or_else(missing, |wire| outcome(*wire));
        command.resolve(result);
    }
}
