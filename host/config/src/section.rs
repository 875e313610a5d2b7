//! One table of the file: typed access that gathers faults instead of stopping at the first.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::str::FromStr;

use serde_spanned::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) blame: Blame,
}

/// Where a fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// In the file.
    File,
    /// In the machine: something that the file names is not there. Only a host needs it.
    Machine,
    /// In the machine, and only whoever builds plugins needs it.
    Sources,
}

/// Faults of all sections of a file.
pub(super) type FaultList = RefCell<Vec<Fault>>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table.
pub(super) struct Section<'a> {
    name: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    faults: &'a FaultList,
    /// Every key that was asked for: the known ones.
    known: BTreeSet<&'static str>,
    /// The unknown keys of the sections in this one. What is known here is told when this one is finished.
    within: UnknownKeys,
    /// Those of the section that this one is in.
    around: Option<UnknownKeys>,
}

/// The unknown keys of sections, with the sections that they are in and the numbers of their faults.
type UnknownKeys = Rc<RefCell<Vec<(String, String, usize)>>>;

impl<'a> Section<'a> {
    pub(super) fn new(name: &str, table: &'a Spanned<DeTable<'a>>, faults: &'a FaultList) -> Self {
        let (span, table) = (table.span(), table.get_ref());
        let (known, within) = (BTreeSet::new(), UnknownKeys::default());
        Section { name: name.to_owned(), table, span, faults, known, within, around: None }
    }

    pub(super) fn fault(&self, span: Range<usize>, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { span, message: message.into(), blame: Blame::File });
    }

    /// Something that the file names is not there.
    pub(super) fn missing(&self, span: Range<usize>, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { span, message: message.into(), blame: Blame::Machine });
    }

    /// Something that a plugin is built from is not there.
    pub(super) fn unbuildable(&self, span: Range<usize>, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { span, message: message.into(), blame: Blame::Sources });
    }

    /// Where the section begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// Every key and value, for tables whose keys the user chooses.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value))
    }

    /// A table in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        self.as_section(key, value)
    }

    /// A value as a table.
    pub(super) fn as_section(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table");
            return None;
        };
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let (known, within) = (BTreeSet::new(), UnknownKeys::default());
        let around = Some(Rc::clone(&self.within));
        Some(Section { name, table, span: value.span(), faults: self.faults, known, within, around })
    }

    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.fault(value.span(), format!("`{key}` is of type {found}, should be {wanted}"));
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Placed<&'a str>> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a text in quotes");
            return None;
        };
        Some(Placed { value: text, span: value.span() })
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Placed<&'a str>> {
        if self.value(key).is_none() {
            let section =
                if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) };
            self.fault(self.span(), format!("`{key}` is missing in {section}"));
            return None;
        }
        self.text(key)
    }

    /// A text that a parser takes.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let Placed { value, span } = self.text(key)?;
        match parse(value) {
            Ok(value) => Some(Placed { value, span }),
            Err(error) => {
                self.fault(span, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// An integer within bounds.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().map(|number| integer(number).unwrap_or(i128::MAX));
        let Some(number) = number else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                let (low, high) = (bounds.start(), bounds.end());
                self.fault(value.span(), format!("`{key}` is {number}, should be between {low} and {high}"));
                None
            }
        }
    }

    /// A number, whole or not, that is at least `low`.
    pub(super) fn number(&mut self, key: &'static str, low: f64) -> Option<f64> {
        let value = self.value(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                self.wrong_type(key, value, "a number");
                return None;
            }
        };
        match text.replace('_', "").parse::<f64>() {
            Ok(number) if number >= low && number.is_finite() => Some(number),
            _ => {
                self.fault(value.span(), format!("`{key}` is {text}, should be at least {low}"));
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        found
    }

    /// A list of texts; a single text counts as a list of one.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Placed<&'a str>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        if let Some(text) = value.get_ref().as_str() {
            return vec![Placed { value: text, span: value.span() }];
        }
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Placed { value: text, span: item.span() }),
                None => self.wrong_type(key, item, "a list of texts"),
            }
        }
        texts
    }

    /// A list of texts that a type takes.
    pub(super) fn list<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &'static str) -> Vec<Placed<T>> {
        let mut values = Vec::new();
        for Placed { value, span } in self.texts(key) {
            match value.parse() {
                Ok(value) => values.push(Placed { value, span }),
                Err(error) => self.fault(span, format!("`{key}`: {error}")),
            }
        }
        values
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, span, _) in self.entries() {
            if self.known.contains(key) {
                continue;
            }
            let nearest = nearest(key, self.known.iter().copied());
            let hint = match nearest {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None => {
                    let known: Vec<String> = self.known.iter().map(|key| format!("`{key}`")).collect();
                    format!("; known are {}", known.join(", "))
                }
            };
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            if let Some(around) = &self.around {
                let number = self.faults.borrow().len();
                around.borrow_mut().push((key.to_owned(), self.name.clone(), number));
            }
            self.fault(span, format!("unknown key `{key}`{place}{hint}"));
        }
        self.claim_misplaced();
    }

    /// Says of unknown keys in the sections of this one that they belong here: in TOML, a key belongs to the table above it.
    fn claim_misplaced(&self) {
        let here = if self.name.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in [{}]", self.name)
        };
        for (key, section, number) in self.within.borrow().iter() {
            if let Some(fault) =
                self.faults.borrow_mut().get_mut(*number).filter(|_| self.known.contains(&**key))
            {
                fault.message =
                    format!("unknown key `{key}` in [{section}]: it belongs {here}, above [{section}]");
            }
        }
    }
}

/// The value of an integer, however it is written: `8080`, `8_080`, `0x1F90`. None: it is out of all bounds.
pub(super) fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// The candidate most like `text`, if one is near.
pub(super) fn nearest<'b>(text: &str, candidates: impl Iterator<Item = &'b str>) -> Option<&'b str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_that_the_section_around_it_knows_is_said_to_belong_there() {
        let text = "[stream]\nshards = 4\n[handler.build]\ncommand = \"make\"\nkey = \"k\"\ncomand = 1\n";
        let document = DeTable::parse(text).unwrap();
        let faults = FaultList::default();
        let mut root = Section::new("", &document, &faults);
        root.section("stream").unwrap().finish();
        let mut handler = root.section("handler").unwrap();
        let mut build = handler.section("build").unwrap();
        build.text("command");
        build.finish();
        // What is known to a section is only known at its end.
        handler.text("key");
        handler.finish();
        root.integer("shards", 1..=9);
        root.finish();
        let mut messages: Vec<String> = faults.into_inner().into_iter().map(|fault| fault.message).collect();
        messages.sort();
        assert_eq!(
            messages,
            [
                "unknown key `comand` in [handler.build]; did you mean `command`?",
                "unknown key `key` in [handler.build]: it belongs in [handler], above [handler.build]",
                "unknown key `shards` in [stream]: it belongs at the top of the file, above [stream]",
            ]
        );
    }
}
