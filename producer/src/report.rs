//! What the producer says: a line or an object for each item, and the summary.
//!
//! Owns the counts and the latencies (publish to confirm). Called by `publish` for items and by `main` for the rest.

use std::io;
use std::time::{Duration, Instant};

use baton_client::{Error, Joined, Receipt};
use baton_telemetry::latency::LatencySummary;
use baton_telemetry::program::flags::OutputForm;
use baton_telemetry::program::output::{Mark, Output, Target};
use baton_telemetry::program::progress::Progress;
use baton_telemetry::program::stage_table::{StageObject, StageTable, WORTH_A_TABLE};
use baton_telemetry::program::throughput::Throughput;
use serde::Serialize;

use crate::config::{Config, SourceConfig};
use crate::publish::{Confirmed, is_of_the_item};

/// Tells what happens and sums it up.
#[derive(Debug)]
pub(crate) struct Report {
    output: Output,
    form: OutputForm,
    quiet: bool,
    generated: bool,
    progress_in_bytes: bool,
    started: Instant,
    counts: Counts,
    latency: LatencySummary,
    joined: Option<Joined>,
    stages: Option<StageTable>,
}

/// What became of the items.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    published: u64,
    duplicates: u64,
    refused: u64,
    /// The connection ended first; stored or not.
    unconfirmed: u64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Published {
        index: u64,
        item_id: u64,
        duplicate: bool,
        durability: &'a str,
        latency_seconds: f64,
    },
    Refused {
        index: u64,
        error: &'a str,
    },
    Summary {
        items: u64,
        duplicates: u64,
        refused: u64,
        unconfirmed: u64,
        elapsed_seconds: f64,
        items_per_second: f64,
        latency: &'a LatencySummary,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        stages: Vec<StageObject>,
        #[serde(skip_serializing_if = "Option::is_none")]
        joined: Option<JoinedCounts>,
    },
}

#[derive(Serialize)]
struct JoinedCounts {
    acked: u64,
    dead: u64,
    expired: u64,
    cancelled: u64,
}

impl Report {
    pub(crate) fn new(config: &Config, progress: Progress) -> Self {
        let mut output = Output::new(Target::Stdout, config.output.color);
        if config.output.output == OutputForm::Text {
            output.show(progress);
        }
        Self {
            output,
            form: config.output.output,
            quiet: config.output.quiet,
            generated: matches!(config.source, SourceConfig::Generate { .. }),
            progress_in_bytes: matches!(config.source, SourceConfig::Send { .. }),
            started: Instant::now(),
            counts: Counts::default(),
            latency: LatencySummary::new(),
            joined: None,
            stages: None,
        }
    }

    /// Notes what became of an item.
    pub(crate) fn confirmed(&mut self, confirmed: &Confirmed) {
        match &confirmed.result {
            Ok(receipt) => self.published(confirmed.index, confirmed.latency, *receipt),
            Err(error) if is_of_the_item(error) => self.refuse(confirmed.index, error),
            Err(_) => self.counts.unconfirmed += 1,
        }
        self.output.progress().advance(if self.progress_in_bytes {
            confirmed.bytes
        } else {
            1
        });
    }

    fn published(&mut self, index: u64, latency: Duration, receipt: Receipt) {
        self.counts.published += 1;
        self.counts.duplicates += u64::from(receipt.duplicate);
        self.latency.record(latency);
        match self.form {
            _ if self.quiet => {}
            OutputForm::Text => {
                let text = self.published_text(index, receipt);
                self.output.item(Mark::Published, text);
            }
            OutputForm::Json => self.output.object(&Event::Published {
                index,
                item_id: receipt.item_id,
                duplicate: receipt.duplicate,
                durability: &durability(receipt),
                latency_seconds: latency.as_secs_f64(),
            }),
        }
    }

    fn published_text(&self, index: u64, receipt: Receipt) -> String {
        let verb = if self.generated {
            "generated"
        } else {
            "published"
        };
        match receipt.item_id {
            _ if self.generated && !receipt.duplicate => format!("{verb} item {index}"),
            id if !receipt.duplicate => format!("{verb} item {id}"),
            0 => format!("{} was there already", self.subject(index)),
            id => format!("{} was there already, as item {id}", self.subject(index)),
        }
    }

    /// What an item is called before the broker has given it an id, or where that is not what people count by.
    fn subject(&self, index: u64) -> String {
        if self.generated {
            format!("item {index}")
        } else {
            format!("input {}", index + 1)
        }
    }

    fn refuse(&mut self, index: u64, error: &Error) {
        self.counts.refused += 1;
        let error = error.to_string();
        match self.form {
            OutputForm::Text => {
                let text = format!("{} was not published: {error}", self.subject(index));
                self.output.item(Mark::Trouble, text);
            }
            OutputForm::Json => self.output.object(&Event::Refused {
                index,
                error: &error,
            }),
        }
    }

