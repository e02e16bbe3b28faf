//! The task behind a consumer: deliveries to the inbox, settles and credit to the broker, leases extended meanwhile.
//!
//! One stream at a time. A lost one is replaced: settles without an answer are sent again by lease, leases in hand are
//! extended by lease, and what the user has not got yet goes back as unstarted. The task ends when the queue has drained,
//! when the consumer was told to stop and everything in hand is settled, or when no reconnect can help.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::opaque::ConsumeResponse;
use baton_proto::opaque::consume_response::Response;
use baton_proto::opaque::{Delivery, DeliveryBatch, NoticeKind};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};
use tonic::Status;

use super::inbox::Inbox;
use super::ledger::Ledger;
use super::stream::{self, Requests, Responses};
use super::{ConsumerBuilder, Options};
use crate::backoff::Patience;
use crate::clock::now_ns;
use crate::context::Context;
use crate::delivery::Arrival;
use crate::error::Error;
use crate::lease;
use crate::pulse::Pulse;
use crate::settle::{Command, Nack, Outbox};
use crate::telemetry::Scope;

/// Until the broker says how long a lease is.
const LEASE_DURATION: Duration = Duration::from_secs(30);
/// The shortest lease is 1 s; more often than this would be a mistake.
const SHORTEST_TICK: Duration = Duration::from_millis(100);
/// How long to wait for the broker's end of a stream on which everything is settled.
const GOODBYE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Driver {
    context: Arc<Context>,
    queue: String,
    options: Options,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    scope: Arc<Scope>,
    ledger: Ledger,
    patience: Patience,
}

/// A stream, and what was said on it.
struct Session {
    responses: Responses,
    pulse: Pulse,
    broker_traces: bool,
    extend: Interval,
    /// The broker shuts down: no more credit for it.
    broker_draining: bool,
    drained: bool,
    drain_sent: bool,
    leave_by: Option<Instant>,
}

impl Session {
    fn new(responses: Responses, lease: Duration) -> Self {
        Self {
            responses,
            pulse: Pulse::new(),
            broker_traces: false,
            extend: ticks(lease),
            broker_draining: false,
            drained: false,
            drain_sent: false,
            leave_by: None,
        }
    }
}

/// Why a consumer ends in peace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Drained,
    Stopped,
}

impl Driver {
    pub(super) fn new(
        settings: &ConsumerBuilder,
        inbox: Arc<Inbox>,
        outbox: Arc<Outbox>,
        scope: Arc<Scope>,
    ) -> Self {
        Self {
            context: Arc::clone(&settings.context),
            queue: settings.queue.clone(),
            options: settings.options.clone(),
            inbox,
            outbox,
            scope,
            ledger: Ledger::new(settings.options.clone()),
            patience: settings.context.patience(),
        }
    }

    pub(super) async fn run(mut self) {
        match self.stay_connected().await {
            Ok(over) => {
                tracing::debug!(queue = self.queue, ?over, "consumer ended");
                self.settle_the_rest().await;
            }
            Err(error) => {
                // The user of the consumer gets this error.
                tracing::debug!(queue = self.queue, %error, "consumer ended");
                self.fail(&error);
            }
        }
    }

    async fn stay_connected(&mut self) -> Result<Over, Error> {
        loop {
            let error = match self.session().await {
                Ok(over) => return Ok(over),
                Err(error) => error,
            };
            self.give_back_prefetched();
            if !error.is_retryable() {
                return Err(error);
            }
            tracing::debug!(queue = self.queue, %error, "consume stream lost");
            let wait = self.patience.next_wait(error)?;
            if self.stopped_while(sleep(wait)).await.is_none() {
                return Ok(Over::Stopped);
            }
        }
    }

