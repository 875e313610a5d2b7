//! Permissions: what a user of the server may publish and subscribe to, and what is to be granted to one that may not.
//!
//! Promises to judge as the server does: an empty list of what is allowed allows everything, and what is denied is
//! denied even if it is allowed as well.
//!
//! Source: NATS documentation, "Authorization".

use std::fmt;

use super::subject::Pattern;

/// What a user wants to do with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Send a message to it; a request is one.
    Publish,
    /// Receive what is sent to it; answers come to inboxes in this way.
    Subscribe,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
        })
    }
}

/// Which subjects are allowed and denied for one action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Empty: all.
    pub allow: Vec<Pattern>,
    /// Counts for more than `allow`. Empty: nothing is denied.
    pub deny: Vec<Pattern>,
}

impl Subjects {
    /// Whether the server lets one subject pass.
    pub fn permit(&self, subject: &str) -> bool {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(subject));
        allowed && !self.deny.iter().any(|pattern| pattern.matches(subject))
    }

    /// What is denied of the subjects under a pattern; none if that cannot be said to be anything. Several patterns that
    /// only together allow all of it pass.
    pub fn missing(&self, wanted: &Pattern) -> Option<Missing> {
        if let Some(denied) = self.deny.iter().find(|pattern| pattern.overlaps(wanted)) {
            return Some(Missing::Denied(denied.clone()));
        }
        let allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.overlaps(wanted));
        (!allowed).then_some(Missing::NotAllowed)
    }
}

/// Why the server does not let all of a pattern pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A pattern of what is denied covers some of it.
    Denied(Pattern),
    /// No pattern of what is allowed covers any of it.
    NotAllowed,
}

/// What a user may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// By default every subject, as where the server sets no permissions.
    pub publish: Subjects,
    /// By default every subject, as where the server sets no permissions.
    pub subscribe: Subjects,
}

impl Permissions {
    /// The subjects of one action.
    pub fn of(&self, action: Action) -> &Subjects {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }
}

/// Something that the server did not let this host's user do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the user wanted to do with `subject`.
    pub action: Action,
    /// As the server names it, unescaped; a subscription may have been to a pattern.
    pub subject: String,
}

impl Denial {
    /// What the server says of a denial: `Permissions Violation for Publish to "a.b"`. None: it says something else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("Permissions Violation for ")?;
        let (action, rest) = match rest.split_once(" to ")? {
            ("Publish", rest) => (Action::Publish, rest),
            ("Subscription", rest) => (Action::Subscribe, rest),
            _ => return None,
        };
        // A subscription of a group names the group behind its subject.
        let quoted = rest.split("\" using queue").next().unwrap_or(rest);
        let inner = quoted.strip_prefix('"')?.trim_end_matches('"');
        Some(Denial { action, subject: unescaped(inner) })
    }

    /// The narrowest pattern that lets pass what is needed beside this very subject: names of consumers and of inboxes
    /// change, and Heddle needs all of its own subjects. `api` begins the subjects of the JetStream API.
    pub fn grant(&self, inbox_prefix: &str, api: &str) -> String {
        let subject = self.subject.as_str();
        let behind = |prefix: &str| subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
        if behind(inbox_prefix).is_some() {
            return format!("{inbox_prefix}.>");
        }
        if let Some(request) = behind(api) {
            return format!("{api}.{}", requests_like(request));
        }
        let tokens: Vec<&str> = subject.split('.').collect();
        match tokens.as_slice() {
            [namespace @ ("_heddle" | "_heddle_live" | "dead"), app, _, ..] => format!("{namespace}.{app}.>"),
            _ => subject.to_owned(),
        }
    }
}

/// A request to the JetStream API, and all that differ from it in the name of a consumer.
fn requests_like(request: &str) -> String {
    let tokens: Vec<&str> = request.split('.').collect();
    match tokens.as_slice() {
        ["CONSUMER", "CREATE", _] => request.to_owned(),
        ["CONSUMER", "CREATE", stream, ..] => format!("CONSUMER.CREATE.{stream}.>"),
        ["CONSUMER", "MSG", "NEXT", stream, _, ..] => format!("CONSUMER.MSG.NEXT.{stream}.*"),
        ["CONSUMER", verb, stream, _, ..] => format!("CONSUMER.{verb}.{stream}.*"),
        _ => request.to_owned(),
    }
}

