//! `--explain`: says of one item where it is, since when and why, and where its time went.
//!
//! Called by `main` instead of everything else. The words are the broker's.

use std::time::Duration;

use baton_telemetry::program::exit::Exit;
use baton_telemetry::program::flags::{ConnectionFlags, OutputFlags, OutputForm};
use baton_telemetry::program::message::to_json;
use baton_telemetry::program::output::{Output, Target, complain};
use baton_telemetry::program::problems::{Problems, check_queue_name};
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, Explanation};

const MESSAGE: &str = "baton.v1.Explanation";

/// Which item, and where to ask.
#[derive(Debug)]
pub struct Explain {
    program: &'static str,
    queue: String,
    item_id: u64,
    broker: String,
    give_up_after: Duration,
    output: OutputFlags,
}

impl Explain {
    /// What the flags of a program ask.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn from_flags(
        program: &'static str,
        (queue, item_id): (String, u64),
        connection: ConnectionFlags,
        output: OutputFlags,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        check_queue_name(&mut problems, &queue);
        let give_up_after = connection.give_up_after(&mut problems);
        problems.finish(Self {
            program,
            queue,
            item_id,
            broker: connection.broker,
            give_up_after,
            output,
        })
    }

    /// What the program says and how.
    #[must_use]
    pub const fn output(&self) -> &OutputFlags {
        &self.output
    }

    /// Asks and shows.
    pub async fn run(self, stop: CancellationToken) -> Exit {
        let client = Client::builder(&self.broker)
            .service_name(self.program)
            .give_up_after(self.give_up_after)
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                complain(self.program, error);
                return Exit::Configuration;
            }
        };
        let queue = client.queue(&self.queue);
        let asked = stop.run_until_cancelled(queue.explain(self.item_id)).await;
        asked.map_or(Exit::Done, |explained| self.show(explained))
    }

    fn show(&self, explained: Result<Explanation, Error>) -> Exit {
        let explanation = match explained {
            Ok(explanation) => explanation,
            Err(error) => {
                complain(self.program, error);
                return Exit::Failed;
            }
        };
        let mut output = Output::new(Target::Stdout, self.output.color);
        match self.output.output {
            OutputForm::Text => output.line(text(&explanation)),
            OutputForm::Json => match to_json(baton_proto::DESCRIPTORS, MESSAGE, &explanation) {
                Ok(object) => output.object(&object),
                Err(error) => {
                    complain(self.program, error);
                    return Exit::Failed;
                }
            },
        }
        // A reader that went away has read all it wanted.
        let _ = output.flush();
        Exit::Done
    }
}

/// A broker that draws no waterfalls has a sentence at least.
fn text(explanation: &Explanation) -> &str {
    match explanation.text.trim_end() {
        "" => &explanation.summary,
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_words_are_shown_as_they_are() {
        let mut explanation = Explanation {
            item_id: 42,
            summary: "ready, behind 3 others".to_owned(),
            ..Explanation::default()
        };
        assert_eq!(text(&explanation), "ready, behind 3 others");
        explanation.text = "item 42 of demo\n  queue ####\n".to_owned();
        assert_eq!(text(&explanation), "item 42 of demo\n  queue ####");
        let object = to_json(baton_proto::DESCRIPTORS, MESSAGE, &explanation).unwrap();
        assert_eq!(
            (&object["item_id"], &object["summary"]),
            (&42.into(), &explanation.summary.into())
        );
    }
}
