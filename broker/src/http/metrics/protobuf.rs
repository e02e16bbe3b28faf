//! Metrics as Prometheus' own messages, length-delimited: the only form that carries native histograms.
//!
//! The fields of `io.prometheus.client` (its metrics.proto) that are written here, under their numbers. A native histogram
//! of schema 4 is the ledger's own: its bucket `i` is the native bucket `i + 1`, which is counted by its upper bound. Classic
//! buckets go with it, for scrapers that want those.

use baton_telemetry::histogram::SCALE;
use baton_telemetry::windows;
use prost::Message;
use prost_types::Timestamp;

use super::distribution::{Distribution, LE_EXPONENTS};
use super::family::{Family, Kind, Labels, Sample, Value};
use super::text::by_bucket;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A `Gauge`, or a `Counter`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

/// Buckets in a row.
#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    /// From the end of the span before; of the first one: its first bucket.
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

/// All families that have a series.
pub(super) fn write(families: &[Family]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let message = of_family(family);
        let written = message.encode_length_delimited(&mut out);
        written.expect("a vector takes everything");
    }
    out
}

fn of_family(family: &Family) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    let metrics = family
        .samples
        .iter()
        .map(|sample| of_sample(family.kind, sample));
    MetricFamily {
        name: family.name.to_owned(),
        help: family.help.to_owned(),
        kind,
        metric: metrics.collect(),
        unit: family.unit().unwrap_or_default().to_owned(),
    }
}

fn of_sample(kind: Kind, Sample { labels, value }: &Sample) -> Metric {
    let label = of_labels(labels);
    let value = match value {
        Value::Whole(value) => *value as f64,
        Value::Real(value) => *value,
        Value::Times(distribution, exemplars) => {
            return Metric {
                label,
                histogram: Some(of_distribution(distribution, exemplars)),
                ..Metric::default()
            };
        }
    };
    let number = Some(Number { value });
    Metric {
        label,
        gauge: number.filter(|_| kind == Kind::Gauge),
        counter: number.filter(|_| kind == Kind::Counter),
        histogram: None,
    }
}

fn of_labels(labels: &Labels) -> Vec<LabelPair> {
    let pairs = labels.iter().flatten();
    let pairs = pairs.map(|(name, value)| pair(name, value.as_str().to_owned()));
    pairs.collect()
}

fn pair(name: &str, value: String) -> LabelPair {
    LabelPair {
        name: name.to_owned(),
        value,
    }
}

fn of_distribution(distribution: &Distribution, exemplars: &[windows::Exemplar]) -> Histogram {
    let count = distribution.count();
    let bounds = LE_EXPONENTS.map(|exponent| f64::from(exponent).exp2());
    let bounds = bounds.chain([f64::INFINITY]);
    let counts = distribution.cumulative().into_iter().chain([count]);
    let examples = by_bucket(exemplars).into_iter();
    let buckets = bounds.zip(counts).zip(examples);
    let (positive_span, positive_delta) = native(&distribution.buckets);
    let mut exemplars: Vec<_> = exemplars.iter().collect();
    // As Prometheus takes them in.
    exemplars.sort_by_key(|exemplar| exemplar.at_ns);
    Histogram {
        sample_count: count,
        sample_sum: distribution.sum_seconds(),
        bucket: buckets
            .map(|((upper_bound, cumulative_count), exemplar)| Bucket {
                cumulative_count,
                upper_bound,
                exemplar: exemplar.map(of_exemplar),
            })
            .collect(),
        schema: SCALE,
        zero_count: distribution.zero,
        positive_span,
        positive_delta,
        exemplars: exemplars.into_iter().map(of_exemplar).collect(),
    }
}

/// Where the buckets are, and the difference of each to the one before.
fn native(buckets: &[(i32, u64)]) -> (Vec<BucketSpan>, Vec<i64>) {
    let mut spans: Vec<BucketSpan> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut end, mut before) = (0, 0);
    for (index, count) in buckets {
        let place = index + 1;
        match spans.last_mut() {
            Some(span) if place == end => span.length += 1,
            _ => spans.push(BucketSpan {
                offset: place - end,
                length: 1,
            }),
        }
        end = place + 1;
        let count = count.cast_signed();
        deltas.push(count.wrapping_sub(before));
        before = count;
    }
    if spans.is_empty() {
        // An empty one would not be told from a classic one.
        spans.push(BucketSpan {
            offset: 0,
            length: 0,
        });
    }
    (spans, deltas)
}

