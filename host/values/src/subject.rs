//! Subjects and subject patterns, as NATS defines them.
//!
//! Promises that whatever passes [`check`] can be published and that [`Pattern`] answers exactly as the
//! server does. Refuses to know what a subject is used for.
//!
//! Source: NATS documentation, "Subject-Based Messaging".

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest subject in bytes that Heddle publishes or routes. The server's own limit is its control
/// line (4,096 by default), which also carries the reply subject and sizes.
pub const MAX_SUBJECT: usize = 1024;

/// Why a text is not a subject or not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// Nothing was given: a subject has at least one token.
    #[error("subject is empty")]
    Empty,
    /// The text is longer than [`MAX_SUBJECT`]; this is its length in bytes.
    #[error("subject has {0} bytes, more than {MAX_SUBJECT}")]
    TooLong(usize),
    /// The text begins or ends with a dot, or has two in a row.
    #[error("subject `{0}` has an empty token")]
    EmptyToken(String),
    /// A character of the text, shown escaped, would break the server's protocol or be hard to see.
    #[error("subject `{0}` has white space or a control character")]
    Blank(String),
    /// `*` or `>` stands in a subject to be published on. Patterns never fail by this.
    #[error("subject `{0}` has a wildcard")]
    Wildcard(String),
    /// In a pattern, `*` or `>` stands beside other characters, where the server takes it literally.
    #[error("subject `{0}` has a wildcard that is not a token of its own")]
    PartWildcard(String),
    /// In a pattern, tokens follow `>`, so that nothing could match.
    #[error("subject `{0}` has `>` before its last token")]
    TailNotLast(String),
}

/// Checks that `text` is a subject that can be published: no empty token, no blank, and neither `*` nor `>` anywhere.
/// The server would take them literally inside a token, but nobody could subscribe to just that.
pub fn check(text: &str) -> Result<(), Error> {
    check_tokens(text)?;
    if text.contains(['*', '>']) {
        return Err(Error::Wildcard(text.to_owned()));
    }
    Ok(())
}

fn check_tokens(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > MAX_SUBJECT {
        return Err(Error::TooLong(text.len()));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::Blank(text.escape_debug().to_string()));
    }
    if text.split('.').any(str::is_empty) {
        return Err(Error::EmptyToken(text.to_owned()));
    }
    Ok(())
}

/// One token of a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Token {
    /// This very text.
    Literal(Box<str>),
    /// `*`: any one token.
    Any,
    /// `>`: one or more tokens, at the end.
    Tail,
}

