//! The spans of an item that has ended, from its account.
//!
//! ```text
//! item          INTERNAL   the whole life; of the ambient span, or the root
//! ├ create      PRODUCER   created -> durable                                       (synthesized)
//! ├ store       SERVER     received -> durable
//! ├ scheduled   INTERNAL   per attempt: since -> ready
//! ├ queue       INTERNAL   per attempt: ready -> leased
//! ├ deliver     CLIENT     per attempt: leased -> its settle arrived, or its lease was over
//! │ ├ process   CONSUMER   handler began -> ended                                   (synthesized)
//! │ └ ack, nack CLIENT     handler ended -> its settle arrived                      (synthesized)
//! ├ settle      SERVER     per attempt: its settle arrived -> durable
//! └ dead-letter, expire    INTERNAL
//! ```
//!
//! Clients export their own spans of items whose context is sampled. Of others the broker knows when they happened, and
//! writes them too, under their services' names. Two deviations: a synthesized `ack` is a child of `deliver`, since `process`
//! is over when it begins, and it ends when the broker has it, since the broker does not know when the consumer learnt
//! of it.
//!
//! Invariants, all in whole microseconds, which is what back ends show: children lie within their parents, siblings
//! follow each other without overlap, and where stages touch there is one microsecond between them (see `timeline`). Never
//! in here: payloads, header values, keys. Pure; called by whoever decides that an ended item is worth a trace.

mod broker;
mod clients;
mod draft;
mod timeline;

use std::sync::Arc;

use baton_telemetry::otlp::Spans;
use baton_telemetry::trace_context::{ItemContext, SpanId};

use crate::account::{Account, AttemptEnd, AttemptOutcome, End};
use crate::sampling::Kept;
use crate::text;
use draft::Output;
use timeline::Timeline;

/// Of what a consumer said of a failure: spans are no log.
const ERROR_CHARS_MAX: usize = 200;

/// Where clients reach the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A name or an address; empty: not known.
    pub server_address: Arc<str>,
    /// Of gRPC.
    pub server_port: u16,
}

/// The item's spans by service, the broker's own first. None: the item is not over, or has no context; one that came without
/// is given `ItemContext::made_up` first.
#[must_use]
pub fn spans(account: &Account, kept: Kept, identity: &Identity) -> Vec<Spans> {
    account.context.map_or_else(Vec::new, |context| {
        write(account, context, Some(kept), identity)
    })
}

/// The same for a file, which stands on its own: with the spans that its clients may have exported themselves, and without
/// a parent, which would be elsewhere. `made_up`: its context, if it came without one. None: the item is not over.
#[must_use]
pub fn whole_tree(account: &Account, made_up: ItemContext, identity: &Identity) -> Vec<Spans> {
    let context = ItemContext {
        parent: None,
        // As far as the file goes: nobody else writes what its clients did.
        sampled: false,
        ..account.context.unwrap_or(made_up)
    };
    write(account, context, None, identity)
}

/// How many they would be.
#[must_use]
pub fn count(account: &Account) -> u64 {
    let (Some(context), Some(end)) = (account.context, account.end) else {
        return 0;
    };
    Timeline::of(account, end, !context.sampled).spans()
}

fn write(
    account: &Account,
    context: ItemContext,
    kept: Option<Kept>,
    identity: &Identity,
) -> Vec<Spans> {
    let Some(end) = account.end else {
        return Vec::new();
    };
    let scene = Scene {
        account,
        context,
        end,
        identity,
        item_id: &account.item.to_string(),
        timeline: Timeline::of(account, end, !context.sampled),
    };
    let mut output = Output::default();
    scene.write_brokers(kept, &mut output);
    scene.write_clients(&mut output);
    output.into_spans()
}

/// What all spans of the item are made from.
struct Scene<'a> {
    account: &'a Account,
    context: ItemContext,
    end: End,
    identity: &'a Identity,
    item_id: &'a str,
    timeline: Timeline,
}

impl Scene<'_> {
    /// The context that the item was sent with: of its `create`, or of a foreign span. None: it came without one.
    fn creation(&self) -> Option<SpanId> {
        let foreign = self.context.parent.filter(|_| self.context.sampled);
        let creation = self.context.creation.or(foreign);
        creation.or_else(|| self.timeline.create.map(|_| self.create_id()))
    }
}

/// An attempt that did not end well, for a span's status; what the consumer said of it is cut short.
fn failure(end: &AttemptEnd) -> Option<String> {
    let outcome = match end.outcome {
        AttemptOutcome::Acked => return None,
        outcome => outcome.name(),
    };
    match text::line(&end.error, ERROR_CHARS_MAX) {
        error if error.is_empty() => Some(outcome.to_owned()),
        error => Some(format!("{outcome}: {error}")),
    }
}

#[cfg(test)]
mod tests;
