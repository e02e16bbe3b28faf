//! The variables that tell a command about its item.
//!
//! Invariant: what a producer wrote ends up in values, or behind a prefix of ours: it can set no variable of its choice.

use std::collections::BTreeMap;
use std::env;

use tokio::process::Command;

use super::Task;

const ATTRIBUTE_PREFIX: &str = "BATON_ATTRIBUTE_";

/// Sets them all, and takes away those of an item that we ourselves may be running for.
pub(super) fn set(command: &mut Command, queue: &str, task: &Task) {
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(ATTRIBUTE_PREFIX))
        {
            command.env_remove(name);
        }
    }
    command
        .env("BATON_QUEUE", queue)
        .env("BATON_ITEM_ID", task.item_id.to_string())
        .env("BATON_ATTEMPT", task.attempt.to_string());
    // Sorted, so that two names that look the same in the end give the same value each time.
    let attributes: BTreeMap<&str, &str> = task
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for (name, value) in &attributes {
        command.env(attribute_variable(name), without_nul(value));
    }
    command.env(
        "BATON_ATTRIBUTES",
        serde_json::json!(attributes).to_string(),
    );
    set_or_remove(command, "BATON_LAST_ERROR", &task.last_error);
    set_or_remove(command, "TRACEPARENT", &task.traceparent);
    set_or_remove(command, "TRACESTATE", &task.tracestate);
}

fn set_or_remove(command: &mut Command, name: &str, value: &str) {
    if value.is_empty() {
        command.env_remove(name);
    } else {
        command.env(name, without_nul(value));
    }
}

/// A variable cannot hold a NUL: the command would not start at all.
fn without_nul(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

/// `order-id` as `BATON_ATTRIBUTE_ORDER_ID`.
fn attribute_variable(name: &str) -> String {
    let sanitized = name
        .chars()
        .map(|character| match character.to_ascii_uppercase() {
            upper @ ('A'..='Z' | '0'..='9') => upper,
            _ => '_',
        });
    ATTRIBUTE_PREFIX.chars().chain(sanitized).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_become_names_of_variables() {
        for (name, variable) in [
            ("tenant", "BATON_ATTRIBUTE_TENANT"),
            ("order-id.v2", "BATON_ATTRIBUTE_ORDER_ID_V2"),
            ("ä=b\0", "BATON_ATTRIBUTE___B_"),
        ] {
            assert_eq!(attribute_variable(name), variable);
        }
    }
}