/// A text as the server quotes it, without the signs that make it a quotation.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(allow: &[&str], deny: &[&str]) -> Subjects {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Subjects { allow: patterns(allow), deny: patterns(deny) }
    }

    #[test]
    fn a_user_is_judged_as_the_server_does() {
        assert!(Subjects::default().permit("a"));
        let some = subjects(&["a.>", "b.*"], &["a.secret.>"]);
        for (subject, expected) in [("a.b", true), ("a.secret.x", false), ("b.c", true), ("b.c.d", false)] {
            assert_eq!(some.permit(subject), expected, "{subject}");
        }
    }

    #[test]
    fn what_is_missing_of_a_pattern_is_named() {
        let missing = |of: &Subjects, wanted: &str| of.missing(&wanted.parse().unwrap());
        let some = subjects(&["a.>", "_heddle.t.checkpoint.*", "_heddle.t.state.>"], &["a.secret.>"]);
        assert_eq!(missing(&some, "a.*"), None);
        assert_eq!(missing(&some, "a.>"), Some(Missing::Denied("a.secret.>".parse().unwrap())));
        assert_eq!(missing(&some, "c.>"), Some(Missing::NotAllowed));
        // Nobody can say of several patterns whether they leave something out that is needed.
        assert_eq!(missing(&some, "_heddle.t.>"), None);
    }

    #[test]
    fn what_the_server_says_of_a_denial_is_understood() {
        let parsed = |text| Denial::parse(text).map(|denial| (denial.action, denial.subject));
        let publish = parsed(r#"Permissions Violation for Publish to "out."sé\\cret.x""#);
        assert_eq!(publish, Some((Action::Publish, r#"out."sé\cret.x"#.to_owned())));
        let subscribe = parsed(r#"Permissions Violation for Subscription to "_INBOX.a.*""#);
        assert_eq!(subscribe, Some((Action::Subscribe, "_INBOX.a.*".to_owned())));
        let group = parsed(r#"Permissions Violation for Subscription to "a" using queue "q""#);
        assert_eq!(group, Some((Action::Subscribe, "a".to_owned())));
        assert_eq!(parsed("Authorization Violation"), None);
        assert_eq!(parsed("Permissions Violation for"), None);
    }

    #[test]
    fn the_grant_covers_what_is_needed_beside_the_denied_subject() {
        for (subject, grant) in [
            ("$JS.API.STREAM.INFO.T", "$JS.API.STREAM.INFO.T"),
            // A pattern that ends in `>` wants one token more.
            ("$JS.API.CONSUMER.CREATE.T", "$JS.API.CONSUMER.CREATE.T"),
            ("$JS.API.CONSUMER.CREATE.T.name.in.>", "$JS.API.CONSUMER.CREATE.T.>"),
            ("$JS.API.CONSUMER.RESET.T.name", "$JS.API.CONSUMER.RESET.T.*"),
            ("$JS.API.CONSUMER.MSG.NEXT.T.name", "$JS.API.CONSUMER.MSG.NEXT.T.*"),
            ("_heddle.t.checkpoint.3", "_heddle.t.>"),
            ("dead.t.h.in.a", "dead.t.>"),
            ("me.in.abc.*", "me.in.>"),
            ("out.secret.x", "out.secret.x"),
        ] {
            let denial = Denial { action: Action::Publish, subject: subject.to_owned() };
            assert_eq!(denial.grant("me.in", "$JS.API"), grant);
            let imported = Denial { subject: subject.replacen("$JS.API", "$JS.hub.API", 1), ..denial };
            assert_eq!(imported.grant("me.in", "$JS.hub.API"), grant.replacen("$JS.API", "$JS.hub.API", 1));
        }
    }
}
