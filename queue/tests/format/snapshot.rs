//! A whole queue, as each version writes it, and what no queue can have written.

use baton_queue::{DecodeError, ItemState, Queue, SessionId};

use crate::hex;
use crate::story::{SECOND, START, Story, everything, everything_of_version_2, items};

const VERSION_1: &str = include_str!("../fixtures/snapshot-v1.hex");
const VERSION_2: &str = include_str!("../fixtures/snapshot-v2.hex");

fn restored(bytes: &[u8]) -> Result<Queue, DecodeError> {
    Queue::restore(bytes)
}

#[test]
fn a_queue_is_written_as_version_2_writes_it() {
    let line = hex::line("everything", &everything_of_version_2().snapshot());
    let fixture = VERSION_2.lines().find(|line| !line.starts_with('#'));
    assert_eq!(
        fixture,
        Some(line.as_str()),
        "the format has changed; it would be\n{line}"
    );
}

#[test]
fn queues_that_both_versions_wrote_are_restored() {
    for (fixture, story) in [
        (VERSION_1, everything()),
        (VERSION_2, everything_of_version_2()),
    ] {
        let (_, bytes) = &hex::parse(fixture)[0];
        assert!(restored(bytes).unwrap() == story.queue);
    }
}

#[test]
fn the_story_has_everything_in_it() {
    let queue = everything().queue;
    let stats = queue.stats(START);
    for state in [
        ItemState::Scheduled,
        ItemState::Ready,
        ItemState::Leased,
        ItemState::Dead,
    ] {
        assert!(
            !queue.peek(state, Default::default(), 1).is_empty(),
            "{state:?}"
        );
    }
    let totals = [
        stats.duplicates_total,
        stats.acked_total,
        stats.expired_total,
        stats.cancelled_total,
        stats.discarded_total,
        stats.redriven_total,
    ];
    assert!(totals.iter().all(|total| *total > 0), "{totals:?}");
}

#[test]
fn a_restored_queue_goes_on_as_the_old_one_would() {
    let mut story = everything();
    let mut restored = restored(&story.snapshot()).unwrap();
    for _ in 0..100 {
        story.wait(SECOND);
        let (mut mine, mut its) = (Vec::new(), Vec::new());
        for (queue, events) in [(&mut story.queue, &mut mine), (&mut restored, &mut its)] {
            queue.tick(story.now, 5, events);
            let want = baton_queue::Want {
                items: 3,
                ..Default::default()
            };
            queue.handle_lease(story.now, SessionId::UNARY, want, events);
            queue.open_session(story.now, "c".into(), events);
        }
        assert_eq!(mine, its);
        assert_eq!(story.queue.next_deadline(), restored.next_deadline());
    }
    assert!(restored == story.queue);
}

#[test]
fn an_empty_queue_is_restored() {
    let story = Story::new();
    assert!(restored(&story.snapshot()).unwrap() == story.queue);
}

#[test]
fn a_snapshot_cut_short_or_too_long_is_an_error() {
    let mut bytes = everything().snapshot();
    for end in 0..bytes.len() {
        assert!(restored(&bytes[..end]).is_err(), "cut at {end}");
    }
    bytes.push(0);
    let offset = bytes.len() - 1;
    assert_eq!(
        restored(&bytes).unwrap_err(),
        DecodeError::Malformed { offset }
    );
}

#[test]
fn another_version_is_named() {
    let mut bytes = Story::new().snapshot();
    bytes[0] = 9;
    assert_eq!(
        restored(&bytes).unwrap_err(),
        DecodeError::Version { found: 9 }
    );
}

#[test]
fn what_failed_together_is_written_once() {
    let mut story = Story::new();
    story.publish(None, &items(1000));
    story.lease(SessionId::UNARY, 1000);
    let before = story.snapshot().len();
    let retry = baton_queue::NackKind::Retry { delay: None };
    story.nack(SessionId::UNARY, (1, 1000), retry);
    let runs = story.snapshot().len() - before;
    assert!(
        runs < 1000 * 30,
        "{runs} bytes for 1000 runs with one error"
    );
    let again = restored(&story.snapshot()).unwrap();
    let mut bytes = Vec::new();
    again.snapshot(&mut bytes);
    assert_eq!(bytes, story.snapshot(), "and is shared again");
}
