//! What a program needs of the machine it runs on: the C libraries that it is linked with, and the oldest glibc that has all
//! symbols it takes from there.
//!
//! Reads what `objdump` of binutils says, which is where the linker is.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::platform::TRIPLE;
use crate::shell::{command, output};

/// Libraries that every glibc system has: those a wheel for manylinux may be linked with, and that the packages in
/// [`Needs::debian`] hold.
const KNOWN: [&str; 6] =
    ["ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0"];

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Glibc(u32, u32);

impl Glibc {
    /// What docs/install.md promises: packages need no newer one.
    pub(super) const PROMISED: Glibc = Glibc(2, 34);

    /// The platform tag of a wheel, by PEP 600.
    pub(super) fn manylinux(self) -> String {
        format!("manylinux_{}_{}_x86_64", self.0, self.1)
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a program needs of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// The oldest glibc that will do.
    pub(super) glibc: Glibc,
    /// Whether it needs the unwinder of gcc, which Debian packs by itself.
    unwinder: bool,
}

impl Needs {
    /// The field `Depends` of a Debian package.
    pub(super) fn debian(&self) -> String {
        let libc = format!("libc6 (>= {})", self.glibc);
        // GCC 4.2 has all symbols that Rust takes from it; no Debian with such a glibc has an older one.
        if self.unwinder { format!("{libc}, libgcc-s1 (>= 4.2)") } else { libc }
    }
}

/// What a program needs. Fails for one of another platform, or with a library that not every machine has.
pub(super) fn of(program: &Path) -> Result<Needs> {
    let text = output(command("objdump").env("LC_ALL", "C").arg("-p").arg(program))
        .context("`objdump` is needed (on Debian and Ubuntu: the package binutils)")?;
    ensure!(
        text.contains("elf64-x86-64"),
        "the program is not of {TRIPLE}, the only platform with packages so far"
    );
    read(&text)
}

fn read(text: &str) -> Result<Needs> {
    let libraries: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim).collect();
    let unknown: Vec<_> = libraries.iter().copied().filter(|library| !KNOWN.contains(library)).collect();
    ensure!(
        unknown.is_empty(),
        "the program needs libraries that not every machine has: {}",
        unknown.join(", ")
    );
    let symbols = text.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let glibc = symbols.filter_map(glibc).max().context("the program is not linked with glibc")?;
    Ok(Needs { glibc, unwinder: libraries.contains(&"libgcc_s.so.1") })
}

/// A version such as `2.34` or `2.2.5`.
fn glibc(text: &str) -> Option<Glibc> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some(Glibc(numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "
program:     file format elf64-x86-64

Dynamic Section:
  NEEDED               libgcc_s.so.1
  NEEDED               libc.so.6

Version References:
  required from libc.so.6:
    0x09691a75 0x00 08 GLIBC_2.2.5
    0x06969194 0x00 05 GLIBC_2.34
    0x06969188 0x00 04 GLIBC_2.9
  required from libgcc_s.so.1:
    0x09265f61 0x00 03 GCC_3.3
";

    #[test]
    fn the_newest_symbol_decides() {
        let needs = read(DUMP).unwrap();
        assert_eq!(needs.glibc, Glibc(2, 34));
        assert_eq!(needs.glibc.manylinux(), "manylinux_2_34_x86_64");
        assert_eq!(needs.debian(), "libc6 (>= 2.34), libgcc-s1 (>= 4.2)");
    }

    #[test]
    fn a_library_that_not_every_machine_has_is_refused() {
        let error = read(&DUMP.replace("libgcc_s.so.1", "libssl.so.3")).unwrap_err().to_string();
        assert!(error.ends_with(": libssl.so.3"), "{error}");
    }
}
