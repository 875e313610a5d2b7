//! Tables in documents: a row that stands outside of its table, and a paragraph that became a row, are shown by no editor as
//! what was meant.

use super::markdown::prose;
use super::rules::Breach;

/// Every row without a head, every row with another number of cells than its head, and every line of prose right below a
/// table.
pub(super) fn breaches(text: &str) -> Vec<Breach> {
    let lines: Vec<(usize, &str)> = prose(text).collect();
    let mut found = Vec::new();
    let mut columns = None;
    for (index, (number, line)) in lines.iter().enumerate() {
        let next = lines.get(index + 1).map_or("", |(_, line)| line);
        let fault = match (columns, line.starts_with('|')) {
            (None, true) if !is_rule(next) => Some("the row stands outside of a table"),
            (None, true) => {
                columns = Some(cells(line));
                None
            }
            (Some(expected), true) if cells(line) != expected => {
                Some("the row has another number of cells than the head of its table")
            }
            (Some(_), false) => {
                columns = None;
                (!line.trim().is_empty())
                    .then_some("an empty line is missing between the table and what follows")
            }
            _ => None,
        };
        found.extend(fault.map(|text| Breach { line: *number, text: text.to_owned() }));
    }
    found
}

/// Whether a line is the one below the head of a table.
fn is_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains("---") && line.chars().all(|c| "|-: ".contains(c))
}

/// How many cells a row has. A bar behind a backslash is text.
fn cells(line: &str) -> usize {
    line.trim_end().replace("\\|", "").matches('|').count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_tables_and_prose_does_not() {
        let sound = "a\n\n| a | b |\n|---|---:|\n| c | `d\\|e` |\n\nf\n```\n| g\n```\n";
        assert_eq!(breaches(sound), []);
        let torn =
            "| a | b |\n|---|---|\n| c | d |\n\n| e | f |\n\n| a |\n|---|\nprose\n| a |\n|---|\n| b | c |\n";
        let lines: Vec<usize> = breaches(torn).into_iter().map(|breach| breach.line).collect();
        assert_eq!(lines, [5, 9, 12]);
    }
}
