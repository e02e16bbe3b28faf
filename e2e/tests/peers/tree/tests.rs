use super::*;
use crate::sketch::Sketch;

const BROKER: &str = "baton-broker";

fn item() -> Sketch {
    Sketch::default()
        .span("item q", Kind::Internal, "", (0, 100))
        .span("create q", Kind::Producer, "item q", (0, 20))
        .by("baton-producer")
        .span("store q", Kind::Server, "item q", (10, 20))
        .span("queue q", Kind::Internal, "item q", (21, 50))
        .span("deliver q", Kind::Client, "item q", (51, 90))
        .span("process q", Kind::Consumer, "deliver q", (60, 80))
        .by("baton-consumer")
        .linked_to("create q")
}

/// The only violation of the item after this was done to the span of this name.
fn violation(name: &str, change: impl FnOnce(&mut Span)) -> String {
    let mut sketch = item();
    let mut spans = sketch.spans.iter_mut();
    change(spans.find(|span| span.name == name).unwrap());
    let mut violations = sketch.trace().violations(BROKER);
    assert_eq!(violations.len(), 1, "{violations:?}");
    violations.remove(0)
}

#[test]
fn a_sound_tree_is_not_criticised_and_drawn_as_it_is() {
    let trace = item().trace();
    assert_eq!(trace.violations(BROKER), Vec::<String>::new());
    let outline = "\
item q (internal, baton-broker)
  create q (producer, baton-producer)
  store q (server, baton-broker)
  queue q (internal, baton-broker)
  deliver q (client, baton-broker)
    process q (consumer, baton-consumer) -> create q
";
    assert_eq!(trace.outline(), outline);
    assert_eq!(trace.find("store q").end_ns % 1_000_000, 20_000);
}

#[test]
fn spans_that_come_in_any_order_are_sorted_into_their_traces() {
    let mut spans = Vec::new();
    for (later_ns, digit) in ["2", "3", "1"].iter().enumerate() {
        spans.extend(item().spans.into_iter().map(|span| Span {
            trace_id: digit.repeat(32),
            start_ns: span.start_ns + later_ns as u64,
            ..span
        }));
    }
    spans.reverse();
    let traces = Trace::all(spans);
    let ids: Vec<_> = traces.iter().map(|trace| &trace.id[31..]).collect();
    assert_eq!(ids, ["2", "3", "1"]);
    assert_eq!(traces[0].outline(), item().trace().outline());
}

#[test]
fn a_second_root_is_a_violation() {
    let found = violation("create q", |span| span.parent = None);
    assert_eq!(found, r#"the roots are ["item q", "create q"] and not one"#);
}

#[test]
fn an_absent_parent_is_a_violation_also_of_the_only_root() {
    let found = violation("item q", |span| span.parent = Some("f".repeat(16)));
    assert_eq!(
        found,
        r#"the parent ffffffffffffffff of "item q" is absent"#
    );
}

#[test]
fn an_id_that_two_spans_have_is_a_violation() {
    let found = violation("process q", |span| span.span_id = format!("{:016x}", 2));
    let expected = r#""create q" and "process q" have the same id 0000000000000002"#;
    assert_eq!(found, expected);
}

#[test]
fn a_child_that_sticks_out_is_a_violation_by_a_nanosecond() {
    let late = violation("process q", |span| {
        span.end_ns = item().trace().find("deliver q").end_ns + 1;
    });
    assert_eq!(late, r#""process q" in "deliver q" ends 1 ns after it"#);
    let early = violation("create q", |span| span.start_ns -= 1);
    assert_eq!(early, r#""create q" in "item q" starts 1 ns before it"#);
}

#[test]
fn a_span_that_ends_before_it_starts_is_a_violation() {
    let found = violation("process q", |span| span.end_ns = span.start_ns - 1);
    assert_eq!(found, r#""process q" ends before it starts"#);
}

#[test]
fn stages_that_overlap_or_leave_a_gap_are_a_violation_by_a_nanosecond() {
    let gap = violation("queue q", |span| span.start_ns += 1);
    let expected = r#""queue q" starts 1001 ns after "store q" and not 1000 ns"#;
    assert_eq!(gap, expected);
    let overlap = violation("deliver q", |span| span.start_ns -= 2000);
    let expected = r#""deliver q" starts -1000 ns after "queue q" and not 1000 ns"#;
    assert_eq!(overlap, expected);
}
