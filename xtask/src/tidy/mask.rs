//! Blanks out what is not code: comments, strings and characters. Lines stay where they are.

use std::iter::Peekable;
use std::str::Chars;

/// The code of a Rust file, with spaces in place of all else.
pub(super) fn mask(text: &str) -> String {
    let mut scanner =
        Scanner { rest: text.chars().peekable(), masked: String::with_capacity(text.len()), before: ' ' };
    while let Some(c) = scanner.rest.next() {
        scanner.code(c);
    }
    scanner.masked
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    masked: String,
    /// The last character of code.
    before: char,
}

impl Scanner<'_> {
    fn code(&mut self, c: char) {
        match (c, self.rest.peek()) {
            ('/', Some('/')) => self.line_comment(),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.character_or_lifetime(),
            ('r', Some('"' | '#')) if !is_word(self.before) || self.before == 'b' => self.raw_string(),
            _ => {
                self.masked.push(c);
                self.before = c;
            }
        }
    }

    /// Blanks the next character; false at the end.
    fn blank(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.masked.push(if c == '\n' { '\n' } else { ' ' });
        Some(c)
    }

    fn line_comment(&mut self) {
        self.masked.push(' ');
        while self.rest.peek().is_some_and(|c| *c != '\n') {
            self.blank();
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        self.masked.push(' ');
        self.blank();
        let mut depth = 1;
        while depth > 0 {
            let Some(c) = self.blank() else { return };
            match (c, self.rest.peek()) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.blank();
        }
    }

    fn string(&mut self) {
        self.masked.push(' ');
        while let Some(c) = self.blank() {
            match c {
                '"' => return,
                '\\' => {
                    self.blank();
                }
                _ => {}
            }
        }
    }

    /// Ends at a quote with as many hashes as it began with. A raw name (`r#type`) is left as it is.
    fn raw_string(&mut self) {
        let mut hashes = 0;
        self.masked.push('r');
        self.before = 'r';
        while self.rest.next_if_eq(&'#').is_some() {
            self.masked.push('#');
            hashes += 1;
        }
        if self.rest.peek() != Some(&'"') {
            return;
        }
        self.blank();
        while let Some(c) = self.blank() {
            if c == '"' && (0..hashes).all(|_| self.rest.peek() == Some(&'#') && self.blank().is_some()) {
                return;
            }
        }
    }

    fn character_or_lifetime(&mut self) {
        let mut ahead = self.rest.clone();
        let first = ahead.next();
        let is_character = first == Some('\\') || ahead.next() == Some('\'');
        self.masked.push(if is_character { ' ' } else { '\'' });
        if !is_character {
            return;
        }
        let mut escaped = false;
        while let Some(c) = self.blank() {
            match c {
                '\'' if !escaped => return,
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of a text, without any space.
    fn code(text: &str) -> String {
        let masked = mask(text);
        assert_eq!(masked.lines().count(), text.lines().count());
        masked.split_whitespace().collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f\n */ g"), "acg");
        assert_eq!(code(r#"a("b \" { c", 'd', '\'', '\u{7d}')"#), "a(,,,)");
        assert_eq!(code(r###"a(r#"b " {"#, br"c\", r"d")"###), "a(r##,br,r)".replace("##", "#"));
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        assert_eq!(code("fn a<'b>(c: &'b str, r#type: d) {}"), "fna<'b>(c:&'bstr,r#type:d){}");
        assert_eq!(code("for \"a\""), "for");
    }
}
