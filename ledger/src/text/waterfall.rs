//! What the waterfall has lines for: each stage, what an item waited for, and what came of each attempt.

use super::layout::{INDENT, Line};
use super::{Nanos, WIDTH, line, name};
use crate::account::{Account, Attempt, AttemptEnd, AttemptOutcome, Part};
use crate::verdict::Reason;
use baton_telemetry::stage::Stage;

/// Of more attempts than the two together, those in the middle are left out.
const FIRST_ATTEMPTS: usize = 2;
const LAST_ATTEMPTS: usize = 8;

/// In order; none where nothing is known.
pub(super) fn lines(account: &Account, now: u64) -> Vec<Line> {
    let parts = account.parts(now);
    let mut lines: Vec<Line> = parts
        .iter()
        .filter(|part| part.attempt == 0)
        .map(|part| Line::Stage(None, *part))
        .collect();
    let total = account.total(now).0;
    let mut expected = 1;
    let (first, left_out, last) = shown(&account.attempts);
    for attempt in first {
        add_unknown(&mut lines, &mut expected, attempt.number);
        add_attempt(&mut lines, attempt, &parts, total);
    }
    if let [from, .., to] = left_out {
        lines.push(Line::Gap(left_out_line(from.number, to.number, &parts)));
        expected = to.number + 1;
    }
    for attempt in last {
        add_unknown(&mut lines, &mut expected, attempt.number);
        add_attempt(&mut lines, attempt, &parts, total);
    }
    lines
}

/// The first, those that are left out, the last. One alone is never left out.
fn shown(attempts: &[Attempt]) -> (&[Attempt], &[Attempt], &[Attempt]) {
    if attempts.len() <= FIRST_ATTEMPTS + LAST_ATTEMPTS + 1 {
        return (attempts, &[], &[]);
    }
    let (first, rest) = attempts.split_at(FIRST_ATTEMPTS);
    let (left_out, last) = rest.split_at(rest.len() - LAST_ATTEMPTS);
    (first, left_out, last)
}

fn left_out_line(from: u32, to: u32, parts: &[Part]) -> String {
    let within = parts
        .iter()
        .filter(|part| (from..=to).contains(&part.attempt));
    let ns = within.map(Part::ns).sum();
    format!(
        "attempts {from} to {to} are left out; together they took {}",
        Nanos(ns)
    )
}

/// Says so where attempts are missing before `number`.
fn add_unknown(lines: &mut Vec<Line>, expected: &mut u32, number: u32) {
    let (from, to) = (*expected, number.saturating_sub(1));
    match to.checked_sub(from) {
        Some(0) => lines.push(Line::Gap(format!("attempt {from} is not remembered"))),
        Some(_) => lines.push(Line::Gap(format!(
            "attempts {from} to {to} are not remembered"
        ))),
        None => {}
    }
    *expected = number + 1;
}

fn add_attempt(lines: &mut Vec<Line>, attempt: &Attempt, parts: &[Part], total: u64) {
    let mut number = Some(attempt.number);
    for part in parts.iter().filter(|part| part.attempt == attempt.number) {
        lines.push(Line::Stage(number.take(), *part));
        let waits = match part.stage {
            Stage::Queue => waits(attempt, part, total),
            _ => None,
        };
        lines.extend(waits.map(|waits| Line::Note(None, waits)));
    }
    if attempt.leased.is_some() {
        lines.push(Line::Note(number, outcome(attempt)));
    }
}

/// What it waited for, as far as that took a hundredth of the item's time.
fn waits(attempt: &Attempt, queued: &Part, total: u64) -> Option<String> {
    let shares: Vec<String> = Reason::shares(&attempt.waits, u128::from(queued.ns()))
        .into_iter()
        .filter(|(_, ns)| *ns > 0 && *ns * 100 >= u128::from(total))
        .map(|(reason, ns)| {
            let ns = u64::try_from(ns).unwrap_or(u64::MAX);
            format!("{} {}", reason.label(), Nanos(ns))
        })
        .collect();
    (!shares.is_empty()).then(|| shares.join(", "))
}

fn outcome(attempt: &Attempt) -> String {
    let consumer = attempt
        .consumer
        .as_deref()
        .map_or_else(|| "a consumer".to_owned(), name);
    let Some(end) = &attempt.end else {
        return format!("with {consumer} now");
    };
    let outcome = words(end, &consumer);
    let left = WIDTH.saturating_sub(INDENT + outcome.chars().count() + ": ".len());
    match line(&end.error, left) {
        error if error.is_empty() => outcome,
        error => format!("{outcome}: {error}"),
    }
}

fn words(end: &AttemptEnd, consumer: &str) -> String {
    match end.outcome {
        AttemptOutcome::Acked => format!("acked by {consumer}"),
        AttemptOutcome::Nacked => format!("nacked by {consumer}"),
        AttemptOutcome::Rejected => format!("rejected by {consumer}"),
        AttemptOutcome::LeaseExpired => format!("the lease of {consumer} ran out"),
        AttemptOutcome::ConsumerGone => format!("{consumer} went away"),
        AttemptOutcome::BrokerRestarted => {
            format!("the broker was restarted while {consumer} had it")
        }
    }
}
