//! Header blocks: the headers of a message as the bytes that the server stores.
//!
//! The server checks hardly anything in them. Promises that every block is read, that one which the client library can
//! read gives the same headers here, and that nothing is lost of one which cannot be sent again as headers: its bytes
//! stay with what could be read of it. Refuses to know how a block came here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::event::Headers;
use super::names::NATS_PREFIX;

/// What a block begins with.
const VERSION: &str = "NATS/1.0";

/// The headers of a block, all but those of the server, in the order of their names. Of a block with a fault they are
/// what could be read.
pub fn read(block: &Bytes) -> Headers {
    if block.is_empty() {
        return Headers::default();
    }
    let mut reading = Reading::default();
    let mut lines = block.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    reading.version(lines.next().unwrap_or_default());
    for (number, line) in (2_usize..).zip(lines) {
        reading.line(number, line);
    }
    let Reading { mut pairs, fault, plain, .. } = reading;
    pairs.retain(|(name, _)| !name.starts_with(NATS_PREFIX));
    for (_, value) in &mut pairs {
        value.truncate(value.trim_end().len());
    }
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let headers = Headers::from_pairs(pairs);
    match fault {
        None if plain => headers,
        fault => headers.with_block(block.clone(), fault.map(Into::into)),
    }
}

/// A block as text for a header.
pub fn encode(block: &[u8]) -> String {
    STANDARD.encode(block)
}

/// What [`encode`] wrote.
pub fn decode(text: &str) -> Option<Bytes> {
    STANDARD.decode(text).ok().map(Bytes::from)
}

struct Reading {
    pairs: Vec<(String, String)>,
    /// Why not all could be read: the first reason.
    fault: Option<String>,
    /// Whether the block can be sent again as these headers.
    plain: bool,
    /// Whether a line that begins with white space continues the one before.
    open: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { pairs: Vec::new(), fault: None, plain: true, open: false }
    }
}

impl Reading {
    /// The first line. What follows the version is the status of an answer: the library would take the message for one.
    fn version(&mut self, line: &[u8]) {
        match line.strip_prefix(VERSION.as_bytes()) {
            None => self.fail(format!("its headers do not begin with `{VERSION}`")),
            Some(rest) => self.plain &= rest.trim_ascii().is_empty(),
        }
    }

    fn line(&mut self, number: usize, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else {
            self.open = false;
            return self.fail(format!("line {number} of its headers is not UTF-8"));
        };
        let continues = self.open && line.starts_with(char::is_whitespace);
        if let Some((_, value)) = self.pairs.last_mut().filter(|_| continues) {
            value.push_str(line);
            self.plain &= !line.contains('\r');
            return;
        }
        self.open = false;
        if line.is_empty() {
            return;
        }
        let Some((name, value)) = line.split_once(':') else {
            return self.fail(format!("line {number} of its headers has no colon"));
        };
        let value = value.trim_start();
        self.plain &= name.chars().all(|c| c.is_ascii_graphic()) && !value.trim_end().contains('\r');
        self.pairs.push((name.to_owned(), value.to_owned()));
        self.open = true;
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block: &[u8], pairs: &[(&str, &str)], plain: bool, fault: Option<&str>) {
        let block = Bytes::copy_from_slice(block);
        let headers = read(&block);
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(headers.block(), (!plain).then_some(&block));
        assert_eq!(headers.fault(), fault);
    }

    #[test]
    fn what_the_library_reads_gives_the_same_headers_and_needs_no_block() {
        check(b"", &[], true, None);
        check(b"NATS/1.0\r\n\r\n", &[], true, None);
        check(b"NATS/1.0", &[], true, None);
        check(
            b"NATS/1.0\r\nB: 2\r\nA:1\r\nB:  3 \r\n\r\n",
            &[("A", "1"), ("B", "2"), ("B", "3")],
            true,
            None,
        );
        check(b"NATS/1.0\r\nA: 1\r\n  and\r\n\tmore\r\n\r\n", &[("A", "1  and\tmore")], true, None);
        check(b"NATS/1.0\r\nA: 1\r\n\r\nB: 2", &[("A", "1"), ("B", "2")], true, None);
        check(b"NATS/1.0\nA: 1\nB: 2\n\n", &[("A", "1"), ("B", "2")], true, None);
        check(b"NATS/1.0\r\nNats-Msg-Id: 7\r\nA: \xc3\xa4\r\n\r\n", &[("A", "ä")], true, None);
    }

    #[test]
    fn odd_names_and_values_are_read_and_their_bytes_kept() {
        check(b"NATS/1.0\r\nMy Header: 1\r\n\r\n", &[("My Header", "1")], false, None);
        check(b"NATS/1.0\r\nK\xc3\xa4se: 1\r\n\r\n", &[("Käse", "1")], false, None);
        check(b"NATS/1.0\r\nX\tY: 1\r\n\r\n", &[("X\tY", "1")], false, None);
        check(b"NATS/1.0\r\n X: 1\r\n\r\n", &[(" X", "1")], false, None);
        check(b"NATS/1.0\r\nX: a\rb\r\n\r\n", &[("X", "a\rb")], false, None);
        check(b"NATS/1.0 409 Consumer Deleted\r\nX: 1\r\n\r\n", &[("X", "1")], false, None);
    }

    #[test]
    fn a_block_with_a_fault_says_which_and_gives_what_could_be_read() {
        let no_colon = "line 2 of its headers has no colon";
        check(b"NATS/1.0\r\nNoColon\r\nA: 1\r\n\r\n", &[("A", "1")], false, Some(no_colon));
        let not_utf8 = "line 3 of its headers is not UTF-8";
        check(b"NATS/1.0\r\nA: 1\r\nX: \xff\r\n\r\n", &[("A", "1")], false, Some(not_utf8));
        let other = "its headers do not begin with `NATS/1.0`";
        check(b"HTTP/1.1\r\nA: 1\r\n\r\n", &[("A", "1")], false, Some(other));
        check(b"\x00\x01", &[], false, Some(other));
    }

    #[test]
    fn a_block_goes_through_a_header_and_comes_back_as_it_was() {
        let block: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&block)), Some(Bytes::from(block)));
        assert_eq!(decode("not base64!"), None);
    }
}
