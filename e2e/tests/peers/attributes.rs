//! Attributes and numbers as the test agent writes them: protobuf's own JSON, so that ids are base64 and 64-bit numbers
//! text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// By key.
pub(crate) type Attributes = BTreeMap<String, Value>;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) enum Value {
    #[serde(rename = "string_value")]
    Text(String),
    #[serde(rename = "int_value", deserialize_with = "decimal")]
    Int(i64),
    #[serde(rename = "double_value")]
    Float(f64),
    #[serde(rename = "bool_value")]
    Bool(bool),
    #[serde(rename = "array_value")]
    List(List),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    #[serde(default)]
    pub(crate) values: Vec<Value>,
}

impl Value {
    /// None: it is no text.
    pub(crate) fn text(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: String,
    value: Value,
}

/// Of a resource or a scope.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, rename = "version")]
    _version: String,
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Attributes,
}

/// OpenTelemetry allows a key once.
pub(crate) fn attributes<'de, D: Deserializer<'de>>(from: D) -> Result<Attributes, D::Error> {
    let mut attributes = Attributes::new();
    for Pair { key, value } in Vec::<Pair>::deserialize(from)? {
        if let Some(first) = attributes.insert(key.clone(), value) {
            return Err(Error::custom(format!("{key} again, after {first:?}")));
        }
    }
    Ok(attributes)
}

/// A 64-bit number.
pub(crate) fn decimal<'de, D: Deserializer<'de>, T>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(Error::custom)
}

/// An id of `N` bytes, as hexadecimal digits.
pub(crate) fn id<'de, const N: usize, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let bytes = STANDARD.decode(String::deserialize(from)?);
    let bytes = bytes.map_err(Error::custom)?;
    if bytes.len() != N || bytes.iter().all(|&byte| byte == 0) {
        return Err(Error::custom(format!("{bytes:?} is no id of {N} bytes")));
    }
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("a string takes everything");
    }
    Ok(digits)
}

/// One that may be absent.
pub(crate) fn optional_id<'de, const N: usize, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    id::<N, D>(from).map(Some)
}
