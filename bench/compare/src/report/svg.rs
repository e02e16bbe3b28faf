//! Bars as an SVG that reads on light and on dark ground, without scripts or fonts of its own.

use std::fmt::Write as _;

use super::cells::short;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 130.0;
/// For the figure behind the longest bar.
const FIGURES: f64 = 70.0;
const BAR: f64 = 14.0;
const STEP: f64 = 20.0;
const TITLE: f64 = 28.0;
const GAP: f64 = 14.0;
const LEGEND: f64 = 30.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:13px}.r{text-anchor:end}\
.ours{fill:#0969da}.syncs{fill:#54aeff}.not{fill:#d0a215}.floor{fill:#8c959f}\
.w{stroke:#24292f;stroke-width:1}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.w{stroke:#e6edf3}.ours{fill:#4493f8}.syncs{fill:#1f5fb0}\
.not{fill:#bb8009}.floor{fill:#6e7681}}";

/// What a peer's confirm comes after; the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Syncs,
    DoesNot,
    Floor,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ours, Self::Syncs, Self::DoesNot, Self::Floor];

    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Syncs => "syncs",
            Self::DoesNot => "not",
            Self::Floor => "floor",
        }
    }

    fn legend(self) -> &'static str {
        match self {
            Self::Ours => "Baton, confirms after a sync",
            Self::Syncs => "confirms after a sync",
            Self::DoesNot => "confirms before a sync, or without one",
            Self::Floor => "no queue, no disk",
        }
    }
}

#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// Lowest and highest of all repetitions.
    pub(super) range: (f64, f64),
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

impl Panel {
    fn height(&self) -> f64 {
        TITLE + STEP * self.bars.len() as f64 + GAP
    }
}

pub(super) fn draw(panels: &[Panel]) -> String {
    let height = LEGEND + panels.iter().map(Panel::height).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\"><title>Baton beside other queues</title><style>{STYLE}</style>\n"
    );
    legend(&mut svg);
    let mut top = LEGEND;
    for panel in panels {
        draw_panel(&mut svg, panel, top);
        top += panel.height();
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut left = 0.0;
    for kind in Kind::ALL {
        let class = kind.class();
        rectangle(svg, class, (left, 8.0), 12.0);
        say(svg, "", (left + 17.0, 19.0), kind.legend());
        left += 30.0 + 6.2 * kind.legend().len() as f64;
    }
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64) {
    say(svg, "t", (0.0, top + 18.0), &panel.title);
    let highest = panel.bars.iter().map(|bar| bar.range.1);
    let highest = highest.fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / highest;
    for (index, bar) in panel.bars.iter().enumerate() {
        let top = top + TITLE + STEP * index as f64;
        let middle = top + BAR / 2.0;
        say(svg, "r", (LABELS - 8.0, top + 11.5), &bar.label);
        rectangle(svg, bar.kind.class(), (LABELS, top), bar.value * scale);
        let (low, high) = (LABELS + bar.range.0 * scale, LABELS + bar.range.1 * scale);
        if high - low > 1.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<path class=\"w\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/>"
            );
        }
        let right = LABELS + scale * bar.value.max(bar.range.1);
        say(svg, "", (right + 6.0, top + 11.5), &short(bar.value));
    }
}

fn rectangle(svg: &mut String, class: &str, (x, y): (f64, f64), width: f64) {
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        width.max(1.0)
    );
}

fn say(svg: &mut String, class: &str, (x, y): (f64, f64), text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64, kind: Kind) -> Bar {
        Bar {
            label: label.into(),
            value,
            range: (value / 2.0, value),
            kind,
        }
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_the_others_are_in_proportion() {
        let bars = vec![bar("a", 200.0, Kind::Ours), bar("b", 100.0, Kind::Syncs)];
        let svg = draw(&[Panel {
            title: "t".into(),
            bars,
        }]);
        assert!(
            svg.contains("class=\"ours\" x=\"130.0\" y=\"58.0\" width=\"560.0\""),
            "{svg}"
        );
        assert!(
            svg.contains("class=\"syncs\" x=\"130.0\" y=\"78.0\" width=\"280.0\""),
            "{svg}"
        );
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn text_is_escaped() {
        let svg = draw(&[Panel {
            title: "p99 < 1 & more".into(),
            bars: vec![bar("a", 0.0, Kind::Floor)],
        }]);
        assert!(svg.contains("p99 &lt; 1 &amp; more"));
    }
}
