//! Carries records from a source to the broker, and confirms from the broker to the report.
//!
//! Invariants: every record that was sent is reported once, in order; the source is asked for no more once there is a
//! reason to end, and what was sent by then is still confirmed. Called by `main`.

use std::io;
use std::time::{Duration, Instant};

use baton_client::{Confirm, Error, Item, Producer, Queue, Receipt};
use baton_telemetry::program::exit::Exit;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Stamp;
use crate::report::Report;
use crate::source::records::InputError;
use crate::source::{Record, Source, dedup_key};

/// Sent, and not yet looked at by the report; the producer's window bounds what is unconfirmed.
const HANDOVER_ITEMS: usize = 1024;

/// Why publishing ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The source is at its end, or a signal came.
    Complete,
    /// The input is broken.
    BadInput(InputError),
    /// The broker is gone, or refuses everything.
    Failed(Error),
    /// Nobody reads the output, or it cannot be written.
    OutputGone(io::Error),
}

impl Ending {
    /// Whether the connection is worth an orderly end.
    pub(crate) const fn is_orderly(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// Whether nobody reads any more what we have to say, which is their right.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::OutputGone(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to tell the user; nothing where all is well.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Complete => None,
            Self::BadInput(error) => Some(format!("{error}; what came before it was published")),
            Self::Failed(error) => Some(error.to_string()),
            Self::OutputGone(_) if self.is_unread() => None,
            Self::OutputGone(error) => Some(format!("cannot write the output: {error}")),
        }
    }

    /// How the program ends, when `refused` items were not published.
    pub(crate) fn exit(&self, refused: u64) -> Exit {
        match self {
            Self::BadInput(InputError::Read { .. }) | Self::Failed(_) => Exit::Failed,
            Self::BadInput(_) => Exit::BadInput,
            Self::OutputGone(_) if !self.is_unread() => Exit::Failed,
            Self::Complete | Self::OutputGone(_) if refused > 0 => Exit::Failed,
            Self::Complete | Self::OutputGone(_) => Exit::Done,
        }
    }

    /// This, or what went wrong afterwards.
    pub(crate) fn and(self, closed: Result<(), Error>) -> Self {
        match (self, closed) {
            (Self::Complete, Err(error)) if !is_of_the_item(&error) => Self::Failed(error),
            (ending, _) => ending,
        }
    }
}

/// A record on its way.
#[derive(Debug)]
struct Sent {
    index: u64,
    bytes: u64,
    at: Instant,
    /// Or why it was not even sent.
    confirm: Result<Confirm, Error>,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) latency: Duration,
    pub(crate) result: Result<Receipt, Error>,
}

impl Sent {
    async fn confirmed(self) -> Confirmed {
        let result = match self.confirm {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        Confirmed {
            index: self.index,
            bytes: self.bytes,
            latency: self.at.elapsed(),
            result,
        }
    }
}

/// Publishes all of `source`, or as much as there is before `stop`.
pub(crate) async fn publish(
    source: Source,
    producer: &Producer,
    stamp: &Stamp,
    report: &mut Report,
    stop: &CancellationToken,
) -> Ending {
    let halt = stop.child_token();
    let (sent, unconfirmed) = mpsc::channel(HANDOVER_ITEMS);
    let (fed, told) = tokio::join!(
        feed(source, producer, stamp, sent, &halt),
        settle(unconfirmed, report, &halt)
    );
    match (told, fed) {
        (Ending::Complete, fed) => fed,
        (told, _) => told,
    }
}

async fn feed(
    mut source: Source,
    producer: &Producer,
    stamp: &Stamp,
    sent: mpsc::Sender<Sent>,
    halt: &CancellationToken,
) -> Ending {
    loop {
        let record = match halt.run_until_cancelled(source.next()).await {
            Some(Ok(Some(record))) => record,
            Some(Err(error)) => return Ending::BadInput(error),
            Some(Ok(None)) | None => return Ending::Complete,
        };
        let (index, bytes) = (record.index, record.payload.len() as u64);
        let (at, item) = (Instant::now(), item(record, stamp));
        let Some(confirm) = halt.run_until_cancelled(producer.send(item)).await else {
            return Ending::Complete;
        };
        if let Err(error) = &confirm
            && !is_of_the_item(error)
        {
            return Ending::Failed(error.clone());
        }
        let sent_item = Sent {
            index,
            bytes,
            at,
            confirm,
        };
        // Not cut short: what was sent is reported. Refused only once `settle` has ended, and it outlives this.
        let _ = sent.send(sent_item).await;
    }
}

fn item(record: Record, stamp: &Stamp) -> Item {
    let key = stamp.dedup_from_payload.then(|| dedup_key(&record.payload));
    let mut item = Item::new(record.payload);
    for (name, value) in &stamp.attributes {
        item = item.attribute(name, value);
    }
    if let Some(key) = key {
        item = item.dedup_key(key);
    }
    if let Some(content_type) = &stamp.content_type {
        item = item.content_type(content_type);
    }
    if let Some(ttl) = stamp.ttl {
        item = item.ttl(ttl);
    }
    if stamp.delay.is_zero() {
        item
    } else {
        item.delay(stamp.delay)
    }
}

async fn settle(
    mut unconfirmed: mpsc::Receiver<Sent>,
    report: &mut Report,
    halt: &CancellationToken,
) -> Ending {
    let mut ending = Ending::Complete;
    let mut waiting = FuturesOrdered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            biased;
            Some(confirmed) = waiting.next() => {
                let mut next = Some(confirmed);
                while let Some(confirmed) = next {
                    tell(confirmed, report, &mut ending);
                    next = waiting.next().now_or_never().flatten();
                }
                if let Err(error) = report.flush() {
                    ending = ending.and_output(error);
                }
            }
            sent = unconfirmed.recv(), if open => match sent {
                Some(sent) => waiting.push_back(sent.confirmed()),
                None => open = false,
            },
        }
        if !matches!(ending, Ending::Complete) {
            halt.cancel();
        }
    }
    ending
}

