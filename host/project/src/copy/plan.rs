//! Decides what renewing a copy changes, from three lists of files by their hashes: those that were written, those that are
//! there, and those that are to be there. Reads nothing and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

/// Paths below a copy, with the SHA-256 of what is in them.
pub(super) type Hashes = BTreeMap<String, String>;

/// What becomes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not there: it is new, or somebody has deleted it.
    Add,
    /// It is there with another content.
    Replace,
    /// It is there, and the program's version does not have it.
    Remove,
}

impl Kind {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Add => "add",
            Kind::Replace => "replace",
            Kind::Remove => "remove",
        }
    }
}

/// A file that renewing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Below the copy.
    pub file: String,
    /// What becomes of the file. One that stays as it is has no change.
    pub kind: Kind,
    /// It is there, and not as it was written: what somebody changed in it would be lost.
    pub edited: bool,
}

/// How a copy's version compares with that of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It is of the program's version.
    Same,
    /// It is of an earlier version: `heddle sdk update` renews it.
    Older,
    /// It is of a later version: a newer program is needed, and `heddle sdk update` leaves the copy alone.
    Newer,
    /// It does not say, as copies did not before they had a record.
    Unknown,
}

/// What there is to be changed, in the order of the paths. Without a record, every file that differs may have been edited.
///
/// A file that is neither recorded nor to be written belongs to somebody else and is left alone.
pub(super) fn changes(recorded: Option<&Hashes>, found: &Hashes, wanted: &Hashes) -> Vec<Change> {
    let files: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let change = |file: &String| {
        let written = recorded.and_then(|recorded| recorded.get(file));
        let (found, wanted) = (found.get(file), wanted.get(file));
        let kind = match (found, wanted) {
            (Some(found), Some(wanted)) if found == wanted => return None,
            (Some(_), Some(_)) => Kind::Replace,
            (None, Some(_)) => Kind::Add,
            (Some(_), None) if recorded.is_none() || written.is_some() => Kind::Remove,
            (_, None) => return None,
        };
        Some(Change { file: file.clone(), kind, edited: found.is_some() && found != written })
    };
    files.into_iter().filter_map(change).collect()
}

/// Compares the version that a copy says with that of the program.
pub(super) fn age(copy: Option<&str>, program: &str) -> Age {
    let parse = |text: &str| Version::parse(text).ok();
    match (copy.and_then(parse), parse(program)) {
        (Some(copy), Some(program)) if copy < program => Age::Older,
        (Some(copy), Some(program)) if copy > program => Age::Newer,
        (Some(_), Some(_)) => Age::Same,
        _ => Age::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as `path=content`; the content stands for its hash.
    fn hashes(files: &str) -> Hashes {
        let pairs = files.split_whitespace().filter_map(|file| file.split_once('='));
        pairs.map(|(path, hash)| (path.to_owned(), hash.to_owned())).collect()
    }

    /// Changes as `kind path`, with a `!` where an edit would be lost.
    fn planned(recorded: Option<&str>, found: &str, wanted: &str) -> Vec<String> {
        let recorded = recorded.map(hashes);
        let told = |change: Change| {
            format!("{} {}{}", change.kind.name(), change.file, if change.edited { "!" } else { "" })
        };
        changes(recorded.as_ref(), &hashes(found), &hashes(wanted)).into_iter().map(told).collect()
    }

    #[test]
    fn what_is_as_it_was_written_is_renewed_without_a_question() {
        assert_eq!(planned(Some("a=1 b=1"), "a=1 b=1", "a=2 b=1"), ["replace a"]);
        assert_eq!(planned(Some("a=1 b=1"), "a=1 b=1", "a=1 c=1"), ["remove b", "add c"]);
        assert_eq!(planned(Some("a=1"), "a=1", "a=1"), [""; 0]);
    }

    #[test]
    fn what_was_edited_is_told_apart() {
        assert_eq!(planned(Some("a=1 b=1"), "a=mine b=mine", "a=2"), ["replace a!", "remove b!"]);
        assert_eq!(
            planned(Some("a=1"), "a=mine", "a=1"),
            ["replace a!"],
            "the new one is as the old one was"
        );
        assert_eq!(planned(Some("a=1"), "a=2", "a=2"), [""; 0], "it was edited to what it becomes");
    }

    #[test]
    fn what_was_deleted_comes_back() {
        assert_eq!(planned(Some("a=1"), "", "a=2"), ["add a"]);
    }

    #[test]
    fn a_file_of_somebody_else_stays_unless_the_sdk_has_one_of_its_name() {
        assert_eq!(planned(Some("a=1"), "a=1 notes=1", "a=1"), [""; 0]);
        assert_eq!(planned(Some("a=1"), "a=1 b=mine", "a=1 b=2"), ["replace b!"]);
    }

    #[test]
    fn without_a_record_whatever_differs_may_have_been_edited() {
        assert_eq!(planned(None, "a=1 b=1 c=1", "a=1 b=2 d=1"), ["replace b!", "remove c!", "add d"]);
    }

    #[test]
    fn versions_compare_as_versions_do() {
        for (copy, program, expected) in [
            (Some("0.1.0"), "0.1.0", Age::Same),
            (Some("0.9.0"), "0.10.0", Age::Older),
            (Some("0.2.0-rc.1"), "0.2.0", Age::Older),
            (Some("1.0.0"), "0.10.0", Age::Newer),
            (Some("one"), "0.1.0", Age::Unknown),
            (None, "0.1.0", Age::Unknown),
        ] {
            assert_eq!(age(copy, program), expected, "{copy:?} and {program}");
        }
    }
}
