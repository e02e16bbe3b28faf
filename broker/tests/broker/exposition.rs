//! What /metrics says, read strictly: whatever the formats forbid is a panic. Written from the formats' documents, not from
//! what the broker writes.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as wire;
use prost::Message as _;

type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) at: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) exemplar: Option<Exemplar>,
}

/// Of a counter under its stored name, which ends in `_total`.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) families: BTreeMap<String, Family>,
}

impl Exposition {
    /// The value of the one series with these labels .
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<_> = self.matching(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].value
    }

    /// All series together.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    pub(crate) fn matching(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> impl Iterator<Item = &Sample> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples.filter(move |sample| {
            let has = |(name, value): &(&str, &str)| {
                sample.labels.get(*name).map(String::as_str) == Some(*value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// Every value that a label has anywhere.
    pub(crate) fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples
            .filter_map(|sample| sample.labels.get(label).map(String::as_str))
            .collect()
    }

    fn check(self) -> Self {
        let mut series = BTreeSet::new();
        for (name, family) in &self.families {
            assert!(!family.samples.is_empty(), "{name} has no series");
            for sample in &family.samples {
                assert!(
                    series.insert((&sample.name, &sample.labels)),
                    "{sample:?} is there twice"
                );
            }
            match family.kind.as_str() {
                "counter" => {
                    let fits = |sample: &Sample| sample.name == *name && sample.value >= 0.0;
                    assert!(
                        name.ends_with("_total") && family.samples.iter().all(fits),
                        "{name}"
                    );
                }
                "gauge" => assert!(family.samples.iter().all(|sample| sample.name == *name)),
                "histogram" => check_histogram(name, &family.samples),
                other => panic!("{name} is a {other}"),
            }
        }
        self
    }
}

fn check_histogram(name: &str, samples: &[Sample]) {
    let mut histograms: BTreeMap<Labels, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        histograms.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in histograms {
        let only = |suffix: &str| {
            let of = |sample: &&&Sample| sample.name == format!("{name}_{suffix}");
            let found: Vec<_> = samples.iter().filter(of).collect();
            assert_eq!(found.len(), 1, "{name}_{suffix} {labels:?}");
            found[0].value
        };
        let buckets = samples
            .iter()
            .filter(|sample| sample.name == format!("{name}_bucket"));
        let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
        for bucket in buckets {
            let le: f64 = bucket.labels["le"].parse().unwrap();
            assert!(le > bound && bucket.value >= count, "{bucket:?}");
            if let Some(exemplar) = &bucket.exemplar {
                assert!(exemplar.value <= le && exemplar.value > bound, "{bucket:?}");
            }
            (bound, count) = (le, bucket.value);
        }
        assert_eq!(
            (bound, count),
            (f64::INFINITY, only("count")),
            "{name} {labels:?}"
        );
        assert!(only("sum") >= 0.0);
    }
}

/// Text format 0.0.4, or OpenMetrics 1.0.
pub(crate) fn read_text(text: &str, open_metrics: bool) -> Exposition {
    let mut exposition = Exposition::default();
    let body = match open_metrics {
        true => text
            .strip_suffix("# EOF\n")
            .expect("OpenMetrics ends with # EOF"),
        false => text,
    };
    assert!(body.ends_with('\n') && !body.contains('\r'));
    let mut current = String::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name) = (words.next().unwrap(), words.next().unwrap());
            let rest = words.next().unwrap();
            read_comment(
                &mut exposition,
                &mut current,
                (word, name, rest),
                open_metrics,
            );
            continue;
        }
        let sample = read_sample(line, open_metrics);
        let family = exposition.families.get_mut(&current).unwrap();
        let suffixes: &[&str] = match (family.kind.as_str(), open_metrics) {
            ("counter", true) => &["_total"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let fits = |suffix: &&str| sample.name == format!("{current}{suffix}");
        assert!(suffixes.iter().any(fits), "{line} is in {current}");
        let may_have_one = sample.name.ends_with("_bucket");
        assert!(sample.exemplar.is_none() || may_have_one, "{line}");
        family.samples.push(sample);
    }
    let named = exposition.families.into_iter().map(|(name, family)| {
        let counts = open_metrics && family.kind == "counter";
        (if counts { name + "_total" } else { name }, family)
    });
    let families = named.collect();
    Exposition { families }.check()
}

fn read_comment(
    exposition: &mut Exposition,
    current: &mut String,
    (word, name, rest): (&str, &str, &str),
    open_metrics: bool,
) {
    if name != current {
        // Families are whole: none comes twice.
        assert!(
            !exposition.families.contains_key(name),
            "{name} comes twice"
        );
        *current = name.to_owned();
    }
    let family = exposition.families.entry(name.to_owned()).or_default();
    assert!(
        family.samples.is_empty(),
        "{word} {name} comes after its series"
    );
    let (place, known): (&mut String, bool) = match word {
        "HELP" => (&mut family.help, true),
        "TYPE" => (&mut family.kind, true),
        "UNIT" => {
            assert!(name.ends_with(&format!("_{rest}")), "{name} is in {rest}");
            assert!(family.unit.replace(rest.to_owned()).is_none());
            assert!(open_metrics, "0.0.4 has no units");
            return;
        }
        _ => panic!("{word} is no word"),
    };
    assert!(
        known && place.is_empty() && !rest.is_empty(),
        "{word} {name}"
    );
    rest.clone_into(place);
}

