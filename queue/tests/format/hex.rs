//! Fixtures are text, so that a change of them can be reviewed.

use std::fmt::Write;

/// Lines of `name hex`.
pub(crate) fn parse(fixture: &str) -> Vec<(&str, Vec<u8>)> {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, digits) = line.split_once(' ').expect("a name and its bytes");
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
            (name, (0..digits.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

pub(crate) fn line(name: &str, bytes: &[u8]) -> String {
    let mut line = format!("{name} ");
    for byte in bytes {
        write!(line, "{byte:02x}").expect("a string takes it");
    }
    line
}
