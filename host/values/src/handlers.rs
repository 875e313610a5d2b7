//! The handlers of an application by their index, and what is kept for each of them.
//!
//! Promises that an index stands for a handler: it comes from a [`PerHandler`], and every `PerHandler` of one
//! application has a row for each handler of the file, in the file's order. So looking one up never fails, and nothing is
//! passed over because a row is not there.

use std::fmt;
use std::ops::{Index, IndexMut};

/// One handler of the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandlerIx(u32);

impl HandlerIx {
    /// The first one of the file.
    pub const FIRST: HandlerIx = HandlerIx(0);

    /// The handler at a place in the file, from 0. Whoever has a [`PerHandler`] gets it from there.
    pub fn new(place: usize) -> Self {
        HandlerIx(u32::try_from(place).expect("no file has four billion handlers"))
    }

    /// Its place in the file, from 0.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HandlerIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A row for each handler of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerHandler<T>(Vec<T>);

impl<T> PerHandler<T> {
    /// How many handlers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows, in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The rows in the file's order, N at a time.
    pub fn chunks(&self, count: usize) -> std::slice::Chunks<'_, T> {
        self.0.chunks(count)
    }

    /// The rows to be changed, in the file's order.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// The handlers that there are.
    pub fn indices(&self) -> impl Iterator<Item = HandlerIx> + use<T> {
        (0..self.0.len()).map(HandlerIx::new)
    }

    /// The rows, each with its handler.
    pub fn rows(&self) -> impl Iterator<Item = (HandlerIx, &T)> {
        self.indices().zip(&self.0)
    }

    /// The rows to be changed, each with its handler.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = (HandlerIx, &mut T)> {
        self.indices().zip(&mut self.0)
    }

    /// The first handler whose row is of this kind.
    pub fn find(&self, is: impl FnMut(&T) -> bool) -> Option<HandlerIx> {
        self.0.iter().position(is).map(HandlerIx::new)
    }

    /// Leaves only some of the handlers: those that stay are renumbered, so an index from before is not valid any more.
    pub fn retain(&mut self, stays: impl FnMut(&T) -> bool) {
        self.0.retain(stays);
    }

    /// Another row for each handler.
    pub fn map<'a, U>(&'a self, row: impl FnMut(&'a T) -> U) -> PerHandler<U> {
        self.0.iter().map(row).collect()
    }
}

impl<T> Index<HandlerIx> for PerHandler<T> {
    type Output = T;

    fn index(&self, handler: HandlerIx) -> &T {
        self.0.get(handler.place()).expect("an index stands for a handler of the application")
    }
}

impl<T> IndexMut<HandlerIx> for PerHandler<T> {
    fn index_mut(&mut self, handler: HandlerIx) -> &mut T {
        self.0.get_mut(handler.place()).expect("an index stands for a handler of the application")
    }
}

impl<T> Default for PerHandler<T> {
    fn default() -> Self {
        PerHandler(Vec::new())
    }
}

impl<T> From<Vec<T>> for PerHandler<T> {
    fn from(rows: Vec<T>) -> Self {
        PerHandler(rows)
    }
}

impl<T> FromIterator<T> for PerHandler<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        PerHandler(rows.into_iter().collect())
    }
}

impl<T> IntoIterator for PerHandler<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a PerHandler<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut PerHandler<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_the_index_that_comes_with_it() {
        let mut rows: PerHandler<&str> = ["a", "b", "c"].into_iter().collect();
        let found: Vec<(usize, &str)> = rows.rows().map(|(handler, row)| (handler.place(), *row)).collect();
        assert_eq!(found, [(0, "a"), (1, "b"), (2, "c")]);
        let b = rows.find(|row| *row == "b").unwrap();
        rows[b] = "d";
        assert_eq!((rows[b], rows.len(), rows.find(|row| *row == "b")), ("d", 3, None));
        assert_eq!(rows.map(|row| row.len())[b], 1);
    }
}
