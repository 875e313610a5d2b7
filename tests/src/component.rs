//! Components in versions: other bytes and so another digest, the same behaviour; and how a plugin's file is replaced.
//!
//! A custom section says nothing to the engine, so a component with one more does what it did before.

use std::path::Path;

use sha2::Digest as _;

/// A component that does the same and says that it has this version.
pub fn with_version(component: &[u8], version: &str) -> Vec<u8> {
    with_section(component, "version", version.as_bytes())
}

/// A component that does the same and has another digest.
pub fn variant(component: &[u8], number: u64) -> Vec<u8> {
    with_section(component, "variant", &number.to_le_bytes())
}

/// A component with one more custom section.
pub fn with_section(component: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend(name.as_bytes());
    content.extend(data);
    let mut whole = component.to_vec();
    whole.push(0);
    whole.extend(leb128(content.len()));
    whole.extend(content);
    whole
}

/// An unsigned number as WebAssembly writes it.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The digest of a component, as headers name it.
pub fn digest(component: &[u8]) -> String {
    let bytes = sha2::Sha256::digest(component);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Puts other content in the place of a file: whoever reads it sees the old or the new one, whole.
pub fn replace(file: &Path, content: &[u8]) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, content).expect("the new content is written");
    std::fs::rename(&beside, file).expect("the file is replaced");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_any_length_is_written_as_the_format_wants_it() {
        let empty = b"\0asm\x0d\0\x01\0";
        let section = with_section(empty, "n", &[7; 200]);
        // 202 bytes of content are 0xca 0x01.
        assert_eq!(section.get(8..13), Some(&[0, 0xca, 0x01, 1, b'n'][..]));
        assert_eq!(section.len(), 8 + 3 + 2 + 200);
    }

    #[test]
    fn every_variant_has_a_digest_of_its_own() {
        let digests: std::collections::BTreeSet<String> =
            (0..100).map(|number| digest(&variant(b"\0asm\x0d\0\x01\0", number))).collect();
        assert_eq!(digests.len(), 100);
        assert!(digests.iter().all(|digest| digest.len() == "sha256:".len() + 64));
    }
}