    /// One stream, until it is lost or the consumer is over.
    async fn session(&mut self) -> Result<Over, Error> {
        let Some((requests, mut session)) = self.open().await.transpose()? else {
            return Ok(Over::Stopped);
        };
        loop {
            self.collect();
            session.leave_by = self.leave_by(&session);
            let leave = session.leave_by.unwrap_or_else(Instant::now);
            tokio::select! {
                response = session.responses.message() => match response? {
                    Some(response) => {
                        let received_ns = session.pulse.received(response.sent_ns);
                        self.handle(&mut session, response, received_ns)?;
                    }
                    None => return self.ended(&session),
                },
                Ok(permit) = requests.reserve(), if self.has_request(&session) => {
                    self.collect();
                    if let Some(request) = self.next_request(&mut session) {
                        permit.send(stream::request(request, session.pulse.stamp()));
                    }
                }
                () = self.outbox.woken() => {}
                _ = session.extend.tick() => self.ledger.extend_all(),
                () = session.pulse.silent() => {}
                () = sleep_until(leave), if session.leave_by.is_some() => {
                    return Ok(Over::Stopped);
                }
            }
        }
    }

    /// None: told to stop, and there is nothing left to do.
    async fn open(&mut self) -> Option<Result<(Requests, Session), Error>> {
        self.ledger.restart();
        self.collect();
        let credit = match self.inbox.is_stopping() {
            true => None,
            false => self.ledger.next_credit(0),
        };
        let start = stream::start(&self.context, &self.queue, &self.options, credit);
        let opening = stream::open(Arc::clone(&self.context), start);
        let opened = self.stopped_while(opening).await?;
        Some(opened.map(|(requests, responses)| {
            let lease = self.options.lease_duration.unwrap_or(LEASE_DURATION);
            (requests, Session::new(responses, lease))
        }))
    }

