//! What the consumer says: a line, an object or the payload for each item, and the summary.
//!
//! Owns the counts and the latencies (publish to the beginning of the job). The time of the summary runs from the first
//! item's beginning to the last one's end: waiting for items is nobody's work. Called by `consume` and `main`.

use std::io;
use std::time::{Duration, Instant};

use baton_client::{Error, Settled};
use baton_telemetry::latency::LatencySummary;
use baton_telemetry::program::flags::OutputForm;
use baton_telemetry::program::output::{Mark, Output, Target};
use baton_telemetry::program::progress::Progress;
use baton_telemetry::program::stage_table::{StageObject, StageTable, WORTH_A_TABLE};
use baton_telemetry::program::throughput::Throughput;

use crate::config::{Config, JobConfig};
use crate::event::{Event, Payload, outcome_name};
use crate::job::Outcome;
use crate::preview::preview;
use crate::verdict::Verdict;

/// Tells what happens and sums it up.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where the report goes.
    output: Output,
    /// Where payloads go, if they are all that stdout is for.
    payloads: Option<Output>,
    form: OutputForm,
    quiet: bool,
    prints: bool,
    span: Option<(Instant, Instant)>,
    counts: Counts,
    latency: LatencySummary,
    started: Instant,
    stages: Option<StageTable>,
}

/// What became of the items.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    processed: u64,
    failed: u64,
    interrupted: u64,
    dead_lettered: u64,
    untouched: u64,
    /// The broker had given the item to someone else by then.
    lease_lost: u64,
    /// The broker did not hear of it.
    unsettled: u64,
}

impl Report {
    pub(crate) fn new(config: &Config) -> Self {
        let (form, colour) = (config.output.output, config.output.color);
        let prints = matches!(config.job, JobConfig::Print { .. });
        let raw = matches!(config.job, JobConfig::Print { raw: true, .. });
        let stdout_is_free = prints && !raw || form == OutputForm::Json;
        let target = if stdout_is_free {
            Target::Stdout
        } else {
            Target::Stderr
        };
        let mut output = Output::new(target, colour);
        if form == OutputForm::Text {
            output.show(config.count.map_or_else(Progress::hidden, Progress::items));
        }
        Self {
            output,
            payloads: raw.then(|| Output::new(Target::Stdout, colour)),
            form,
            quiet: config.output.quiet,
            prints,
            span: None,
            counts: Counts::default(),
            latency: LatencySummary::new(),
            started: Instant::now(),
            stages: None,
        }
    }

    /// Notes an item whose job is over.
    pub(crate) fn finished(&mut self, outcome: &Outcome) {
        let now = Instant::now();
        let began = self.span.map_or(now - outcome.took, |(began, _)| began);
        self.span = Some((began, now));
        self.latency.record(outcome.latency);
        self.output.progress().advance(1);
        let done = outcome.verdict == Verdict::Done;
        match (&mut self.payloads, self.form) {
            (Some(payloads), _) if done => {
                payloads.bytes(outcome.delivery.payload());
                payloads.bytes(b"\n");
            }
            _ if done && self.quiet => {}
            (_, OutputForm::Text) => {
                let mark = if done { Mark::Processed } else { Mark::Trouble };
                let text = self.item_text(outcome);
                self.output.item(mark, text);
            }
            (_, OutputForm::Json) => {
                let payload = self.prints.then(|| Payload::of(outcome.delivery.payload()));
                self.output.object(&Event::item(outcome, payload));
            }
        }
    }

    fn item_text(&self, outcome: &Outcome) -> String {
        let delivery = &outcome.delivery;
        let subject = if self.prints {
            format!("value {}", preview(delivery.payload()))
        } else {
            format!("item {}", delivery.item_id())
        };
        item_text(
            &subject,
            delivery.attempt(),
            outcome.latency,
            &outcome.verdict,
        )
    }

    /// Notes how the broker took an item's verdict.
    pub(crate) fn settled(
        &mut self,
        (item_id, attempt): (u64, u32),
        verdict: &Verdict,
        settled: &Result<Settled, Error>,
    ) {
        let counts = &mut self.counts;
        let count = match (settled, verdict) {
            (Err(_), _) => &mut counts.unsettled,
            (Ok(Settled::LeaseLost), _) => &mut counts.lease_lost,
            (Ok(_), Verdict::Done) => &mut counts.processed,
            (Ok(_), Verdict::Failed { .. }) => &mut counts.failed,
            (Ok(_), Verdict::Interrupted { .. }) => &mut counts.interrupted,
            (Ok(_), Verdict::DeadLetter { .. }) => &mut counts.dead_lettered,
            (Ok(_), Verdict::Untouched) => &mut counts.untouched,
        };
        *count += 1;
        let problem = match settled {
            Ok(Settled::LeaseLost) => "its lease had ended, so it may be processed once more",
            Err(_) => "the broker may not know what became of it, so it may be processed once more",
            Ok(_) => return self.confirmed(item_id, attempt, verdict),
        };
        match self.form {
            OutputForm::Text => {
                self.output
                    .item(Mark::Trouble, format_args!("item {item_id}: {problem}"));
            }
            OutputForm::Json => self.output.object(&Event::Unsettled {
                item_id,
                attempt,
                problem,
            }),
        }
    }

    /// People have seen the item's own line, and need no second one when all is well.
    fn confirmed(&mut self, item_id: u64, attempt: u32, verdict: &Verdict) {
        if self.form == OutputForm::Json && !(self.quiet && *verdict == Verdict::Done) {
            self.output.object(&Event::Settled {
                item_id,
                attempt,
                outcome: outcome_name(verdict),
            });
        }
    }

