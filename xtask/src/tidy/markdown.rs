//! The text of a document, taken apart into prose and fenced blocks of code.
//!
//! Knows fences of three backticks, which is what our documents use. It knows nothing of what stands in a block.

/// A fenced block of code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The line of its first fence, counted from 1.
    pub(super) line: usize,
    /// What stands behind the first fence: the language, and what else is said of the block.
    pub(super) info: &'a str,
    /// What stands between the fences.
    pub(super) text: &'a str,
}

impl<'a> Block<'a> {
    /// The first word of the info.
    pub(super) fn language(&self) -> &'a str {
        self.notes().next().unwrap_or_default()
    }

    /// The words of the info.
    pub(super) fn notes(&self) -> impl Iterator<Item = &'a str> {
        self.info.split_whitespace()
    }
}

/// Where the fences are.
const FENCE: &str = "```";

/// Every block. One that is never closed ends with the document.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str, usize)> = None;
    let mut at = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let end = at + line.len();
        if let Some(info) = line.trim_start().strip_prefix(FENCE) {
            open = match open {
                None => Some((number, info.trim(), end)),
                Some((line, info, start)) => {
                    found.push(Block { line, info, text: text.get(start..at).unwrap_or_default() });
                    None
                }
            };
        }
        at = end;
    }
    if let Some((line, info, start)) = open {
        found.push(Block { line, info, text: text.get(start..).unwrap_or_default() });
    }
    found
}

/// Lines with their numbers, but for those of code blocks.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with(FENCE);
        in_code ^= fence;
        !in_code && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_prose_and_blocks() {
        let text = "a\n```toml test\nb = 1\n\nc = 2\n```\nd\n```\ne\n";
        let expected = [
            Block { line: 2, info: "toml test", text: "b = 1\n\nc = 2\n" },
            Block { line: 8, info: "", text: "e\n" },
        ];
        assert_eq!(blocks(text), expected);
        assert_eq!(expected[0].language(), "toml");
        assert_eq!(prose(text).collect::<Vec<_>>(), [(1, "a"), (7, "d")]);
    }
}
