//! What others wrote, as one harmless line: no control characters, nothing that reorders or hides what stands beside it.

/// The first line that is not empty, cut to `chars` with a `…` where something is missing.
pub(crate) fn line(text: &str, chars: usize) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let more = if lines.next().is_some() { " …" } else { "" };
    let mut shown = String::new();
    let mut length = 0;
    for (at, one) in first.char_indices() {
        let escaped = escaped(one);
        let rest = first.len() - at - one.len_utf8() + more.len();
        let reserve = usize::from(rest > 0);
        let needed = escaped.chars().count();
        if length + needed + reserve > chars {
            shown.push('…');
            return shown;
        }
        shown.push_str(&escaped);
        length += needed;
    }
    if length + more.chars().count() > chars {
        return format!("{shown}…");
    }
    shown + more
}

/// As in a Rust literal, but for what is harmless.
fn escaped(one: char) -> String {
    match one {
        '"' | '\'' | '\\' => one.to_string(),
        one => one.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_becomes_one_harmless_line() {
        for (text, shown) in [
            ("", ""),
            (" \n\t\n", ""),
            ("boom", "boom"),
            ("say \"it's\" C:\\x", "say \"it's\" C:\\x"),
            ("\nfirst \r\nsecond", "first …"),
            ("a\x1b[31mred\x07\0", "a\\u{1b}[31mred\\u{7}\\0"),
            ("\u{202e}exe.txt\u{200b}", "\\u{202e}exe.txt\\u{200b}"),
            ("Grüße 😀", "Grüße 😀"),
            ("a\rb", "a\\rb"),
        ] {
            assert_eq!(line(text, 60), shown, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_cut_to_fit_and_says_so() {
        for (text, chars, shown) in [
            ("12345", 5, "12345"),
            ("123456", 5, "1234…"),
            ("1234\nx", 6, "1234 …"),
            ("1234\nx", 5, "1234…"),
            ("12345\nx", 5, "1234…"),
            ("123\x1b", 8, "123…"),
            ("123\x1b", 9, "123\\u{1b}"),
            ("123", 1, "…"),
        ] {
            assert_eq!(line(text, chars), shown, "{text:?} {chars}");
        }
    }
}