    /// Whether something was noted and not written yet.
    pub(crate) fn has_pending(&self) -> bool {
        let pending = |output: &Output| !output.pending().is_empty();
        pending(&self.output) || self.payloads.as_ref().is_some_and(pending)
    }

    /// Whether what was noted should be written before more is.
    pub(crate) fn is_full(&self) -> bool {
        self.output.is_full() || self.payloads.as_ref().is_some_and(Output::is_full)
    }

    /// Writes what was noted.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let payloads = self.payloads.as_mut().map_or(Ok(()), Output::flush);
        self.output.flush().and(payloads)
    }

    /// How long the run has taken, if enough was worked on for a look at where the time went.
    pub(crate) fn worth_a_table(&self) -> Option<Duration> {
        let worth = !self.quiet && self.latency.count() >= WORTH_A_TABLE;
        worth.then(|| self.started.elapsed())
    }

    /// Notes where the time went.
    pub(crate) fn stages(&mut self, stages: Option<StageTable>) {
        self.stages = stages;
    }

    /// Writes the summary, as far as someone reads it.
    pub(crate) fn summary(&mut self) {
        self.output.progress().finish();
        let elapsed = self
            .span
            .map_or(Duration::ZERO, |(began, ended)| ended - began);
        let throughput = Throughput {
            items: self.counts.processed,
            elapsed,
        };
        match self.form {
            OutputForm::Text => {
                let text = self.counts.summary_text(throughput, &self.latency);
                self.output.line(text);
                if let Some(stages) = &self.stages {
                    self.output.line(stages);
                }
            }
            OutputForm::Json => {
                let stages = self.stages.as_ref().map(StageTable::objects);
                let stages = stages.unwrap_or_default();
                let summary = self.counts.summary(throughput, &self.latency, stages);
                self.output.object(&summary);
            }
        }
        // A reader that went away has been noticed before, or has read all it wanted.
        let _ = self.flush();
    }
}

fn item_text(subject: &str, attempt: u32, latency: Duration, verdict: &Verdict) -> String {
    let verb = match verdict {
        Verdict::Done => {
            return format!("processed {subject} after {:.2} s", latency.as_secs_f64());
        }
        Verdict::Untouched => return format!("gave {subject} back"),
        Verdict::Failed { .. } => "failed",
        Verdict::Interrupted { .. } => "was interrupted",
        Verdict::DeadLetter { .. } => "became a dead letter",
    };
    let error = verdict.error().map(preview_error).unwrap_or_default();
    format!("{subject} {verb} at attempt {attempt}: {error}")
}

/// What a command said is no safer than a payload.
fn preview_error(error: &str) -> String {
    preview(error.as_bytes())
}

impl Counts {
    fn summary_text(&self, throughput: Throughput, latency: &LatencySummary) -> String {
        let mut text = throughput.to_string();
        for (count, what) in [
            (self.failed, "failed"),
            (self.interrupted, "interrupted"),
            (self.dead_lettered, "dead-lettered"),
            (self.untouched, "given back"),
            (self.lease_lost, "with a lost lease"),
            (self.unsettled, "unsettled"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if latency.count() > 0 {
            text.push_str(&format!("\nlatency: {latency}"));
        }
        text
    }

    fn summary<'a>(
        &self,
        throughput: Throughput,
        latency: &'a LatencySummary,
        stages: Vec<StageObject>,
    ) -> Event<'a> {
        Event::Summary {
            items: self.processed,
            failed: self.failed,
            interrupted: self.interrupted,
            dead_lettered: self.dead_lettered,
            given_back: self.untouched,
            lease_lost: self.lease_lost,
            unsettled: self.unsettled,
            elapsed_seconds: throughput.elapsed.as_secs_f64(),
            items_per_second: throughput.items_per_second(),
            latency,
            stages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn lines_look_as_in_the_classic_demo() {
        let line = item_text("value 9", 1, TICK / 4, &Verdict::Done);
        assert_eq!(line, "processed value 9 after 0.00 s");
        let line = item_text("value 9", 1, TICK * 123, &Verdict::Done);
        assert_eq!(line, "processed value 9 after 1.23 s");
    }

    #[test]
    fn trouble_says_which_attempt_and_why() {
        let failed = Verdict::Failed {
            error: "exit status 3: \u{1b}[2Jno".into(),
        };
        let line = item_text("item 7", 2, TICK, &failed);
        assert_eq!(
            line,
            "item 7 failed at attempt 2: exit status 3: \\u{1b}[2Jno"
        );
        let dead = Verdict::DeadLetter {
            error: "gave up (exit status 65)".into(),
        };
        let line = item_text("item 7", 2, TICK, &dead);
        assert_eq!(
            line,
            "item 7 became a dead letter at attempt 2: gave up (exit status 65)"
        );
        assert_eq!(
            item_text("item 7", 1, TICK, &Verdict::Untouched),
            "gave item 7 back"
        );
    }

    #[test]
    fn the_summary_names_only_what_happened() {
        let throughput = Throughput {
            items: 40,
            elapsed: Duration::from_secs(22),
        };
        let mut latency = LatencySummary::new();
        latency.record(Duration::from_millis(2));
        let counts = Counts {
            processed: 40,
            ..Counts::default()
        };
        assert_eq!(
            counts.summary_text(throughput, &latency),
            "40 items, 22 s, 1.8 items/s\n\
             latency: min 2.00 ms  p50 2.00 ms  p90 2.00 ms  p99 2.00 ms  max 2.00 ms"
        );
        let counts = Counts {
            processed: 40,
            failed: 2,
            dead_lettered: 1,
            ..counts
        };
        let text = counts.summary_text(throughput, &LatencySummary::new());
        assert_eq!(
            text,
            "40 items, 22 s, 1.8 items/s, 2 failed, 1 dead-lettered"
        );
    }
}
