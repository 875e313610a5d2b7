//! Routing: which handlers an event goes to.

use std::collections::HashMap;

use heddle_values::handlers::HandlerIx;
use heddle_values::subject::{Pattern, Token};

/// A trie over subject tokens. Matching costs one step for each token, however many handlers there are.
#[derive(Debug, Default)]
pub struct Routes {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// Handlers whose pattern ends here.
    here: Vec<HandlerIx>,
    /// Handlers whose pattern ends here with `>`.
    tail: Vec<HandlerIx>,
}

impl Routes {
    /// Sends what falls under `pattern` to `handler`.
    pub fn add(&mut self, pattern: &Pattern, handler: HandlerIx) {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            node = match token {
                Token::Literal(text) => node.literal.entry(text.clone()).or_default(),
                Token::Any => node.any.get_or_insert_default(),
                Token::Tail => {
                    node.tail.push(handler);
                    return;
                }
            };
        }
        node.here.push(handler);
    }

    /// The handlers of `subject`, each once, in ascending order.
    pub fn find(&self, subject: &str, found: &mut Vec<HandlerIx>) {
        found.clear();
        self.root.find(subject.split('.'), found);
        found.sort_unstable();
        found.dedup();
    }
}

impl Node {
    fn find<'a>(&self, mut rest: impl Iterator<Item = &'a str> + Clone, found: &mut Vec<HandlerIx>) {
        let Some(token) = rest.next() else {
            found.extend(&self.here);
            return;
        };
        found.extend(&self.tail);
        if let Some(node) = self.literal.get(token) {
            node.find(rest.clone(), found);
        }
        if let Some(node) = &self.any {
            node.find(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trie_agrees_with_matching_pattern_by_pattern() {
        let texts = ["a", "a.b", "a.*", "a.>", "*.b", ">", "*.*", "a.b.c", "*.>", "a.*.c", "a.b"];
        let patterns: Vec<Pattern> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut routes = Routes::default();
        for (place, pattern) in patterns.iter().enumerate() {
            routes.add(pattern, HandlerIx::new(place));
        }
        let mut found = Vec::new();
        for subject in ["a", "a.b", "a.b.c", "x.b", "x", "a.x.c", "x.y.z", "a.b.c.d"] {
            routes.find(subject, &mut found);
            let matches = |place: &usize| patterns[*place].matches(subject);
            let expected: Vec<usize> = (0..patterns.len()).filter(matches).collect();
            let found: Vec<usize> = found.iter().map(|handler| handler.place()).collect();
            assert_eq!(found, expected, "{subject}");
        }
    }

    #[test]
    fn a_handler_with_two_matching_patterns_gets_the_event_once() {
        let mut routes = Routes::default();
        routes.add(&"a.*".parse().unwrap(), HandlerIx::new(3));
        routes.add(&"a.>".parse().unwrap(), HandlerIx::new(3));
        let mut found = Vec::new();
        routes.find("a.b", &mut found);
        assert_eq!(found, [HandlerIx::new(3)]);
    }
}