/// Passes one result on; one that concerns all items becomes the ending, once.
fn tell(confirmed: Confirmed, report: &mut Report, ending: &mut Ending) {
    report.confirmed(&confirmed);
    if let (Ending::Complete, Err(error)) = (&ending, confirmed.result)
        && !is_of_the_item(&error)
    {
        *ending = Ending::Failed(error);
    }
}

/// Whether others may still be published.
pub(crate) const fn is_of_the_item(error: &Error) -> bool {
    matches!(error, Error::Refused { .. } | Error::ItemTooLarge { .. })
}

impl Ending {
    fn and_output(self, error: io::Error) -> Self {
        match self {
            Self::Complete => Self::OutputGone(error),
            ending => ending,
        }
    }
}

/// Closes the queue, with everything published in it.
pub(crate) async fn close_queue(producer: &Producer, queue: &Queue) -> Ending {
    match flush(producer).await {
        Ok(()) => queue
            .close()
            .await
            .map_or_else(Ending::Failed, |()| Ending::Complete),
        Err(error) => Ending::Failed(error),
    }
}

/// Refused items were reported one by one; they must not keep the others from being waited for.
async fn flush(producer: &Producer) -> Result<(), Error> {
    match producer.flush().await {
        Err(error) if !is_of_the_item(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Waits until everything published is settled, and says how.
pub(crate) async fn join(
    producer: &Producer,
    report: &mut Report,
    stop: &CancellationToken,
) -> Ending {
    let joined = async {
        flush(producer).await?;
        producer.join().await
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ending::Complete,
        joined = joined => match joined {
            Ok(joined) => {
                report.joined(joined);
                Ending::Complete
            }
            Err(error) => Ending::Failed(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use baton_client::ErrorCode;

    use super::*;

    fn bad_input() -> Ending {
        Ending::BadInput(InputError::Truncated {
            unit: "record",
            number: 3,
        })
    }

    fn refusal() -> Error {
        Error::Refused {
            code: ErrorCode::ItemTooLarge,
            message: String::new(),
        }
    }

    #[test]
    fn every_ending_has_its_exit_code() {
        let gone = |kind: io::ErrorKind| Ending::OutputGone(kind.into());
        let unreadable = InputError::Read {
            unit: "line",
            number: 1,
            source: io::ErrorKind::Other.into(),
        };
        for (ending, refused, exit) in [
            (Ending::Complete, 0, Exit::Done),
            (Ending::Complete, 1, Exit::Failed),
            (bad_input(), 0, Exit::BadInput),
            (Ending::BadInput(unreadable), 0, Exit::Failed),
            (Ending::Failed(Error::Closed), 0, Exit::Failed),
            (gone(io::ErrorKind::BrokenPipe), 0, Exit::Done),
            (gone(io::ErrorKind::StorageFull), 0, Exit::Failed),
        ] {
            assert_eq!(ending.exit(refused), exit, "{ending:?}");
        }
    }

    #[test]
    fn broken_input_says_what_became_of_the_rest() {
        let problem = bad_input().problem().unwrap();
        let wanted = "record 3 is cut off: the input ends before it does; \
                      what came before it was published";
        assert_eq!(problem, wanted);
    }

    #[test]
    fn a_refused_item_does_not_end_the_others() {
        assert!(matches!(
            Ending::Complete.and(Err(refusal())),
            Ending::Complete
        ));
        assert!(matches!(
            Ending::Complete.and(Err(Error::Closed)),
            Ending::Failed(_)
        ));
        assert!(matches!(
            bad_input().and(Err(Error::Closed)),
            Ending::BadInput(_)
        ));
    }
}
