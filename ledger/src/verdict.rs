//! What took longest and why, in a sentence: of one item, and of a queue over a window.
//!
//! Percentages are of the sum of the parts. What comes within 10 points of the largest is named beside it, so that a
//! sentence never hides a near-tie. Called by `text`, and by whoever answers `GetItem` and `GetLatency`.

mod account;
mod reason;
mod stages;

pub use account::of_account;
pub(crate) use reason::Reason;
pub use stages::of_stages;

/// Where there is nothing to say.
const NOTHING: &str = "nothing was measured";
/// What is this close to the largest is named too, percent of the whole.
const NEAR_POINTS: u128 = 10;
/// More would not be read.
const NAMED_MAX: usize = 3;

/// Something that took time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause<K> {
    kind: K,
    ns: u128,
}

/// What to say of a kind of cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    what: String,
    /// Empty: there is no more to say.
    why: String,
}

/// Those to be named, the largest first; with the sum of all.
fn leading<K: Copy>(mut causes: Vec<Cause<K>>) -> (Vec<Cause<K>>, u128) {
    let whole: u128 = causes.iter().map(|cause| cause.ns).sum();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.ns));
    let most = causes.first().map_or(0, |cause| cause.ns);
    causes.retain(|cause| {
        let near = (most - cause.ns) * 100 <= NEAR_POINTS * whole;
        cause.ns > 0 && near
    });
    causes.truncate(NAMED_MAX);
    (causes, whole)
}

/// `97 % queue wait: no consumer had credit`, or `41 % queue wait (no consumer had credit) and 38 % processing`.
fn sentence(named: &[(u128, Words)], whole: u128) -> String {
    if let [(ns, words)] = named {
        let colon = if words.why.is_empty() { "" } else { ": " };
        return format!("{} {}{colon}{}", percent(*ns, whole), words.what, words.why);
    }
    let mut sentence = String::new();
    for (index, (ns, words)) in named.iter().enumerate() {
        sentence += match index {
            0 => "",
            index if index + 1 == named.len() => " and ",
            _ => ", ",
        };
        sentence += &format!("{} {}", percent(*ns, whole), words.what);
        if !words.why.is_empty() {
            sentence += &format!(" ({})", words.why);
        }
    }
    sentence
}

/// Rounded, but 100 % only where it is all.
fn percent(ns: u128, whole: u128) -> String {
    let rounded = (ns * 100 + whole / 2) / whole.max(1);
    let most = if ns == whole { 100 } else { 99 };
    format!("{} %", rounded.min(most))
}

#[cfg(test)]
mod tests;
