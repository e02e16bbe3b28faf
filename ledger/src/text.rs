//! One item as text, for terminals of 100 columns: where it stands, where its time went, and a waterfall.
//!
//! Plain, without colours; what others wrote is made harmless first. The same account and time give the same text. Called
//! by whoever answers `GetItem`.

mod layout;
mod nanos;
mod plain;
#[cfg(test)]
pub(crate) mod samples;
mod waterfall;

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

pub use nanos::Nanos;
pub(crate) use plain::line;

use crate::account::Account;
use crate::party::Party;
use crate::verdict;

/// Columns of the terminal.
const WIDTH: usize = 100;
/// A name of 128 bytes and what there is to say about it.
const HEAD_CHARS_MAX: usize = 400;
/// Of a client's or a service's name.
const NAME_CHARS_MAX: usize = 32;

/// What is known of an item at `now`, a line each with its line feed; `head` says where it stands.
#[must_use]
pub fn text(account: &Account, now: u64, head: &str) -> String {
    let mut text = String::new();
    for line in [
        line(head, HEAD_CHARS_MAX),
        verdict::of_account(account, now),
        times(account, now),
        trace(account),
    ] {
        if !line.is_empty() {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let lines = waterfall::lines(account, now);
    if !lines.is_empty() {
        text.push('\n');
        layout::write(&lines, account, now, &mut text);
    }
    text
}

/// The same of an item that there is no account of: where it stands is all that is known.
#[must_use]
pub fn without_account(head: &str) -> String {
    line(head, HEAD_CHARS_MAX) + "\n"
}

/// When it began, by whom, and how long it took.
fn times(account: &Account, now: u64) -> String {
    let how = match account.created {
        Some(_) => "created",
        None => "received",
    };
    let mut times = format!("{how} {}", date(account.begin()));
    if let Some(producer) = &account.producer {
        let name = name(producer);
        // Writing to a String cannot fail, here and below.
        let _ = write!(times, " by {name}");
    }
    let (total, error_ns) = account.total(now);
    let so_far = if account.end.is_none() { " so far" } else { "" };
    let about = about(is_from_before_a_restart(account));
    let _ = write!(
        times,
        ", total {about}{}{}{so_far}",
        Nanos(total),
        error(error_ns)
    );
    times
}

/// Empty: nobody traces it.
fn trace(account: &Account) -> String {
    let before = account.before_redrive.map(|before| before.trace_id);
    match (account.context, before) {
        (Some(context), Some(before)) => {
            format!(
                "trace {}, before it was redriven {before}",
                context.trace_id
            )
        }
        (Some(context), None) => format!("trace {}", context.trace_id),
        (None, _) => String::new(),
    }
}

/// A client as people know it.
fn name(party: &Party) -> String {
    line(&party.client_id, NAME_CHARS_MAX)
}

fn error(ns: u64) -> String {
    match ns {
        0 => String::new(),
        ns => format!(" ± {}", Nanos(ns)),
    }
}

const fn about(approximate: bool) -> &'static str {
    if approximate { "≈" } else { "" }
}

fn is_from_before_a_restart(account: &Account) -> bool {
    let begin = account.begin();
    account.restarted.is_some_and(|restarted| begin < restarted)
}

/// To the millisecond.
fn date(ns: u64) -> String {
    let date = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(ns)).to_string();
    date.replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests;