    /// Notes how the items were settled.
    pub(crate) const fn joined(&mut self, joined: Joined) {
        self.joined = Some(joined);
    }

    /// How long the run has taken, if enough was published for a look at where the time went.
    pub(crate) fn worth_a_table(&self) -> Option<Duration> {
        let worth = !self.quiet && self.counts.published >= WORTH_A_TABLE;
        worth.then(|| self.started.elapsed())
    }

    /// Notes where the time went.
    pub(crate) fn stages(&mut self, stages: Option<StageTable>) {
        self.stages = stages;
    }

    /// Items that the broker did not take.
    pub(crate) const fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// Writes what was noted.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Writes the summary, as far as someone reads it.
    pub(crate) fn summary(&mut self) {
        self.output.progress().finish();
        self.sum_up(self.started.elapsed());
        // A reader that went away has been noticed before, or has read all it wanted.
        let _ = self.flush();
    }

    fn sum_up(&mut self, elapsed: Duration) {
        match self.form {
            OutputForm::Text => {
                self.output.line(self.summary_text(elapsed));
                if let Some(stages) = &self.stages {
                    self.output.line(stages);
                }
            }
            OutputForm::Json => self.summary_object(elapsed),
        }
    }

    fn summary_text(&self, elapsed: Duration) -> String {
        let Counts {
            published,
            duplicates,
            refused,
            unconfirmed,
        } = self.counts;
        let mut text = Throughput {
            items: published,
            elapsed,
        }
        .to_string();
        for (count, what) in [
            (duplicates, "of them there already"),
            (refused, "refused"),
            (unconfirmed, "unconfirmed: stored or not"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if published > 0 {
            text.push_str(&format!("\npublish to confirm: {}", self.latency));
        }
        if let Some(joined) = &self.joined {
            let Joined {
                acked,
                dead,
                expired,
                cancelled,
                ..
            } = joined;
            text.push_str(&format!(
                "\nsettled: {acked} acked, {dead} dead-lettered, {expired} expired, {cancelled} cancelled"
            ));
        }
        text
    }

    fn summary_object(&mut self, elapsed: Duration) {
        let throughput = Throughput {
            items: self.counts.published,
            elapsed,
        };
        self.output.object(&Event::Summary {
            items: self.counts.published,
            duplicates: self.counts.duplicates,
            refused: self.counts.refused,
            unconfirmed: self.counts.unconfirmed,
            elapsed_seconds: elapsed.as_secs_f64(),
            items_per_second: throughput.items_per_second(),
            latency: &self.latency,
            stages: self
                .stages
                .as_ref()
                .map(StageTable::objects)
                .unwrap_or_default(),
            joined: self.joined.map(|joined| JoinedCounts {
                acked: joined.acked,
                dead: joined.dead,
                expired: joined.expired,
                cancelled: joined.cancelled,
            }),
        });
    }
}

/// `DURABILITY_FSYNCED` as `fsynced`.
fn durability(receipt: Receipt) -> String {
    let name = receipt.durability.as_str_name();
    name.trim_start_matches("DURABILITY_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use baton_client::{Durability, ErrorCode, Stage, StageLatency};
    use baton_telemetry::program::flags::Colour;

    use super::*;

    fn report(form: OutputForm, generated: bool) -> Report {
        Report {
            output: Output::new(Target::Stdout, Colour::Never),
            form,
            quiet: false,
            generated,
            progress_in_bytes: false,
            started: Instant::now(),
            counts: Counts::default(),
            latency: LatencySummary::new(),
            joined: None,
            stages: None,
        }
    }

    fn confirmed(index: u64, result: Result<Receipt, Error>) -> Confirmed {
        Confirmed {
            index,
            bytes: 1,
            latency: Duration::from_millis(2),
            result,
        }
    }

    fn receipt(item_id: u64, duplicate: bool) -> Receipt {
        Receipt {
            item_id,
            duplicate,
            durability: Durability::Fsynced,
        }
    }

    fn refusal() -> Error {
        Error::Refused {
            code: ErrorCode::ItemInvalid,
            message: "no".to_owned(),
        }
    }

    /// Everything that was said about these items.
    fn said(mut report: Report, items: Vec<Result<Receipt, Error>>) -> (Report, String) {
        for (index, result) in (0..).zip(items) {
            report.confirmed(&confirmed(index, result));
        }
        let said = String::from_utf8(report.output.pending().to_vec()).unwrap();
        (report, said)
    }

    #[test]
    fn generated_items_look_as_in_the_classic_demo() {
        let items = vec![Ok(receipt(17, false)), Ok(receipt(18, false))];
        let (_, said) = said(report(OutputForm::Text, true), items);
        assert_eq!(said, " -- generated item 0\n -- generated item 1\n");
    }

    #[test]
    fn sent_items_are_named_by_their_id() {
        let items = vec![
            Ok(receipt(17, false)),
            Ok(receipt(17, true)),
            Ok(receipt(0, true)),
        ];
        let (_, said) = said(report(OutputForm::Text, false), items);
        assert_eq!(
            said,
            " -- published item 17\n -- input 2 was there already, as item 17\n \
             -- input 3 was there already\n"
        );
    }

    #[test]
    fn a_refused_item_is_reported_even_when_quiet() {
        let quiet = Report {
            quiet: true,
            ..report(OutputForm::Text, true)
        };
        let (report, said) = said(quiet, vec![Ok(receipt(1, false)), Err(refusal())]);
        assert!(
            said.starts_with(" !!! item 1 was not published: "),
            "{said}"
        );
        assert_eq!((report.counts.published, report.refused()), (1, 1));
    }

    #[test]
    fn a_lost_broker_is_not_told_item_by_item() {
        let (report, said) = said(report(OutputForm::Text, true), vec![Err(Error::Closed)]);
        assert_eq!((said.as_str(), report.counts.unconfirmed), ("", 1));
    }

    #[test]
    fn json_has_one_object_for_each_item() {
        let (_, said) = said(report(OutputForm::Json, true), vec![Ok(receipt(17, true))]);
        assert_eq!(
            said,
            "{\"event\":\"published\",\"index\":0,\"item_id\":17,\"duplicate\":true,\
             \"durability\":\"fsynced\",\"latency_seconds\":0.002}\n"
        );
    }

    fn stages() -> StageTable {
        let queue = StageLatency {
            stage: Stage::Queue,
            count: 12,
            p50: Duration::from_millis(3),
            p90: Duration::from_millis(4),
            p99: Duration::from_millis(5),
            p999: Duration::from_millis(5),
            max: Duration::from_millis(5),
            sum: Duration::from_millis(30),
            error: None,
        };
        StageTable {
            queue: "demo".to_owned(),
            window: Duration::from_secs(25),
            rows: vec![queue],
            verdict: "all is well".to_owned(),
        }
    }

    #[test]
    fn where_the_time_went_stands_below_the_summary() {
        let items = || vec![Ok(receipt(1, false)); 10];
        let (mut text, said_before) = said(report(OutputForm::Text, true), items());
        assert!(text.worth_a_table().is_some());
        text.stages(Some(stages()));
        text.sum_up(Duration::from_secs(2));
        let said_now = String::from_utf8(text.output.pending()[said_before.len()..].to_vec());
        let said_now = said_now.unwrap();
        assert!(said_now.starts_with("10 items, "), "{said_now}");
        assert!(
            said_now.contains("\nwhere the time went (queue demo"),
            "{said_now}"
        );
        assert!(said_now.ends_with("\nall is well\n"), "{said_now}");

        let (mut json, said_before) = said(report(OutputForm::Json, true), items());
        json.stages(Some(stages()));
        json.sum_up(Duration::from_secs(2));
        let object = &json.output.pending()[said_before.len()..];
        let object: serde_json::Value = serde_json::from_slice(object).unwrap();
        assert_eq!(object["stages"][0]["stage"], "queue");
        assert_eq!(object["stages"][0]["max_seconds"], 0.005);
    }

    #[test]
    fn a_few_items_and_a_quiet_run_are_worth_no_table() {
        let few = vec![Ok(receipt(1, false)); 9];
        let (few, _) = said(report(OutputForm::Text, true), few);
        assert_eq!(few.worth_a_table(), None);
        let quiet = Report {
            quiet: true,
            ..report(OutputForm::Text, true)
        };
        let (quiet, _) = said(quiet, vec![Ok(receipt(1, false)); 10]);
        assert_eq!(quiet.worth_a_table(), None);
    }

    #[test]
    fn the_summary_names_only_what_happened() {
        let elapsed = Duration::from_secs(22);
        let (mut report, _) = said(
            report(OutputForm::Text, true),
            vec![Ok(receipt(1, false)); 40],
        );
        let latency = "min 2.00 ms  p50 2.00 ms  p90 2.00 ms  p99 2.00 ms  max 2.00 ms";
        let plain = format!("40 items, 22 s, 1.8 items/s\npublish to confirm: {latency}");
        assert_eq!(report.summary_text(elapsed), plain);
        report.confirmed(&confirmed(40, Ok(receipt(1, true))));
        report.confirmed(&confirmed(41, Err(refusal())));
        report.joined(Joined {
            acked: 40,
            dead: 1,
            ..Joined::default()
        });
        let text = report.summary_text(elapsed);
        assert!(
            text.starts_with("41 items, 22 s, 1.9 items/s, 1 of them there already, 1 refused\n")
        );
        assert!(text.ends_with("\nsettled: 40 acked, 1 dead-lettered, 0 expired, 0 cancelled"));
    }
}
