//! An item in a consumer's hands.
//!
//! Invariant: every delivery that a user got is settled exactly once: by `ack` or `nack`, or by being dropped.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use baton_proto::opaque::{self, Extend, HandlerStamps};
use baton_proto::v1;
use baton_telemetry::trace_context::without_member;
use bytes::Bytes;
use opentelemetry::Context as TraceContext;
use opentelemetry::trace::Link;
use prost::Message as _;

use crate::clock::{now_ns, wire_duration};
use crate::settle::{Action, Command, Nack, Outbox, Settling, Tag};
use crate::telemetry::{Scope, Subject, Work};

/// Below this, an item is copied out of the buffer that it arrived in, which may be much larger and would live as long as
/// the item does.
const COPY_BELOW_BYTES: usize = 4096;

/// An item and the lease on it. Settle it with [`ack`](Self::ack) or [`nack`](Self::nack); dropped without, it is nacked
/// as "dropped unsettled". A consumer's leases are extended automatically for as long as the delivery is in hand.
pub struct Delivery {
    pub(crate) in_hand: Arc<InHand>,
}

/// A delivery as it arrived, not yet given to the user.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) tag: Tag,
    pub(crate) wire: opaque::Delivery,
    pub(crate) received_ns: u64,
    pub(crate) received_at: Instant,
    /// The broker exports a `deliver` span for it.
    pub(crate) broker_traces: bool,
}

pub(crate) struct InHand {
    arrival: Arrival,
    item: v1::Item,
    /// The item's `tracestate` as it was created, where it has our member: that is of this item alone, so that its user does
    /// not get to see it.
    own_tracestate: Option<String>,
    started_ns: AtomicU64,
    settled: AtomicBool,
    outbox: Arc<Outbox>,
    scope: Arc<Scope>,
    work: Work,
}

impl Arrival {
    /// Decodes the item and gives the delivery to the user. An item that cannot be decoded is made a dead letter:
    /// nobody could ever process it.
    pub(crate) fn hand_out(mut self, outbox: &Arc<Outbox>, scope: &Arc<Scope>) -> Option<Delivery> {
        let encoded = mem::take(&mut self.wire.item);
        let encoded = if encoded.len() < COPY_BELOW_BYTES {
            Bytes::copy_from_slice(&encoded)
        } else {
            encoded
        };
        match v1::Item::decode(encoded) {
            Ok(mut item) => {
                let others = without_member(&item.tracestate);
                let own = others.map(|others| mem::replace(&mut item.tracestate, others));
                Some(Delivery {
                    in_hand: Arc::new(InHand {
                        arrival: self,
                        item,
                        own_tracestate: own,
                        started_ns: AtomicU64::new(now_ns()),
                        settled: AtomicBool::new(false),
                        outbox: Arc::clone(outbox),
                        scope: Arc::clone(scope),
                        work: Work::default(),
                    }),
                })
            }
            Err(error) => {
                let item_id = self.wire.item_id;
                tracing::error!(item_id, %error, "undecodable item made a dead letter");
                let nack = Nack::dead_letter(format!("the item cannot be decoded: {error}"));
                outbox.push(self.command(nack.into()));
                None
            }
        }
    }

    pub(crate) fn command(&self, action: Action) -> Command {
        Command {
            tag: self.tag,
            lease: self.wire.lease.clone(),
            action,
            stamps: None,
            reply: None,
            settlement: None,
        }
    }
}

impl Delivery {
    /// Per queue, in publish order.
    pub fn item_id(&self) -> u64 {
        self.in_hand.arrival.wire.item_id
    }

    /// From 1.
    pub fn attempt(&self) -> u32 {
        self.in_hand.arrival.wire.attempt
    }

    /// The work itself.
    pub fn payload(&self) -> &Bytes {
        &self.in_hand.item.payload
    }

    /// The producer's own labels.
    pub fn attributes(&self) -> &HashMap<String, String> {
        &self.in_hand.item.attributes
    }

    /// Media type of the payload; empty: not said.
    pub fn content_type(&self) -> &str {
        &self.in_hand.item.content_type
    }

    /// W3C trace context of the item's creation; empty: none.
    pub fn traceparent(&self) -> &str {
        &self.in_hand.item.traceparent
    }

    /// W3C vendor state that belongs to the traceparent; empty: none. Baton's own member is left out: it is of this item
    /// alone, and an item that is published with this state is another one.
    pub fn tracestate(&self) -> &str {
        &self.in_hand.item.tracestate
    }

    /// The context to work in: it makes the spans of the work parts of the item's trace. If the item is sampled and a
    /// tracer provider is installed, its span is a `process` span, which ends when the delivery is settled; otherwise it
    /// passes the item's ids on. Without a trace context in the item it is the current context.
    ///
    /// [`Consumer::for_each`](crate::Consumer::for_each) runs its handlers in it. Elsewhere, say
    /// `work.with_context(delivery.trace_context())`, with `opentelemetry::context::FutureExt`.
    pub fn trace_context(&self) -> TraceContext {
        let context = self.in_hand.trace_context();
        context.map_or_else(TraceContext::current, Clone::clone)
    }

