//! How far a long step has come: a bar on a terminal, now and then a line elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the progress of one step on standard error.
pub(crate) struct Meter {
    bar: ProgressBar,
    what: &'static str,
    total: u64,
    /// Where there is no terminal: the tenth of the total that was last written.
    written: u64,
}

impl Meter {
    /// A step of N parts.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        // Without a template of its own a bar still works, so a faulty one need not end the program.
        let style = ProgressStyle::with_template("{msg:8} {wide_bar} {pos}/{len} {elapsed:>4}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style).with_message(what);
        Self { bar, what, total, written: 0 }
    }

    /// Shows that N parts are done.
    pub(crate) fn set(&mut self, done: u64) {
        self.bar.set_position(done);
        let tenth = (done * 10).checked_div(self.total).unwrap_or(0);
        if self.bar.is_hidden() && tenth > self.written {
            self.written = tenth;
            eprintln!("{} {done} of {}", self.what, self.total);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.abandon();
        if !self.bar.is_hidden() {
            eprintln!();
        }
    }
}
