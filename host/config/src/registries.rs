//! The registries' part of the file: which of them are asked without TLS.

use std::collections::BTreeSet;

use super::section::Section;
use heddle_source::oci;

/// `[registries."HOST[:PORT]"]` with `insecure = true`: the registries that are asked without TLS.
pub(super) fn resolve(section: Section<'_>) -> BTreeSet<String> {
    let mut insecure = BTreeSet::new();
    for (name, span, value) in section.entries() {
        if let Err(error) = oci::check_registry(name) {
            section.fault(span, format!("`registries`: {error}"));
        }
        if let Some(mut registry) = section.as_section(name, value) {
            if registry.boolean("insecure").unwrap_or(false) {
                insecure.insert(name.to_owned());
            }
            registry.finish();
        }
    }
    insecure
}
