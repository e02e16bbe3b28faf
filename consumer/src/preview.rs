//! A payload as one line that is safe to show: no control codes reach the terminal, and no megabytes.

use std::fmt::Write;

const SHOWN_CHARS: usize = 100;

/// The payload as text, shortened and with control characters escaped; other payloads by their size.
pub(crate) fn preview(payload: &[u8]) -> String {
    let Ok(text) = str::from_utf8(payload) else {
        return format!("<{} bytes>", payload.len());
    };
    let text = text.trim_end();
    if text.is_empty() {
        return format!("<{} bytes>", payload.len());
    }
    let mut shown = String::new();
    for character in text.chars().take(SHOWN_CHARS) {
        if is_safe(character) {
            shown.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        let _ = write!(shown, "… ({} bytes)", payload.len());
    }
    shown
}

/// Not a control character, and none of those that turn the direction of what follows.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_shown_as_it_is() {
        assert_eq!(preview(b"9"), "9");
        assert_eq!(preview("käse 🧀".as_bytes()), "käse 🧀");
    }

    #[test]
    fn padding_is_not_shown() {
        assert_eq!(preview(b"144      \n"), "144");
    }

    #[test]
    fn control_codes_never_reach_the_terminal() {
        assert_eq!(preview(b"a\nb\x1b[31mc"), "a\\nb\\u{1b}[31mc");
        assert_eq!(
            preview("a\u{202e}b\u{9b}c".as_bytes()),
            "a\\u{202e}b\\u{9b}c"
        );
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let hundred = "x".repeat(100);
        assert_eq!(preview(hundred.as_bytes()), hundred);
        let cut = format!("{hundred}… (101 bytes)");
        assert_eq!(preview("x".repeat(101).as_bytes()), cut);
    }

    #[test]
    fn what_is_no_text_is_shown_by_its_size() {
        assert_eq!(preview(&[0xff; 5]), "<5 bytes>");
        assert_eq!(preview(b""), "<0 bytes>");
        assert_eq!(preview(b" \n"), "<2 bytes>");
    }
}
