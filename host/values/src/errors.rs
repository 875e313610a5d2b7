//! Errors as text, for logs and for the causes of other errors.
//!
//! Refuses to know what any error is about, and who reads it.

/// An error with all its causes in one line; a cause that its effect already quotes is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn every_cause_is_written_once() {
        let root = Link("no such file", None);
        let quoted = Link("failed to read: no such file", Some(Box::new(root)));
        let error = Link("failed to start", Some(Box::new(quoted)));
        assert_eq!(chain(&error), "failed to start: failed to read: no such file");
    }
}
