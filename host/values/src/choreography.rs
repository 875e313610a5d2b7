//! The choreography: who publishes what for whom, as far as the settings declare it.

use super::settings::{HandlerSettings, Settings};
use super::subject::Pattern;

/// What is worth a look in a choreography.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// These handlers can pass events round in a circle.
    Cycle(Vec<String>),
    /// No handler subscribes to what this one publishes.
    NobodyConsumes {
        /// The one that publishes.
        handler: String,
        /// A pattern of its `publishes`.
        publishes: String,
    },
    /// No handler publishes what this one subscribes to: it comes from outside or not at all.
    NobodyFeeds {
        /// The one that subscribes, to the application's own stream.
        handler: String,
        /// A pattern of its `subscribe`.
        subscribe: String,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::Cycle(handlers) => {
                write!(f, "cycle: {} can pass events round (the hop limit ends it)", handlers.join(" → "))
            }
            Finding::NobodyConsumes { handler, publishes } => {
                write!(f, "handler `{handler}` publishes `{publishes}`, which no handler consumes")
            }
            Finding::NobodyFeeds { handler, subscribe } => {
                write!(
                    f,
                    "handler `{handler}` subscribes to `{subscribe}`, which no handler publishes: it must come from outside"
                )
            }
        }
    }
}

fn overlap<'a>(mut mine: impl Iterator<Item = &'a Pattern>, pattern: &Pattern) -> bool {
    mine.any(|other| other.overlaps(pattern))
}

/// Whether an event that `from` publishes can reach `to`.
pub fn feeds(settings: &Settings, from: &HandlerSettings, to: &HandlerSettings) -> bool {
    to.stream == settings.stream.name
        && to.subscribe.iter().any(|pattern| overlap(from.publishes.iter(), pattern))
}

/// Everything that is worth a look.
pub fn review(settings: &Settings) -> Vec<Finding> {
    let handlers = &settings.handlers;
    let mut findings: Vec<Finding> = cycles(settings).into_iter().map(Finding::Cycle).collect();
    for handler in handlers {
        let name = || handler.name.to_string();
        let subscribed = |pattern: &Pattern| {
            handlers.iter().any(|h| h.stream == settings.stream.name && overlap(h.subscribe.iter(), pattern))
        };
        for pattern in handler.publishes.iter().filter(|pattern| !subscribed(pattern)) {
            findings.push(Finding::NobodyConsumes { handler: name(), publishes: pattern.to_string() });
        }
        let published = |pattern: &Pattern| handlers.iter().any(|h| overlap(h.publishes.iter(), pattern));
        let own = handler.stream == settings.stream.name;
        for pattern in handler.subscribe.iter().filter(|pattern| own && !published(pattern)) {
            findings.push(Finding::NobodyFeeds { handler: name(), subscribe: pattern.to_string() });
        }
    }
    findings
}

/// Groups of handlers that can reach each other and themselves.
fn cycles(settings: &Settings) -> Vec<Vec<String>> {
    let handlers = &settings.handlers;
    let mut reaches: Vec<Vec<bool>> =
        handlers.iter().map(|from| handlers.iter().map(|to| feeds(settings, from, to)).collect()).collect();
    let get = |reaches: &[Vec<bool>], from: usize, to: usize| {
        reaches.get(from).and_then(|row| row.get(to)).copied().unwrap_or(false)
    };
    // Warshall's closure; an application has few handlers.
    for via in 0..handlers.len() {
        for from in 0..handlers.len() {
            for to in 0..handlers.len() {
                if get(&reaches, from, via)
                    && get(&reaches, via, to)
                    && let Some(cell) = reaches.get_mut(from).and_then(|row| row.get_mut(to))
                {
                    *cell = true;
                }
            }
        }
    }
    let mut grouped = vec![false; handlers.len()];
    let mut cycles = Vec::new();
    for first in 0..handlers.len() {
        let mut group = Vec::new();
        for (other, handler) in handlers.iter().enumerate().skip(first) {
            let mutual = get(&reaches, first, other) && get(&reaches, other, first);
            if let Some(done) = grouped.get_mut(other).filter(|done| mutual && !**done) {
                *done = true;
                group.push(handler.name.to_string());
            }
        }
        if !group.is_empty() {
            cycles.push(group);
        }
    }
    cycles
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// A Mermaid flowchart, which GitHub and GitLab draw in Markdown.
    Mermaid,
    /// The language of Graphviz.
    Dot,
}

impl Notation {
    fn subject(self, n: usize, text: &str) -> String {
        match self {
            Notation::Mermaid => format!("    s{n}([\"{text}\"])"),
            Notation::Dot => format!("  s{n} [label=\"{text}\", shape=ellipse];"),
        }
    }

    fn handler(self, name: &str) -> String {
        match self {
            Notation::Mermaid => format!("    h_{name}[\"{name}\"]"),
            Notation::Dot => format!("  \"h_{name}\" [label=\"{name}\", shape=box];"),
        }
    }

    fn edge(self, from: &str, to: &str) -> String {
        match self {
            Notation::Mermaid => format!("    {from} --> {to}"),
            Notation::Dot => format!("  \"{from}\" -> \"{to}\";"),
        }
    }
}

/// The choreography as a graph: subjects are rounded, handlers are boxes.
pub fn graph(settings: &Settings, notation: Notation) -> String {
    let mut subjects: Vec<&Pattern> = Vec::new();
    for pattern in
        settings.handlers.iter().flat_map(|handler| handler.subscribe.iter().chain(&handler.publishes))
    {
        if !subjects.contains(&pattern) {
            subjects.push(pattern);
        }
    }
    let mut lines = Vec::new();
    for (n, pattern) in subjects.iter().enumerate() {
        lines.push(notation.subject(n, pattern.as_str()));
    }
    for handler in &settings.handlers {
        lines.push(notation.handler(&handler.name));
        let node = format!("h_{}", handler.name);
        for (n, pattern) in subjects.iter().enumerate() {
            if handler.subscribe.contains(pattern) {
                lines.push(notation.edge(&format!("s{n}"), &node));
            }
            if handler.publishes.contains(pattern) {
                lines.push(notation.edge(&node, &format!("s{n}")));
            }
        }
    }
    // What is published under one pattern and consumed under another.
    let published = |pattern: &Pattern| settings.handlers.iter().any(|h| h.publishes.contains(pattern));
    let consumed = |pattern: &Pattern| settings.handlers.iter().any(|h| h.subscribe.contains(pattern));
    for (from, p) in subjects.iter().enumerate().filter(|(_, p)| published(p)) {
        for (to, _) in
            subjects.iter().enumerate().filter(|(to, s)| *to != from && consumed(s) && s.overlaps(p))
        {
            lines.push(notation.edge(&format!("s{from}"), &format!("s{to}")));
        }
    }
    let body = lines.join("\n");
    match notation {
        Notation::Mermaid => format!("flowchart LR\n{body}\n"),
        Notation::Dot => format!("digraph \"{}\" {{\n  rankdir=LR;\n{body}\n}}\n", settings.app),
    }
}
