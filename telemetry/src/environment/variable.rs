//! How variables are found, and the list that several of them are.

use std::fmt;

use super::Signal;

/// Looks a variable up; None: it is not set.
pub type Read<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A variable that is set, shown as `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As the user wrote it in.
    pub name: String,
    /// Without white space around it; empty where it may be a secret.
    pub value: String,
}

impl Variable {
    /// What can be shown.
    pub(super) fn without_value(self) -> Self {
        Self {
            value: String::new(),
            ..self
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}={}", self.name, self.value)
        }
    }
}

/// An empty one is not set.
pub(crate) fn variable(read: &Read<'_>, name: &str) -> Option<Variable> {
    let value = read(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| Variable {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Of traces for example `OTEL_EXPORTER_OTLP_TRACES_x`, else `OTEL_EXPORTER_OTLP_x`.
pub(super) fn of_signal(read: &Read<'_>, signal: Signal, name: &str) -> Option<Variable> {
    variable(read, &format!("OTEL_EXPORTER_OTLP_{signal}_{name}"))
        .or_else(|| variable(read, &format!("OTEL_EXPORTER_OTLP_{name}")))
}

/// Whatever is not `true` is false.
pub(super) fn is_true(read: &Read<'_>, name: &str) -> bool {
    variable(read, name).is_some_and(|it| it.value.eq_ignore_ascii_case("true"))
}

/// A list as of W3C Baggage without properties: `key1=value1,key2=value2`, keys and values percent-encoded. None: it is
/// not one.
pub(super) fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let entries = list.split(',').map(str::trim);
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    entries.filter(|it| !it.is_empty()).map(pair).collect()
}

/// RFC 3986, section 2.1. None: `%` without two digits behind it, or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let part = part.as_bytes();
        let (high, low) = (digit(*part.first()?)?, digit(*part.get(1)?)?);
        bytes.push(high << 4 | low);
        bytes.extend_from_slice(&part[2..]);
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_its_escapes() {
        let read = pairs(" a = 1 ,b=x%2Cy%3D%25,, c=,d=%C3%A9 %c3%a9,e=f=g").unwrap();
        let expected = [
            ("a", "1"),
            ("b", "x,y=%"),
            ("c", ""),
            ("d", "é é"),
            ("e", "f=g"),
        ];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_list_is_none() {
        for text in [
            "a", "=1", "a=1,b", "a=%", "a=%4", "a=%4g", "a=%ff", "%zz=1", "a=%é1",
        ] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }

    #[test]
    fn the_variable_of_a_signal_goes_first_unless_it_is_empty() {
        let read = |own: &str| {
            let own = own.to_owned();
            move |name: &str| match name {
                "OTEL_EXPORTER_OTLP_TRACES_X" => Some(own.clone()),
                "OTEL_EXPORTER_OTLP_X" => Some("all".to_owned()),
                _ => None,
            }
        };
        assert_eq!(
            of_signal(&read("own"), Signal::Traces, "X").unwrap().value,
            "own"
        );
        assert_eq!(
            of_signal(&read(" "), Signal::Traces, "X").unwrap().value,
            "all"
        );
        assert_eq!(of_signal(&read("own"), Signal::Traces, "Y"), None);
        let metrics = of_signal(&read("own"), Signal::Metrics, "X");
        assert_eq!(metrics.unwrap().value, "all");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let variable = Variable {
            name: "NAME".into(),
            value: "secret".into(),
        };
        assert_eq!(variable.to_string(), "NAME=secret");
        assert_eq!(variable.without_value().to_string(), "NAME");
    }
}
