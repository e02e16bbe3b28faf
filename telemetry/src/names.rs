//! Names of spans, attributes, metrics and environment variables that others read: OpenTelemetry's where it has one
//! (messaging conventions 1.44, all of them still in development), ours under `messaging.baton.*`. A name stands here once
//! something uses it; a test holds those of OpenTelemetry against its own constants.

use crate::stage::Stage;

/// Which edition of the conventions the names are of.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Value of [`MESSAGING_SYSTEM`].
pub const SYSTEM: &str = "baton";

/// Operation: an item gets its trace context, until it is confirmed.
pub const OPERATION_CREATE: &str = "create";
/// Operation: a batch is sent, until it is confirmed.
pub const OPERATION_PUBLISH: &str = "publish";
/// Operation: items are asked for.
pub const OPERATION_RECEIVE: &str = "receive";
/// Operation: a consumer's handler at work on one item.
pub const OPERATION_PROCESS: &str = "process";
/// Operation: an item is acknowledged.
pub const OPERATION_ACK: &str = "ack";
/// Operation: an item is not acknowledged.
pub const OPERATION_NACK: &str = "nack";
/// Operation: acks and nacks together. Also OpenTelemetry's type of both.
pub const OPERATION_SETTLE: &str = "settle";
/// OpenTelemetry's type of [`OPERATION_PUBLISH`].
pub const OPERATION_TYPE_SEND: &str = "send";

/// What speaks: `baton`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The queue.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// What is done, in our words.
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// What is done, in OpenTelemetry's words.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// The item's id.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Who does it, as in the stream's Hello.
pub const MESSAGING_CLIENT_ID: &str = "messaging.client.id";
/// How many items; only where there may be several.
pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// Which attempt at the item it is, from 1.
pub const MESSAGING_BATON_ATTEMPT: &str = "messaging.baton.attempt";
/// Why it failed, one of few words.
pub const ERROR_TYPE: &str = "error.type";
/// The broker's host.
pub const SERVER_ADDRESS: &str = "server.address";
/// The broker's port.
pub const SERVER_PORT: &str = "server.port";
/// Whose telemetry it is.
pub const SERVICE_NAME: &str = "service.name";
/// Which process of them.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// On which machine: equal where clocks are.
pub const HOST_ID: &str = "host.id";

/// Metric: how long publishes, receives and settles took.
pub const MESSAGING_CLIENT_OPERATION_DURATION: &str = "messaging.client.operation.duration";
/// Metric: items published.
pub const MESSAGING_CLIENT_SENT_MESSAGES: &str = "messaging.client.sent.messages";
/// Metric: items handed to the application.
pub const MESSAGING_CLIENT_CONSUMED_MESSAGES: &str = "messaging.client.consumed.messages";
/// Metric: how long handlers took.
pub const MESSAGING_PROCESS_DURATION: &str = "messaging.process.duration";

/// Buckets that OpenTelemetry asks of both durations, seconds.
pub const DURATION_BUCKETS_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

// The broker's own spans of an item, and what they say.

/// Operation: an item's whole life.
pub const OPERATION_ITEM: &str = "item";
/// Operation: an item that was received is made durable.
pub const OPERATION_STORE: &str = "store";
/// Operation: an item waits until it is due.
pub const OPERATION_SCHEDULED: &str = "scheduled";
/// Operation: an item waits for a consumer.
pub const OPERATION_QUEUE: &str = "queue";
/// Operation: a consumer has an item.
pub const OPERATION_DELIVER: &str = "deliver";
/// Operation: an item is given up.
pub const OPERATION_DEAD_LETTER: &str = "dead-letter";
/// Operation: an item's time to live runs out.
pub const OPERATION_EXPIRE: &str = "expire";

/// Event: from now on an item outlives what the broker promises.
pub const EVENT_DURABLE: &str = "durable";

