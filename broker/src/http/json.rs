//! Messages of the contract as JSON: the canonical mapping of Protocol Buffers, by the descriptors that are compiled in.
//!
//! Names are in lowerCamelCase, 64-bit numbers are strings, enums are names, durations are like `"1.5s"` and times are RFC 3339. Fields
//! without presence are written even where they are 0, so that whoever reads them need not know their defaults.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use baton_proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("the contract was compiled with this program")
});

/// A message as JSON, in the order of its fields. `name` is its own, as in `GetQueueResponse`.
pub(super) fn of(name: &str, message: &impl Message) -> String {
    let known = POOL.get_message_by_name(&format!("baton.v1.{name}"));
    let known = known.expect("the contract has the messages that are generated from it");
    // The broker's own messages have items as bytes, which are the same on the wire.
    let message = DynamicMessage::decode(known, message.encode_to_vec().as_slice());
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut writer = serde_json::Serializer::new(Vec::new());
    message
        .expect("what was encoded can be decoded")
        .serialize_with_options(&mut writer, &options)
        .expect("times and durations of the broker are within their ranges");
    String::from_utf8(writer.into_inner()).expect("JSON is UTF-8")
}

/// An answer.
pub(super) fn answer(mut json: String) -> Response {
    json.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_proto::v1::{QueueStats, Stage, StageTime};
    use serde_json::{Value, json};

    #[test]
    fn a_message_is_written_as_protocol_buffers_say() {
        let time = StageTime {
            stage: Stage::Queue.into(),
            duration: Some(prost_types::Duration {
                seconds: 1,
                nanos: 500_000_000,
            }),
            ..StageTime::default()
        };
        let expected = r#"{"stage":"STAGE_QUEUE","attempt":0,"duration":"1.500s","approximate":false,"running":false,"waits":[]}"#;
        assert_eq!(of("StageTime", &time), expected);
    }

    #[test]
    fn nothing_is_told_of_what_is_not_set_and_0_is_told() {
        let stats = QueueStats {
            ready: u64::MAX,
            ..QueueStats::default()
        };
        let value: Value = serde_json::from_str(&of("QueueStats", &stats)).unwrap();
        assert_eq!(value["ready"], json!("18446744073709551615"));
        assert_eq!(value["leased"], json!("0"));
        assert_eq!(value.get("oldestReadyAge"), None);
    }
}
