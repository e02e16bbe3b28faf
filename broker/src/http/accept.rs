//! Which of the types that there are the client would rather have (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// One type of an Accept header, with its parameters, and how much it is wanted.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// As in `text/plain`; the stars too.
    pub(super) kind: &'a str,
    parameters: &'a str,
    /// In thousandths.
    weight: u32,
}

impl Wanted<'_> {
    /// A parameter's value, without quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(self.parameters, name)
    }

    fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    /// It is this type, without looking at its parameters, or stands for any.
    pub(super) fn includes(&self, kind: &str) -> bool {
        let group = kind.split('/').next().unwrap_or_default();
        let any_of_group = self.kind.strip_suffix("/*");
        self.is(kind) || self.is("*/*") || any_of_group == Some(group)
    }
}

/// Of `offers`, in the order in which they are offered, the one that the client wants most. Where it says nothing, the first
/// one; where it wants none of them: none.
pub(super) fn best<T: Copy>(
    headers: &HeaderMap,
    offers: &[T],
    fits: impl Fn(T, &Wanted<'_>) -> bool,
) -> Option<T> {
    let lines = headers.get_all(header::ACCEPT);
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return offers.first().copied();
    }
    let wanted: Vec<_> = lines
        .iter()
        .flat_map(|line| line.split(','))
        .map(read)
        .collect();
    let weight = |offer: T| {
        let fitting = wanted.iter().filter(|wanted| fits(offer, wanted));
        // What is named counts more than a star: `text/plain;q=0, */*` does not want text.
        let closest = fitting.max_by_key(|wanted| (closeness(wanted), wanted.weight));
        closest.map_or(0, |wanted| wanted.weight)
    };
    let weighed = offers.iter().map(|offer| (weight(*offer), *offer));
    // Of equals the first one: `max_by_key` would take the last.
    let mut best: Option<(u32, T)> = None;
    for (weight, offer) in weighed.filter(|(weight, _)| *weight > 0) {
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, offer));
        }
    }
    best.map(|(_, offer)| offer)
}

fn closeness(wanted: &Wanted<'_>) -> u8 {
    match wanted.kind {
        "*/*" => 0,
        kind if kind.ends_with("/*") => 1,
        _ => 2,
    }
}

fn read(text: &str) -> Wanted<'_> {
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = parameter(parameters, "q").and_then(|weight| weight.parse::<f32>().ok());
    let weight = weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0;
    Wanted {
        kind: kind.trim(),
        parameters,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 1000"
        )]
        weight: weight.round() as u32,
    }
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let pairs = parameters
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
    found
        .next()
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "text/plain";
    const JSON: &str = "application/json";

    fn chosen(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        best(&headers, &[JSON, TEXT], |kind, wanted| {
            wanted.includes(kind)
        })
    }

    #[test]
    fn the_one_that_is_wanted_most_is_chosen() {
        assert_eq!(chosen("text/plain"), Some(TEXT));
        assert_eq!(chosen("Text/Plain"), Some(TEXT));
        assert_eq!(
            chosen("application/json;q=0.5, text/plain;q=0.7"),
            Some(TEXT)
        );
        assert_eq!(
            chosen("application/json;q=0.7,text/plain; q=0.70"),
            Some(JSON)
        );
        assert_eq!(chosen("text/*"), Some(TEXT));
        assert_eq!(
            chosen("text/html,application/xhtml+xml,*/*;q=0.8"),
            Some(JSON)
        );
        assert_eq!(chosen("application/json;q=0, */*"), Some(TEXT));
    }

    #[test]
    fn who_says_nothing_gets_the_first_and_who_wants_none_none() {
        assert_eq!(chosen(""), Some(JSON));
        assert_eq!(chosen(" "), Some(JSON));
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("text/plain;q=0"), None);
        assert_eq!(chosen(";;q=;,,="), None);
    }

    #[test]
    fn parameters_are_read_without_quotes() {
        let wanted = read("a/b; Version = \"1.0\" ;q=0.25");
        assert_eq!(wanted.parameter("version"), Some("1.0"));
        assert_eq!((wanted.parameter("v"), wanted.weight), (None, 250));
    }
}