    /// Links to the item's creation.
    pub(crate) fn creation_link(&self) -> Option<Link> {
        self.in_hand.subject().creation_link()
    }

    /// The producer's key against repeats; empty: none.
    pub fn dedup_key(&self) -> &str {
        &self.in_hand.item.dedup_key
    }

    /// When the producer made the item: nanoseconds of the *producer's* CLOCK_MONOTONIC; 0: not said. Comparable with
    /// this machine's clock only where both are the same machine.
    pub fn created_ns(&self) -> u64 {
        self.in_hand.item.created_ns
    }

    /// What the consumer of the attempt before said; empty: nothing.
    pub fn last_error(&self) -> &str {
        &self.in_hand.arrival.wire.last_error
    }

    /// From ready to leased, on the broker's clock.
    pub fn queue_wait(&self) -> Duration {
        Duration::from_nanos(self.in_hand.arrival.wire.queue_wait_ns)
    }

    /// From received by the broker to leased, on the broker's clock.
    pub fn age_at_lease(&self) -> Duration {
        Duration::from_nanos(self.in_hand.arrival.wire.age_ns)
    }

    /// When it arrived here.
    pub fn received_at(&self) -> Instant {
        self.in_hand.arrival.received_at
    }

    /// From received by the broker until now: the broker's part on the broker's clock, and the part since the arrival on
    /// this machine's. Neither of the two legs over the network is in it (a sum over two clocks would need a bound).
    pub fn latency(&self) -> Duration {
        self.age_at_lease() + self.received_at().elapsed()
    }

    /// The opaque lease, which settles this attempt from any connection.
    pub fn lease(&self) -> &Bytes {
        &self.in_hand.arrival.wire.lease
    }

    /// Stamps the start of the handler, for the broker's account of the item's time. Without it, the handler counts as
    /// started when the delivery was handed out.
    pub fn start(&self) {
        self.in_hand.started_ns.store(now_ns(), Ordering::Relaxed);
    }

    /// Done: never delivered again. Sent at once, awaited or not.
    pub fn ack(self) -> Settling {
        self.in_hand.settle(Action::Ack)
    }

    /// Not done. Sent at once, awaited or not.
    pub fn nack(self, nack: Nack) -> Settling {
        self.in_hand.settle(nack.into())
    }

    /// Makes the lease last this long from now (1 s to 12 h; `None`: the queue's lease duration). A consumer's deliveries
    /// need this only for other durations than its own; those of `Queue::lease` are not extended by themselves.
    pub fn extend(&self, lease: Option<Duration>) -> Settling {
        let extend = Extend {
            lease_duration: lease.map(wire_duration),
        };
        let command = self.in_hand.arrival.command(Action::Extend(extend));
        let (command, settling) = command.answered();
        self.in_hand.outbox.push(command);
        settling
    }
}

impl InHand {
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// None: the item came without one.
    pub(crate) fn trace_context(&self) -> Option<&TraceContext> {
        let subject = self.subject();
        if subject.has_no_context() {
            return None;
        }
        self.work.context(&self.scope, subject)
    }

    fn subject(&self) -> Subject<'_> {
        let delivery = &self.arrival.wire;
        Subject {
            item_id: delivery.item_id,
            attempt: delivery.attempt,
            item_span: &delivery.traceparent,
            traceparent: &self.item.traceparent,
            tracestate: self
                .own_tracestate
                .as_ref()
                .unwrap_or(&self.item.tracestate),
            broker_traces: self.arrival.broker_traces,
            started_ns: self.started_ns.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn settle(&self, action: Action) -> Settling {
        self.settled.store(true, Ordering::Relaxed);
        let (command, settling) = self.final_command(action).answered();
        self.outbox.push(command);
        settling
    }

    fn final_command(&self, action: Action) -> Command {
        let stamps = HandlerStamps {
            received_ns: self.arrival.received_ns,
            started_ns: self.started_ns.load(Ordering::Relaxed),
            ended_ns: now_ns(),
        };
        let verdict = action.verdict();
        let settlement = verdict.and_then(|verdict| {
            let handled = (stamps.started_ns, stamps.ended_ns);
            self.scope.processed(handled, verdict);
            self.work.end(&self.scope, self.subject(), verdict)
        });
        Command {
            stamps: Some(stamps),
            settlement,
            ..self.arrival.command(action)
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if !self.is_settled() {
            let nack = Nack::retry().error("dropped unsettled");
            self.outbox.push(self.final_command(nack.into()));
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("item_id", &self.item_id())
            .field("attempt", &self.attempt())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