fn read_sample(line: &str, open_metrics: bool) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (mut labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest),
        None => (Labels::new(), rest),
    };
    let rest = rest.strip_prefix(' ').unwrap();
    let (value, exemplar) = match rest.split_once(" # {") {
        Some((value, exemplar)) => {
            assert!(open_metrics, "0.0.4 has no exemplars: {line}");
            (value, Some(read_exemplar(exemplar)))
        }
        None => (rest, None),
    };
    if let Some(le) = labels.get_mut("le") {
        // OpenMetrics wants a point where 0.0.4 has none.
        assert!(!open_metrics || le.contains(['.', 'e', '+']), "{line}");
        assert!(open_metrics || !le.ends_with(".0"), "{line}");
        *le = number(le).to_string();
    }
    let name = name.to_owned();
    let value = number(value);
    Sample {
        name,
        labels,
        value,
        exemplar,
    }
}

fn read_exemplar(text: &str) -> Exemplar {
    let (labels, rest) = read_labels(text);
    let runes = labels.iter().map(|(name, value)| name.len() + value.len());
    assert!(runes.sum::<usize>() <= 128, "{text}");
    let (value, at) = rest.strip_prefix(' ').unwrap().split_once(' ').unwrap();
    Exemplar {
        labels,
        value: number(value),
        at: number(at),
    }
}

/// What is between the braces, and what comes after them.
fn read_labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, quoted) = rest.split_once("=\"").unwrap();
        assert!(is_name(name) && !name.contains(':'), "{text}");
        let (value, after) = read_quoted(quoted);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        match after.split_at(1) {
            (",", more) => rest = more,
            ("}", after) => return (labels, after),
            _ => panic!("{text}"),
        }
    }
}

fn read_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => panic!("\\{other} in {text}"),
            },
            other => value.push(other),
        }
    }
    panic!("no end of {text}")
}

fn is_name(text: &str) -> bool {
    let first = |char: char| char.is_ascii_alphabetic() || char == '_' || char == ':';
    text.starts_with(first)
        && text
            .chars()
            .all(|char| first(char) || char.is_ascii_digit())
}

fn number(text: &str) -> f64 {
    assert!(!text.contains(char::is_whitespace), "{text:?}");
    match text {
        "+Inf" => f64::INFINITY,
        other => other.parse().unwrap(),
    }
}

/// Prometheus' messages, by its own description of them; and its native histograms, by their labels.
pub(crate) fn read_messages(mut bytes: &[u8]) -> (Exposition, Vec<(Labels, wire::Histogram)>) {
    let mut exposition = Exposition::default();
    let mut native = Vec::new();
    while !bytes.is_empty() {
        let message = wire::MetricFamily::decode_length_delimited(&mut bytes).unwrap();
        let kind = message.r#type().as_str_name().to_lowercase();
        let mut family = Family {
            kind,
            unit: (!message.unit.is_empty()).then_some(message.unit),
            help: message.help,
            samples: Vec::new(),
        };
        for metric in message.metric {
            let labels = labels_of(&metric.label);
            if let Some(histogram) = &metric.histogram {
                native.push((labels.clone(), histogram.clone()));
            }
            family
                .samples
                .extend(samples_of(&message.name, &labels, &metric));
        }
        let known = exposition.families.insert(message.name, family);
        assert!(known.is_none(), "a family comes twice");
    }
    (exposition.check(), native)
}

fn samples_of(name: &str, labels: &Labels, metric: &wire::Metric) -> Vec<Sample> {
    let sample = |suffix: &str, labels: Labels, value: f64| Sample {
        name: format!("{name}{suffix}"),
        labels,
        value,
        exemplar: None,
    };
    if let Some(histogram) = &metric.histogram {
        let buckets = histogram.bucket.iter().map(|bucket| {
            let mut labels = labels.clone();
            labels.insert("le".into(), bucket.upper_bound.to_string());
            Sample {
                exemplar: bucket.exemplar.as_ref().map(exemplar_of),
                ..sample("_bucket", labels, bucket.cumulative_count as f64)
            }
        });
        let count = sample("_count", labels.clone(), histogram.sample_count as f64);
        let sum = sample("_sum", labels.clone(), histogram.sample_sum);
        return buckets.chain([count, sum]).collect();
    }
    let counter = metric.counter.as_ref().map(|counter| counter.value);
    let gauge = metric.gauge.as_ref().map(|gauge| gauge.value);
    vec![sample("", labels.clone(), counter.xor(gauge).unwrap())]
}

fn labels_of(pairs: &[wire::LabelPair]) -> Labels {
    let pairs = pairs
        .iter()
        .map(|pair| (pair.name.clone(), pair.value.clone()));
    pairs.collect()
}

pub(crate) fn exemplar_of(exemplar: &wire::Exemplar) -> Exemplar {
    let at = exemplar.timestamp.unwrap();
    Exemplar {
        labels: labels_of(&exemplar.label),
        value: exemplar.value,
        at: at.seconds as f64 + f64::from(at.nanos) / 1e9,
    }
}