/// What became of an item or an attempt, one of few words.
pub const MESSAGING_BATON_OUTCOME: &str = "messaging.baton.outcome";
/// How many attempts there were.
pub const MESSAGING_BATON_ATTEMPTS: &str = "messaging.baton.attempts";
/// Why an item was given up, one of few words.
pub const MESSAGING_BATON_REASON: &str = "messaging.baton.reason";
/// What most of a wait was spent on: backlog, no_consumer, no_credit or paused.
pub const MESSAGING_BATON_WAIT_REASON: &str = "messaging.baton.wait_reason";
/// Of a wait: the queue handed out others. Milliseconds, like the three that follow.
pub const MESSAGING_BATON_WAIT_BACKLOG_MS: &str = "messaging.baton.wait.backlog_ms";
/// Of a wait: before a restart of the broker, which is why nothing is known of it.
pub const MESSAGING_BATON_WAIT_BEFORE_RESTART_MS: &str = "messaging.baton.wait.before_restart_ms";
/// Of a wait: nobody consumed the queue.
pub const MESSAGING_BATON_WAIT_NO_CONSUMER_MS: &str = "messaging.baton.wait.no_consumer_ms";
/// Of a wait: no consumer took more.
pub const MESSAGING_BATON_WAIT_NO_CREDIT_MS: &str = "messaging.baton.wait.no_credit_ms";
/// Of a wait: the queue was paused.
pub const MESSAGING_BATON_WAIT_PAUSED_MS: &str = "messaging.baton.wait.paused_ms";
/// No time of the item is further off than this for the clocks' sake, microseconds.
pub const MESSAGING_BATON_CLOCK_ERROR_US: &str = "messaging.baton.clock.error_us";
/// Of a client's span: its times are this much earlier than the broker's, nanoseconds; negative: later.
pub const MESSAGING_BATON_CLOCK_OFFSET_NS: &str = "messaging.baton.clock.offset_ns";
/// How wrong that can be at most, nanoseconds.
pub const MESSAGING_BATON_CLOCK_ERROR_NS: &str = "messaging.baton.clock.error_ns";
/// The broker was restarted meanwhile: times across it are differences of wall clocks.
pub const MESSAGING_BATON_CLOCK_APPROXIMATE: &str = "messaging.baton.clock.approximate";
/// Why an item's spans were exported, one of few words.
pub const MESSAGING_BATON_SAMPLED_BY: &str = "messaging.baton.sampled_by";
/// The broker wrote the span in the name of a client that did not.
pub const MESSAGING_BATON_SYNTHESIZED: &str = "messaging.baton.synthesized";

/// How long an item's parts of one stage took together, milliseconds.
#[must_use]
pub const fn stage_ms(stage: Stage) -> &'static str {
    match stage {
        Stage::Publish => "messaging.baton.stage.publish_ms",
        Stage::Store => "messaging.baton.stage.store_ms",
        Stage::Scheduled => "messaging.baton.stage.scheduled_ms",
        Stage::Queue => "messaging.baton.stage.queue_ms",
        Stage::Deliver => "messaging.baton.stage.deliver_ms",
        Stage::Prefetch => "messaging.baton.stage.prefetch_ms",
        Stage::Process => "messaging.baton.stage.process_ms",
        Stage::Settle => "messaging.baton.stage.settle_ms",
        Stage::Total => "messaging.baton.stage.total_ms",
        Stage::NotAllowed => "messaging.baton.stage.not_allowed_ms",
        Stage::NoWorker => "messaging.baton.stage.no_worker_ms",
    }
}

#[cfg(test)]
mod item_tests {
    use super::*;

    #[test]
    fn a_stages_attribute_has_its_name() {
        for stage in Stage::ALL {
            assert_eq!(
                stage_ms(stage),
                format!("messaging.{SYSTEM}.stage.{stage}_ms")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_semantic_conventions::{attribute, metric, resource};

    use super::*;

    #[test]
    fn names_are_opentelemetrys_where_it_has_one() {
        for (ours, theirs) in [
            (MESSAGING_SYSTEM, attribute::MESSAGING_SYSTEM),
            (
                MESSAGING_DESTINATION_NAME,
                attribute::MESSAGING_DESTINATION_NAME,
            ),
            (
                MESSAGING_OPERATION_NAME,
                attribute::MESSAGING_OPERATION_NAME,
            ),
            (
                MESSAGING_OPERATION_TYPE,
                attribute::MESSAGING_OPERATION_TYPE,
            ),
            (MESSAGING_MESSAGE_ID, attribute::MESSAGING_MESSAGE_ID),
            (MESSAGING_CLIENT_ID, attribute::MESSAGING_CLIENT_ID),
            (
                MESSAGING_BATCH_MESSAGE_COUNT,
                attribute::MESSAGING_BATCH_MESSAGE_COUNT,
            ),
            (ERROR_TYPE, attribute::ERROR_TYPE),
            (SERVER_ADDRESS, attribute::SERVER_ADDRESS),
            (SERVER_PORT, attribute::SERVER_PORT),
            (SERVICE_NAME, resource::SERVICE_NAME),
            (SERVICE_INSTANCE_ID, resource::SERVICE_INSTANCE_ID),
            (HOST_ID, resource::HOST_ID),
            (
                MESSAGING_CLIENT_OPERATION_DURATION,
                metric::MESSAGING_CLIENT_OPERATION_DURATION,
            ),
            (
                MESSAGING_CLIENT_SENT_MESSAGES,
                metric::MESSAGING_CLIENT_SENT_MESSAGES,
            ),
            (
                MESSAGING_CLIENT_CONSUMED_MESSAGES,
                metric::MESSAGING_CLIENT_CONSUMED_MESSAGES,
            ),
            (
                MESSAGING_PROCESS_DURATION,
                metric::MESSAGING_PROCESS_DURATION,
            ),
        ] {
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn names_of_ours_stand_apart() {
        let vendors = format!("messaging.{SYSTEM}.");
        assert!(MESSAGING_BATON_ATTEMPT.starts_with(&vendors));
    }
}
