//! From the exit status to the verdict. Pure.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::verdict::{ERROR_MAX_BYTES, Verdict};

/// EX_DATAERR of sysexits.h: the item itself is bad.
const EXIT_BAD_DATA: i32 = 65;
/// EX_TEMPFAIL of sysexits.h: later, perhaps.
const EXIT_TRY_LATER: i32 = 75;

/// The verdict of a command that ended with `status`; `asked_to_stop`: after we wanted it to.
pub(super) fn verdict(status: ExitStatus, asked_to_stop: bool, stderr_tail: &[u8]) -> Verdict {
    let error = |how: String| explain(how, stderr_tail);
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Done,
        (Some(EXIT_BAD_DATA), _) => Verdict::DeadLetter {
            error: error(format!("gave up (exit status {EXIT_BAD_DATA})")),
        },
        _ if asked_to_stop => Verdict::Interrupted {
            error: error("the consumer was stopped".into()),
        },
        (Some(EXIT_TRY_LATER), _) => Verdict::Failed {
            error: error(format!(
                "asked for another attempt (exit status {EXIT_TRY_LATER})"
            )),
        },
        (Some(code), _) => Verdict::Failed {
            error: error(format!("exit status {code}")),
        },
        (None, Some(signal)) => Verdict::Failed {
            error: error(format!("killed by signal {signal}")),
        },
        (None, None) => Verdict::Failed {
            error: error("ended in an unknown way".into()),
        },
    }
}

/// How it ended and the end of what it said, within what a broker keeps.
fn explain(how: String, stderr_tail: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr_tail);
    let said = said.trim();
    if said.is_empty() {
        return how;
    }
    let room = ERROR_MAX_BYTES - how.len() - ": ".len();
    let mut start = said.len().saturating_sub(room);
    while !said.is_char_boundary(start) {
        start += 1;
    }
    format!("{how}: {}", &said[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn killed(signal: i32) -> ExitStatus {
        ExitStatus::from_raw(signal)
    }

    #[test]
    fn the_exit_status_decides() {
        let failed = |error: &str| Verdict::Failed {
            error: error.into(),
        };
        let dead = |error: &str| Verdict::DeadLetter {
            error: error.into(),
        };
        for (status, wanted) in [
            (exited(0), Verdict::Done),
            (exited(1), failed("exit status 1: why")),
            (exited(64), failed("exit status 64: why")),
            (exited(65), dead("gave up (exit status 65): why")),
            (
                exited(75),
                failed("asked for another attempt (exit status 75): why"),
            ),
            (exited(255), failed("exit status 255: why")),
            (killed(9), failed("killed by signal 9: why")),
        ] {
            assert_eq!(verdict(status, false, b" why\n"), wanted);
        }
    }

    #[test]
    fn a_command_that_was_asked_to_stop_is_not_to_blame() {
        let interrupted = Verdict::Interrupted {
            error: "the consumer was stopped".into(),
        };
        for status in [exited(1), exited(75), exited(143), killed(15), killed(9)] {
            assert_eq!(verdict(status, true, b""), interrupted);
        }
    }

    #[test]
    fn a_command_that_finished_all_the_same_is_believed() {
        assert_eq!(verdict(exited(0), true, b""), Verdict::Done);
        assert!(matches!(
            verdict(exited(65), true, b""),
            Verdict::DeadLetter { .. }
        ));
    }

    #[test]
    fn an_error_keeps_the_end_of_stderr_within_the_limit() {
        let said = format!("{}the end", "ä".repeat(2000));
        let Verdict::Failed { error } = verdict(exited(3), false, said.as_bytes()) else {
            panic!("it failed");
        };
        assert!(
            error.starts_with("exit status 3: ä") && error.ends_with("äthe end"),
            "{error}"
        );
        assert!(
            (1022..=ERROR_MAX_BYTES).contains(&error.len()),
            "{}",
            error.len()
        );
    }

    #[test]
    fn stderr_that_is_no_text_does_no_harm() {
        let Verdict::Failed { error } = verdict(exited(3), false, &[0xff; 1024]) else {
            panic!("it failed");
        };
        assert!(error.len() <= ERROR_MAX_BYTES, "{}", error.len());
    }
}
