//! The JSON objects of `--output json`: field names with their units, payloads as text where they are.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton_telemetry::latency::LatencySummary;
use baton_telemetry::program::stage_table::StageObject;
use serde::Serialize;

use crate::job::Outcome;
use crate::verdict::Verdict;

/// One line of output.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    Item {
        item_id: u64,
        attempt: u32,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        latency_seconds: f64,
        queue_wait_seconds: f64,
        work_seconds: f64,
        #[serde(skip_serializing_if = "HashMap::is_empty")]
        attributes: &'a HashMap<String, String>,
        #[serde(skip_serializing_if = "str::is_empty")]
        content_type: &'a str,
        #[serde(flatten)]
        payload: Option<Payload<'a>>,
    },
    /// The broker has it in writing: what it was told of the item's outcome is as durable as its engine makes it.
    Settled {
        item_id: u64,
        attempt: u32,
        outcome: &'static str,
    },
    Unsettled {
        item_id: u64,
        attempt: u32,
        problem: &'a str,
    },
    Summary {
        items: u64,
        failed: u64,
        interrupted: u64,
        dead_lettered: u64,
        given_back: u64,
        lease_lost: u64,
        unsettled: u64,
        elapsed_seconds: f64,
        items_per_second: f64,
        latency: &'a LatencySummary,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        stages: Vec<StageObject>,
    },
}

/// A payload in JSON, which has no bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Payload<'a> {
    #[serde(rename = "payload")]
    Text(&'a str),
    #[serde(rename = "payload_base64")]
    Base64(String),
}

impl<'a> Payload<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        str::from_utf8(bytes).map_or_else(|_| Self::Base64(STANDARD.encode(bytes)), Self::Text)
    }
}

impl<'a> Event<'a> {
    pub(crate) fn item(outcome: &'a Outcome, payload: Option<Payload<'a>>) -> Self {
        let delivery = &outcome.delivery;
        Self::Item {
            item_id: delivery.item_id(),
            attempt: delivery.attempt(),
            outcome: outcome_name(&outcome.verdict),
            error: outcome.verdict.error(),
            latency_seconds: outcome.latency.as_secs_f64(),
            queue_wait_seconds: delivery.queue_wait().as_secs_f64(),
            work_seconds: outcome.took.as_secs_f64(),
            attributes: delivery.attributes(),
            content_type: delivery.content_type(),
            payload,
        }
    }
}

pub(crate) const fn outcome_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "processed",
        Verdict::Failed { .. } => "failed",
        Verdict::Interrupted { .. } => "interrupted",
        Verdict::DeadLetter { .. } => "dead_lettered",
        Verdict::Untouched => "given_back",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(payload: Option<Payload<'_>>) -> serde_json::Value {
        let attributes = HashMap::new();
        let event = Event::Item {
            item_id: 7,
            attempt: 1,
            outcome: outcome_name(&Verdict::Done),
            error: None,
            latency_seconds: 0.5,
            queue_wait_seconds: 0.25,
            work_seconds: 0.0,
            attributes: &attributes,
            content_type: "",
            payload,
        };
        serde_json::to_value(&event).unwrap()
    }

    #[test]
    fn an_item_is_one_flat_object() {
        let wanted = json!({
            "event": "item", "item_id": 7, "attempt": 1, "outcome": "processed",
            "latency_seconds": 0.5, "queue_wait_seconds": 0.25, "work_seconds": 0.0, "payload": "9",
        });
        assert_eq!(item(Some(Payload::of(b"9"))), wanted);
        assert!(item(None).get("payload").is_none());
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_under_another_name() {
        assert_eq!(
            item(Some(Payload::of(&[0xff, 0])))["payload_base64"],
            "/wA="
        );
        assert_eq!(Payload::of("käse".as_bytes()), Payload::Text("käse"));
    }
}
