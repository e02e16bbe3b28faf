//! The sentence about a queue over a window.

use baton_telemetry::stage::Stage;

use super::{Cause, NOTHING, Reason, Words, leading, sentence};
use crate::waits::{Stall, Waits};

/// What took longest and why, and what would shorten it: from each stage's count and sum of nanoseconds, and what the queue
/// waits were spent on. Stages that are no parts of the total are passed over.
#[must_use]
pub fn of_stages(stages: &[(Stage, u64, u128)], waits: &Waits) -> String {
    let measured = |(stage, count, _): &&(Stage, u64, u128)| stage.is_part() && *count > 0;
    let causes: Vec<_> = stages
        .iter()
        .filter(measured)
        .map(|(kind, _, ns)| Cause {
            kind: *kind,
            ns: *ns,
        })
        .collect();
    let (leading, whole) = leading(causes);
    let Some(first) = leading.first() else {
        return NOTHING.to_owned();
    };
    let named: Vec<_> = leading
        .iter()
        .map(|cause| (cause.ns, words(cause, waits)))
        .collect();
    let sentence = sentence(&named, whole);
    match advice(first, waits) {
        "" => sentence,
        advice => format!("{sentence}; {advice}"),
    }
}

fn words(cause: &Cause<Stage>, waits: &Waits) -> Words {
    let (what, why) = match cause.kind {
        Stage::Queue => ("queue wait", Reason::why(waits, cause.ns)),
        Stage::Process => ("processing", String::new()),
        stage => {
            let why = match stage {
                Stage::Publish => "on the way to the broker",
                Stage::Scheduled => "delayed, or backing off after failed attempts",
                Stage::Deliver => "on the way to consumers, or with ones that never answered",
                Stage::Prefetch => "consumers had items and were busy",
                Stage::Settle => "until acknowledgements were durable",
                _ => "until items were durable",
            };
            (stage.name(), why.to_owned())
        }
    };
    Words {
        what: what.to_owned(),
        why,
    }
}

/// What would shorten it; empty: nothing that could be said in general.
fn advice(cause: &Cause<Stage>, waits: &Waits) -> &'static str {
    match cause.kind {
        Stage::Queue => match Reason::shares(waits, cause.ns)[0].0 {
            Reason::Stalled(Stall::Paused) => "resuming the queue ends it",
            Reason::Stalled(Stall::NoConsumer) => {
                "a consumer that is always there would shorten it"
            }
            Reason::Stalled(Stall::NoCredit) => {
                "more consumers or a higher --concurrency would shorten it"
            }
            Reason::BehindOthers | Reason::BeforeRestart => "",
        },
        Stage::Prefetch => {
            "a smaller --prefetch, more consumers or a higher --concurrency would shorten it"
        }
        Stage::Process => "only faster handlers would shorten it",
        _ => "",
    }
}