/// A subject in which `*` stands for one token and a final `>` for one or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    tokens: Box<[Token]>,
}

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern's tokens.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether the pattern has a wildcard.
    pub fn is_wild(&self) -> bool {
        self.tokens.iter().any(|token| !matches!(token, Token::Literal(_)))
    }

    /// Whether `subject` falls under this pattern.
    pub fn matches(&self, subject: &str) -> bool {
        let mut rest = subject.split('.');
        for token in &self.tokens {
            match (token, rest.next()) {
                (Token::Tail, Some(_)) => return true,
                (Token::Any, Some(_)) => {}
                (Token::Literal(text), Some(part)) if **text == *part => {}
                _ => return false,
            }
        }
        rest.next().is_none()
    }

    /// Whether some subject falls under both patterns.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let mut mine = self.tokens.iter();
        let mut theirs = other.tokens.iter();
        loop {
            match (mine.next(), theirs.next()) {
                (Some(Token::Tail), Some(_)) | (Some(_), Some(Token::Tail)) => return true,
                (Some(Token::Literal(a)), Some(Token::Literal(b))) if a != b => return false,
                (Some(_), Some(_)) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// Whether every subject under `other` falls under this pattern too.
    pub fn covers(&self, other: &Pattern) -> bool {
        let mut theirs = other.tokens.iter();
        for token in &self.tokens {
            match (token, theirs.next()) {
                (Token::Tail, Some(_)) => return true,
                (_, None | Some(Token::Tail)) => return false,
                (Token::Any, Some(_)) => {}
                (Token::Literal(a), Some(Token::Literal(b))) if a == b => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        check_tokens(text)?;
        let mut tokens = Vec::new();
        for part in text.split('.') {
            if tokens.last() == Some(&Token::Tail) {
                return Err(Error::TailNotLast(text.to_owned()));
            }
            tokens.push(match part {
                "*" => Token::Any,
                ">" => Token::Tail,
                _ if part.contains(['*', '>']) => return Err(Error::PartWildcard(text.to_owned())),
                _ => Token::Literal(part.into()),
            });
        }
        Ok(Pattern { text: text.into(), tokens: tokens.into() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The narrowest single pattern that covers all of `patterns`, if that is narrower than everything.
///
/// A cursor reads at full speed with one filter or none, and much slower with several; so the patterns of
/// many handlers are read through one wildcard.
pub fn common_cover<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Option<Pattern> {
    let mut patterns = patterns.into_iter();
    let mut tokens: Vec<Token> = patterns.next()?.tokens.to_vec();
    for pattern in patterns {
        tokens = join(&tokens, &pattern.tokens);
    }
    if tokens.first() == Some(&Token::Tail) {
        return None;
    }
    let text: Vec<&str> = tokens
        .iter()
        .map(|token| match token {
            Token::Literal(text) => &**text,
            Token::Any => "*",
            Token::Tail => ">",
        })
        .collect();
    text.join(".").parse().ok()
}

fn join(a: &[Token], b: &[Token]) -> Vec<Token> {
    let mut joined = Vec::new();
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x == y => joined.push(x.clone()),
            (Some(Token::Tail), Some(_)) | (Some(_), Some(Token::Tail)) => {
                joined.push(Token::Tail);
                return joined;
            }
            (Some(_), Some(_)) => joined.push(Token::Any),
            (None, None) => return joined,
            // One of them goes on: `a.b` and `a.b.c` are both under `a.>` only.
            _ => {
                joined.pop();
                joined.push(Token::Tail);
                return joined;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_matches_as_the_server_does() {
        #[track_caller]
        fn check(text: &str, subject: &str, expected: bool) {
            assert_eq!(pattern(text).matches(subject), expected, "`{text}` on `{subject}`");
        }
        check("a.b", "a.b", true);
        check("a.b", "a.b.c", false);
        check("a.*", "a.b", true);
        check("a.*", "a", false);
        check("a.*.c", "a.x.c", true);
        check("a.>", "a.b.c", true);
        check("a.>", "a", false);
        check(">", "a", true);
    }

    #[test]
    fn overlap_and_cover_agree_with_matching() {
        let texts = ["a", "a.b", "a.*", "a.>", "*.b", ">", "*.*", "a.b.c", "*.>", "a.*.c"];
        let subjects = ["a", "a.b", "a.y", "a.b.c", "a.b.d", "x.b", "x.y", "a.x.c", "x", "x.y.z", "a.b.c.d"];
        for a in texts.map(pattern) {
            for b in texts.map(pattern) {
                let both = subjects.iter().any(|s| a.matches(s) && b.matches(s));
                assert_eq!(a.overlaps(&b), both, "`{a}` overlaps `{b}`");
                let all = subjects.iter().filter(|s| b.matches(s)).all(|s| a.matches(s));
                assert_eq!(a.covers(&b), all, "`{a}` covers `{b}`");
            }
        }
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        for bad in ["", "a..b", ".a", "a.", "a b", "a.*", "a.>", ">", "a.b*", "a\r\nb", "a\0"] {
            assert!(check(bad).is_err(), "{bad:?} passed");
        }
        for good in ["a", "a.b-c_d", "order.placed.c=1", "käse.1"] {
            assert!(check(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_pattern_that_the_server_would_take_literally_is_refused() {
        assert!(matches!("a*.b".parse::<Pattern>(), Err(Error::PartWildcard(_))));
        assert!(matches!("a.>.b".parse::<Pattern>(), Err(Error::TailNotLast(_))));
    }

    #[test]
    fn the_common_cover_covers_each_and_is_none_when_it_would_be_everything() {
        #[track_caller]
        fn check(texts: &[&str], expected: Option<&str>) {
            let patterns: Vec<Pattern> = texts.iter().map(|text| pattern(text)).collect();
            let cover = common_cover(&patterns);
            assert_eq!(cover.as_ref().map(Pattern::as_str), expected);
            if let Some(cover) = cover {
                assert!(patterns.iter().all(|p| cover.covers(p)));
            }
        }
        check(&["a.b"], Some("a.b"));
        check(&["a.b", "a.c"], Some("a.*"));
        check(&["a.b.*", "a.b"], Some("a.>"));
        check(&["a.b", "c.d"], Some("*.*"));
        check(&["a.>", "b.>"], Some("*.>"));
        check(&["a", "b.c"], None);
    }
}
