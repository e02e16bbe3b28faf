//! Query parameters: each at most once, none that is not known, percent-decoded.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::error::Error;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// Those that nobody has taken yet.
    left: Vec<(String, String)>,
}

impl Query {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// It is no UTF-8, or a parameter comes twice.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Error> {
        let mut left: Vec<(String, String)> = Vec::new();
        let parameters = query.unwrap_or_default().split('&');
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if left.iter().any(|(known, _)| *known == name) {
                return Err(fault(&name, "is there twice"));
            }
            left.push((name, value));
        }
        Ok(Self { left })
    }

    /// A parameter's value; none: it is not there.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let place = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.swap_remove(place).1)
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<i32>, Error> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        let number = value.parse();
        number
            .map(Some)
            .map_err(|_| fault(name, &format!("is {value:?}, has to be a whole number")))
    }

    /// A length of time, as in `30s` or `1h`.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        let duration = humantime::parse_duration(&value);
        duration
            .map(Some)
            .map_err(|_| fault(name, &format!("is {value:?}; write it as in 30s or 1h")))
    }

    /// To be called when all that is known was taken.
    ///
    /// # Errors
    /// There is a parameter left.
    pub(super) fn done(self) -> Result<(), Error> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(fault(name, "means nothing here")),
        }
    }
}

fn decoded(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Error::invalid("query", "is no UTF-8"))?;
    Ok(decoded.into_owned())
}

fn fault(name: &str, fault: &str) -> Error {
    Error::invalid("query", format!("{name} {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_by_name_and_decoded() {
        let mut query = Query::read(Some("a=1%2F2&window=90s&n=7&flag")).unwrap();
        assert_eq!(query.text("a").as_deref(), Some("1/2"));
        assert_eq!(query.text("a"), None);
        assert_eq!(
            query.duration("window").unwrap(),
            Some(Duration::from_secs(90))
        );
        assert_eq!(query.number("n").unwrap(), Some(7));
        assert_eq!(query.number("m").unwrap(), None);
        assert_eq!(query.text("flag").as_deref(), Some(""));
        query.done().unwrap();
        Query::read(None).unwrap().done().unwrap();
    }

    #[test]
    fn what_is_unknown_doubled_or_malformed_is_told_by_name() {
        let told = |error: Error| {
            assert!(matches!(error, Error::Invalid { field: "query", .. }));
            error.to_string()
        };
        let twice = Query::read(Some("a=1&a=2")).unwrap_err();
        assert!(told(twice).contains("a is there twice"));
        assert!(told(Query::read(Some("a=%ff")).unwrap_err()).contains("UTF-8"));
        let mut query = Query::read(Some("n=many&window=soon&other=1")).unwrap();
        assert!(told(query.number("n").unwrap_err()).contains("many"));
        assert!(told(query.duration("window").unwrap_err()).contains("soon"));
        assert!(told(query.done().unwrap_err()).contains("other"));
    }
}
