//! Shapes of an item's trace, and what Jaeger's own code made of them.

use super::*;
use crate::sketch::{BEGINNING_US, Sketch};

/// Spans of one item: when they begin and end, in microseconds, and how far apart stages are.
struct Shape {
    step: u64,
    deliver: Kind,
}

const TOUCHING: Shape = Shape {
    step: 0,
    deliver: Kind::Client,
};
const APART: Shape = Shape {
    step: 1,
    ..TOUCHING
};

impl Shape {
    /// Below the span of this name: all stages but the first, which the producer sees too.
    fn stages(&self, sketch: Sketch, below: &str) -> Sketch {
        let ends = |us: u64| us - self.step;
        sketch
            .span("store", Kind::Server, below, (1_000, ends(3_000)))
            .span("queue", Kind::Internal, below, (3_000, ends(1_203_000)))
            .span("deliver", self.deliver, below, (1_203_000, ends(1_226_000)))
            .span("process", Kind::Consumer, "deliver", (1_204_000, 1_224_000))
            .span("settle", Kind::Server, below, (1_226_000, 1_227_000))
    }

    /// Below an `item` that lasts as long as all of it.
    fn item(&self, sketch: Sketch, below: &str) -> Sketch {
        let create = (0, 3_000 - self.step);
        let sketch = sketch
            .span("item", Kind::Internal, below, (0, 1_227_000))
            .span("create", Kind::Producer, "item", create);
        self.stages(sketch, "item")
    }
}

fn times(sketch: Sketch) -> Vec<(String, u64)> {
    let path = critical_path(&sketch.trace());
    let times = time_by_name(&path);
    times
        .into_iter()
        .map(|(name, us)| (name.to_owned(), us))
        .collect()
}

fn expected(times: &[(&str, u64)]) -> Vec<(String, u64)> {
    times
        .iter()
        .map(|&(name, us)| (name.to_owned(), us))
        .collect()
}

#[test]
fn a_consumer_below_its_producer_is_not_on_the_path() {
    let classic = Sketch::default()
        .span("create", Kind::Producer, "", (0, 3_000))
        .span("process", Kind::Consumer, "create", (1_204_000, 1_224_000));
    assert_eq!(times(classic), expected(&[("create", 3_000)]));
}

#[test]
fn stages_that_start_after_their_parents_end_are_not_on_the_path() {
    let create = Sketch::default().span("create", Kind::Producer, "", (0, 3_000));
    let found = times(TOUCHING.stages(create, "create"));
    assert_eq!(found, expected(&[("create", 1_000), ("store", 2_000)]));
}

#[test]
fn stages_that_touch_hide_each_other() {
    let found = times(TOUCHING.item(Sketch::default(), ""));
    let path = [("item", 26_000), ("queue", 1_200_000), ("settle", 1_000)];
    assert_eq!(found, expected(&path));
}

#[test]
fn stages_a_microsecond_apart_are_all_on_the_path() {
    let found = times(APART.item(Sketch::default(), ""));
    let path = [
        ("create", 2_999),
        ("deliver", 2_999),
        ("item", 3),
        ("process", 20_000),
        ("queue", 1_199_999),
        ("settle", 1_000),
    ];
    assert_eq!(found, expected(&path));
}

#[test]
fn a_delivery_that_is_a_producer_hides_the_processing() {
    let solace_like = Shape {
        deliver: Kind::Producer,
        ..APART
    };
    let found = times(solace_like.item(Sketch::default(), ""));
    let path = [
        ("create", 2_999),
        ("deliver", 22_999),
        ("item", 3),
        ("queue", 1_199_999),
        ("settle", 1_000),
    ];
    assert_eq!(found, expected(&path));
}

#[test]
fn both_attempts_are_on_the_path() {
    let twice = Sketch::default()
        .span("item", Kind::Internal, "", (0, 900))
        .span("create", Kind::Producer, "item", (0, 99))
        .span("queue 1", Kind::Internal, "item", (100, 299))
        .span("deliver 1", Kind::Client, "item", (300, 399))
        .span("process 1", Kind::Consumer, "deliver 1", (310, 390))
        .span("queue 2", Kind::Internal, "item", (400, 599))
        .span("deliver 2", Kind::Client, "item", (600, 799))
        .span("process 2", Kind::Consumer, "deliver 2", (650, 750))
        .span("settle", Kind::Server, "item", (800, 900));
    let path = [
        ("create", 99),
        ("deliver 1", 19),
        ("deliver 2", 99),
        ("item", 5),
        ("process 1", 80),
        ("process 2", 100),
        ("queue 1", 199),
        ("queue 2", 199),
        ("settle", 100),
    ];
    assert_eq!(times(twice), expected(&path));
}

#[test]
fn below_a_request_that_did_not_wait_only_its_own_time_is_on_the_path() {
    let request = Sketch::default().span("POST", Kind::Server, "", (0, 7_000));
    let found = times(APART.item(request, "POST"));
    let path = [("create", 2_999), ("item", 1), ("queue", 4_000)];
    assert_eq!(found, expected(&path));
}

#[test]
fn the_path_goes_back_from_the_end() {
    let path = critical_path(&APART.item(Sketch::default(), "").trace());
    let names: Vec<_> = path.iter().map(|section| section.name.as_str()).collect();
    let expected = [
        "settle", "item", "deliver", "process", "deliver", "item", "queue", "item", "create",
    ];
    assert_eq!(names, expected);
    let processed = (BEGINNING_US + 1_204_000, BEGINNING_US + 1_224_000);
    assert_eq!((path[3].start_us, path[3].end_us), processed);
}

#[test]
fn a_span_without_a_parent_is_shown_below_what_it_links_to() {
    let linked = Sketch::default()
        .span("create", Kind::Internal, "", (0, 3_000))
        .span("store", Kind::Internal, "", (1_000, 2_000))
        .linked_to("create");
    assert_eq!(
        times(linked),
        expected(&[("create", 2_000), ("store", 1_000)])
    );
}

#[test]
fn a_span_with_a_parent_is_shown_below_it_whatever_it_links_to() {
    let linked = Sketch::default()
        .span("item", Kind::Internal, "", (0, 5_000))
        .span("create", Kind::Internal, "item", (0, 3_000))
        .span("store", Kind::Internal, "item", (1_000, 4_000))
        .linked_to("create");
    let path = [("item", 2_000), ("store", 3_000)];
    assert_eq!(times(linked), expected(&path));
}

#[test]
fn a_span_that_starts_before_its_parent_is_cut_off() {
    let early = Sketch::default()
        .span("item", Kind::Internal, "", (1_000, 3_000))
        .span("create", Kind::Internal, "item", (0, 2_000));
    let path = [("create", 1_000), ("item", 1_000)];
    assert_eq!(times(early), expected(&path));
}

#[test]
fn the_start_and_the_duration_are_whole_microseconds_and_the_end_is_their_sum() {
    let mut short = Sketch::default().span("store", Kind::Server, "", (5, 7));
    short.spans[0].start_ns += 900;
    short.spans[0].end_ns += 100;
    let path = critical_path(&short.trace());
    let section = (
        path[0].start_us - BEGINNING_US,
        path[0].end_us - BEGINNING_US,
    );
    assert_eq!(section, (5, 6));
}

#[test]
fn a_trace_whose_root_has_an_absent_parent_has_no_path() {
    let mut orphan = Sketch::default().span("process", Kind::Consumer, "", (0, 3_000));
    orphan.spans[0].parent = Some("f".repeat(16));
    assert_eq!(times(orphan), []);
}
