//! Metrics as the test agent has received them by OTLP.

use serde::Deserialize;

use crate::attributes::{Attributes, Origin, Value, attributes, decimal};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    /// What emitted it calls itself.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) points: Vec<Point>,
}

/// One set of attributes at one moment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Point {
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Attributes,
    /// Since 1970.
    #[serde(rename = "time_unix_nano", deserialize_with = "decimal")]
    pub(crate) at_ns: u64,
    /// Of a counter or a gauge of whole numbers.
    #[serde(default, rename = "as_int", deserialize_with = "optional_decimal")]
    pub(crate) int: Option<i64>,
    /// Of a counter or a gauge.
    #[serde(default, rename = "as_double")]
    pub(crate) float: Option<f64>,
    /// Of a histogram.
    #[serde(default, deserialize_with = "optional_decimal")]
    pub(crate) count: Option<u64>,
    /// Of a histogram.
    #[serde(default)]
    pub(crate) sum: Option<f64>,
    /// Upper bounds of a histogram's buckets.
    #[serde(default, rename = "explicit_bounds")]
    pub(crate) bounds: Vec<f64>,
}

fn optional_decimal<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    decimal(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    resource_metrics: Vec<OfResource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfResource {
    #[serde(default)]
    resource: Origin,
    #[serde(default, rename = "schema_url")]
    _schema: String,
    #[serde(default)]
    scope_metrics: Vec<OfScope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfScope {
    #[serde(default, rename = "scope")]
    _scope: Origin,
    #[serde(default, rename = "schema_url")]
    _schema: String,
    #[serde(default)]
    metrics: Vec<OfName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfName {
    name: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    unit: String,
    #[serde(alias = "sum", alias = "gauge", alias = "exponential_histogram")]
    histogram: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    data_points: Vec<Point>,
}

/// Reads the agent's answer: a list of export requests.
pub(crate) fn parse(answer: &str) -> Result<Vec<Metric>, serde_json::Error> {
    let requests: Vec<Request> = serde_json::from_str(answer)?;
    let mut found = Vec::new();
    for resource in requests.into_iter().flat_map(|one| one.resource_metrics) {
        let service = resource.resource.attributes.get("service.name");
        let service = service.and_then(Value::text).unwrap_or_default();
        for metric in resource.scope_metrics.into_iter().flat_map(|of| of.metrics) {
            found.push(Metric {
                service: service.to_owned(),
                name: metric.name,
                unit: metric.unit,
                points: metric.histogram.data_points,
            });
        }
    }
    Ok(found)
}
