//! Tables for people: columns as wide as their widest cell.

use crate::print::{Error, Rows, visible};

/// How many rows decide the widths of the columns. What comes later is printed as it comes, so that a table may
/// have any number of rows.
const SETTLING: usize = 500;

/// A table whose rows come one after the other.
pub(super) struct Table<const N: usize> {
    rows: Rows,
    widths: [usize; N],
    /// Rows that wait until the widths are known; none once they are.
    waiting: Option<Vec<[String; N]>>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(header: [&str; N]) -> Self {
        let header = header.map(str::to_owned);
        Table { rows: Rows::default(), widths: [0; N], waiting: Some(vec![header]) }
    }

    /// The next row. Cells may be of strangers.
    pub(super) fn push(&mut self, row: [String; N]) -> Result<(), Error> {
        let row = row.map(|cell| visible(&cell).into_owned());
        let Some(waiting) = &mut self.waiting else { return print(&mut self.rows, &self.widths, &row) };
        waiting.push(row);
        if waiting.len() > SETTLING { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<(), Error> {
        let waiting = self.waiting.take().unwrap_or_default();
        for row in &waiting {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        waiting.iter().try_for_each(|row| print(&mut self.rows, &self.widths, row))
    }

    /// The end of the table.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.settle()?;
        self.rows.flush()
    }
}

fn print<const N: usize>(rows: &mut Rows, widths: &[usize; N], row: &[String; N]) -> Result<(), Error> {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    rows.line(cells.collect::<Vec<_>>().join("  ").trim_end())
}