fn of_exemplar(exemplar: &windows::Exemplar) -> Exemplar {
    let trace_id = u128::from_be_bytes(exemplar.trace_id);
    let nanos = i32::try_from(exemplar.at_ns % 1_000_000_000).unwrap_or(0);
    Exemplar {
        label: vec![
            pair("trace_id", format!("{trace_id:032x}")),
            pair("item_id", exemplar.item.to_string()),
        ],
        value: exemplar.value_ns as f64 / 1e9,
        timestamp: Some(Timestamp {
            seconds: (exemplar.at_ns / 1_000_000_000).cast_signed(),
            nanos,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_telemetry::histogram::{Histogram as Recorded, upper_bound_ns};
    use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as theirs;

    fn recorded(values: &[u64]) -> Recorded {
        let mut recorded = Recorded::new();
        values.iter().for_each(|ns| recorded.record(*ns));
        recorded
    }

    fn read(family: Family) -> theirs::MetricFamily {
        theirs::MetricFamily::decode_length_delimited(write(&[family]).as_slice()).unwrap()
    }

    fn times(values: &[u64], exemplars: Vec<windows::Exemplar>) -> theirs::Histogram {
        let times = Value::Times(Distribution::of(&recorded(values)), exemplars);
        let read = read(Family::histogram("x_seconds", "X").of(times));
        assert_eq!(read.r#type(), theirs::MetricType::Histogram);
        assert_eq!(read.unit, "seconds");
        read.metric[0].histogram.clone().unwrap()
    }

    /// As the format's documentation says: each native bucket's upper bound and count.
    fn buckets(histogram: &theirs::Histogram) -> Vec<(f64, i64)> {
        let (mut place, mut count) = (0, 0);
        let mut deltas = histogram.positive_delta.iter();
        let mut found = Vec::new();
        for span in &histogram.positive_span {
            place += span.offset;
            for _ in 0..span.length {
                count += deltas.next().unwrap();
                found.push((f64::exp2(f64::from(place) / 16.0), count));
                place += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        found
    }

    #[test]
    fn native_buckets_hold_what_was_recorded() {
        let values = [
            0,
            0,
            1,
            1000,
            1000,
            1030,
            1_000_000_000,
            1_000_000_001,
            1 << 50,
        ];
        let written = times(&values, Vec::new());
        assert_eq!((written.schema, written.zero_count), (4, 2));
        assert_eq!((written.sample_count, written.zero_threshold), (9, 0.0));
        let recorded = recorded(&values);
        let expected = recorded.buckets().map(|(index, count)| {
            let bound = f64::exp2(f64::from(index + 1) / 16.0);
            let ns = upper_bound_ns(index) as f64;
            assert!((bound * 1e9 - ns).abs() <= 1.0 + ns * 1e-12, "{index}");
            (bound, count.cast_signed())
        });
        assert_eq!(buckets(&written), expected.collect::<Vec<_>>());
        let one_second = buckets(&written)
            .into_iter()
            .find(|(bound, _)| *bound == 1.0);
        assert_eq!(
            one_second,
            Some((1.0, 1)),
            "1 s is within the bucket that ends there"
        );
    }

    #[test]
    fn an_empty_histogram_is_native_too() {
        let written = times(&[], Vec::new());
        let span = theirs::BucketSpan {
            offset: 0,
            length: 0,
        };
        assert_eq!(written.positive_span, [span]);
        assert_eq!(written.bucket.len(), 34);
    }

    #[test]
    fn classic_buckets_and_examples_go_with_it() {
        let exemplar = |value_ns, at_ns| windows::Exemplar {
            trace_id: [1; 16],
            item: 5,
            value_ns,
            at_ns,
        };
        let exemplars = vec![
            exemplar(10, 2_000_000_007),
            exemplar(900_000_000, 1_000_000_000),
        ];
        let written = times(&[10, 900_000_000], exemplars);
        let (first, last) = (&written.bucket[0], &written.bucket[33]);
        assert_eq!((first.cumulative_count, last.cumulative_count), (1, 2));
        assert_eq!(
            (first.upper_bound, last.upper_bound),
            (f64::exp2(-20.0), f64::INFINITY)
        );
        let example = first.exemplar.clone().unwrap();
        assert_eq!(example.label[0].value, "01".repeat(16));
        assert_eq!(
            (example.label[1].value.as_str(), example.value),
            ("5", 1e-8)
        );
        let at: Vec<_> = written
            .exemplars
            .iter()
            .map(|exemplar| exemplar.timestamp.unwrap())
            .collect();
        assert_eq!((at[0].seconds, at[1].seconds, at[1].nanos), (1, 2, 7));
    }

    #[test]
    fn counters_and_gauges_are_read_as_such() {
        let counter = read(Family::counter("x_total", "X").of(Value::Whole(7)));
        assert_eq!(
            (counter.r#type(), counter.name.as_str()),
            (theirs::MetricType::Counter, "x_total")
        );
        assert_eq!(counter.metric[0].counter.as_ref().unwrap().value, 7.0);
        let gauge = read(Family::gauge("x", "X").by("state", [("a", Value::Real(0.5))]));
        assert_eq!(gauge.r#type(), theirs::MetricType::Gauge);
        assert_eq!(gauge.metric[0].gauge.as_ref().unwrap().value, 0.5);
        let label = &gauge.metric[0].label[0];
        assert_eq!((label.name.as_str(), label.value.as_str()), ("state", "a"));
    }
}
