//! A table in Markdown.

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn markdown(&self) -> String {
        let mut lines = vec![format!("## {}\n", self.title)];
        lines.push(format!("| {} |", self.header.join(" | ")));
        lines.push(format!("|{}", "---|".repeat(self.header.len())));
        lines.extend(
            self.rows
                .iter()
                .map(|row| format!("| {} |", row.join(" | "))),
        );
        lines.push(String::new());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line() {
        let table = Table {
            title: "T".into(),
            header: vec!["a", "b"],
            rows: vec![vec!["1".into(), "2".into()]],
        };
        assert_eq!(
            table.markdown(),
            "## T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        );
    }
}