    /// Waits for something, unless the consumer is told to stop and has nothing left to do.
    async fn stopped_while<T>(&mut self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            self.collect();
            if self.inbox.is_stopping() && self.ledger.is_idle() {
                return None;
            }
            let outbox = Arc::clone(&self.outbox);
            tokio::select! {
                done = &mut waiting => return Some(done),
                () = outbox.woken() => {}
            }
        }
    }

    /// Takes what users said; told to stop, also takes back what they have not got yet.
    fn collect(&mut self) {
        if self.inbox.is_stopping() {
            self.give_back_prefetched();
        }
        self.scope.consumed(self.inbox.take_handed_out());
        let mut commands = Vec::new();
        self.outbox.take(&mut commands);
        for command in commands {
            self.ledger.queue(command);
        }
    }

    fn give_back_prefetched(&mut self) {
        for arrival in self.inbox.take() {
            let command = arrival.command(Nack::unstarted().into());
            self.ledger.queue(command);
        }
    }

    fn has_request(&self, session: &Session) -> bool {
        session.pulse.ping_is_due()
            || self.drain_is_due(session)
            || self.ledger.may_settle()
            || self.wants_credit(session)
    }

    fn drain_is_due(&self, session: &Session) -> bool {
        self.inbox.is_stopping() && !session.drain_sent
    }

    fn wants_credit(&self, session: &Session) -> bool {
        let takes = !session.broker_draining && !self.inbox.is_stopping();
        takes && self.ledger.credit_is_due(self.inbox.len())
    }

    fn next_request(&mut self, session: &mut Session) -> Option<stream::Request> {
        if session.pulse.ping_is_due() {
            session.pulse.pinged();
            return Some(stream::ping());
        }
        if self.drain_is_due(session) {
            session.drain_sent = true;
            return Some(stream::drain());
        }
        if self.ledger.may_settle() {
            return self
                .ledger
                .next_settle(now_ns())
                .map(stream::Request::Settle);
        }
        if self.wants_credit(session) {
            let prefetched = self.inbox.len();
            return self
                .ledger
                .next_credit(prefetched)
                .map(stream::Request::Credit);
        }
        None
    }

    fn handle(
        &mut self,
        session: &mut Session,
        message: ConsumeResponse,
        received_ns: u64,
    ) -> Result<(), Error> {
        self.patience.answered();
        let pong = match &message.response {
            Some(Response::Pong(pong)) => Some(pong),
            _ => None,
        };
        self.scope.timed(message.sent_ns, received_ns, pong);
        match message.response {
            Some(Response::Deliveries(batch)) => {
                self.patience.progressed();
                self.arrive(batch, received_ns, session.broker_traces);
            }
            Some(Response::Settled(settled)) => {
                self.patience.progressed();
                if let Some(sent_ns) = self.ledger.answer(&settled)? {
                    self.scope.settled(sent_ns, None);
                }
            }
            Some(Response::Started(started)) => {
                session.broker_traces = started.tracing;
                self.context.broker_tracing().note(started.tracing);
                if (self.scope).began(started.clock.as_ref(), started.wall_shift_ns) {
                    session.pulse.measure();
                }
                let lease = started.lease_duration.and_then(|d| d.try_into().ok());
                session.extend = ticks(lease.unwrap_or(LEASE_DURATION));
            }
            Some(Response::Notice(notice)) => {
                let (queue, kind) = (&self.queue, notice.kind());
                tracing::info!(queue, ?kind, message = notice.message, "notice");
                session.drained |= kind == NoticeKind::Drained;
                if kind == NoticeKind::Draining {
                    session.broker_draining = true;
                    self.give_back_prefetched();
                }
            }
            // None: a kind that this version does not know.
            Some(Response::Pong(_)) | None => {}
        }
        Ok(())
    }

    fn arrive(&mut self, batch: DeliveryBatch, received_ns: u64, broker_traces: bool) {
        let received_at = std::time::Instant::now();
        let ledger = &mut self.ledger;
        let arrival = |mut wire: Delivery| Arrival {
            tag: ledger.hold(&mut wire),
            wire,
            received_ns,
            received_at,
            broker_traces,
        };
        let arrivals: Vec<_> = batch.deliveries.into_iter().map(arrival).collect();
        self.inbox.push(arrivals.into_iter());
    }

    /// Told to stop, with everything settled: the broker is given a while to end the stream, in case that deliveries are
    /// still on their way here, which then go back too.
    fn leave_by(&self, session: &Session) -> Option<Instant> {
        let ready = session.drain_sent && self.ledger.is_idle();
        let soon = || Instant::now() + GOODBYE;
        ready.then(|| session.leave_by.unwrap_or_else(soon))
    }

    /// The broker ended the stream in peace.
    fn ended(&self, session: &Session) -> Result<Over, Error> {
        if session.drained {
            return Ok(Over::Drained);
        }
        if session.drain_sent && self.ledger.is_idle() {
            return Ok(Over::Stopped);
        }
        Err(Status::unavailable("the broker ended the stream").into())
    }

    /// The stream is over in peace, so what was said too late for it goes by unary calls: first what is there, then, for
    /// deliveries whose lease was lost to others while a user kept them, what comes.
    async fn settle_the_rest(&mut self) {
        self.collect();
        self.settle_by_lease().await;
        self.inbox.end(Ok(()));
        while self.ledger.holds_any() {
            self.outbox.woken().await;
            self.collect();
            self.settle_by_lease().await;
        }
    }

    async fn settle_by_lease(&mut self) {
        let mut commands = self.ledger.take_unsettled();
        while !commands.is_empty() {
            let rest = commands.split_off(commands.len().min(lease::MAX_SETTLES));
            let batch: Vec<Command> = std::mem::replace(&mut commands, rest);
            lease::settle(&self.scope, batch).await;
        }
    }

    fn fail(&mut self, error: &Error) {
        self.inbox.end(Err(error.clone()));
        self.outbox.close(error);
        for command in self.ledger.take_unsettled() {
            command.resolve(Err(error.clone()));
        }
    }
}

impl Drop for Driver {
    /// However the task ends, nobody may wait for it.
    fn drop(&mut self) {
        self.outbox.close(&Error::Closed);
        self.inbox.end(Err(Error::Closed));
    }
}

/// A third of the lease leaves two more chances before it runs out.
fn ticks(lease: Duration) -> Interval {
    let period = (lease / 3).max(SHORTEST_TICK);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
