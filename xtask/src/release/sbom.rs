//! The bill of materials: `heddle-VERSION-x86_64-unknown-linux-gnu.cdx.json`, in CycloneDX 1.6.
//!
//! Written here rather than by cargo-cyclonedx or cargo-sbom: both read `cargo metadata` alone, and so name crates that the program
//! does not have, and each adds minutes of compilation. The document is small; what is hard, the resolution, is cargo's own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::components::{Component, Id};
use super::inputs::{Inputs, PROGRAM};
use super::platform::TRIPLE;
use super::sums;
use crate::shell::{command, output};

/// Builds it.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let to = out.join(format!("heddle-{}-{TRIPLE}.cdx.json", inputs.version));
    fs::write(&to, text(inputs)?).with_context(|| format!("failed to write `{}`", to.display()))?;
    Ok(vec![to])
}

/// The document.
pub(super) fn text(inputs: &Inputs) -> Result<String> {
    let (program, others): (Vec<_>, Vec<_>) =
        inputs.components.iter().partition(|component| component.id.0 == PROGRAM);
    let program = program.first().context("the program is not among the crates that it is built from")?;
    let mut root = describe(program);
    let digest = sums::hex(&inputs.program);
    merge(&mut root, json!({ "type": "application", "hashes": [{ "alg": "SHA-256", "content": digest }] }));
    let cargo = output(command("cargo").arg("--version"))?;
    let cargo = cargo.split(' ').nth(1).unwrap_or_default().trim();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": inputs.timestamp()?,
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{ "type": "application", "name": "cargo", "version": cargo }] },
            "component": root,
            "properties": [{ "name": "cargo:target", "value": TRIPLE }],
        },
        "components": others.iter().map(|component| describe(component)).collect::<Vec<_>>(),
        "dependencies": inputs.components.iter().map(dependencies).collect::<Vec<_>>(),
    });
    let serial = serial(&document.to_string());
    merge(&mut document, json!({ "serialNumber": serial }));
    Ok(format!("{document:#}\n"))
}

/// One crate.
fn describe(component: &Component) -> Value {
    let (name, version) = &component.id;
    let mut described = json!({
        "type": "library",
        "bom-ref": reference(&component.id),
        "name": name,
        "version": version,
        // What only runs while the program is built is not part of it.
        "scope": if component.is_linked { "required" } else { "excluded" },
        "licenses": [{ "expression": component.license }],
    });
    if !component.description.is_empty() {
        merge(&mut described, json!({ "description": component.description }));
    }
    if !component.features.is_empty() {
        merge(
            &mut described,
            json!({ "properties": [{ "name": "cargo:features", "value": component.features }] }),
        );
    }
    match &component.checksum {
        Some(checksum) => {
            let hashes = json!([{ "alg": "SHA-256", "content": checksum }]);
            merge(
                &mut described,
                json!({ "purl": format!("pkg:cargo/{}", locator(&component.id)), "hashes": hashes }),
            );
        }
        // Not `cargo`: it would name a crate of the registry that is not ours.
        None => merge(&mut described, json!({ "purl": format!("pkg:generic/{}", locator(&component.id)) })),
    }
    described
}

/// What a crate needs.
fn dependencies(component: &Component) -> Value {
    json!({ "ref": reference(&component.id), "dependsOn": component.needs.iter().map(reference).collect::<Vec<_>>() })
}

/// Names a crate within the document.
fn reference((name, version): &Id) -> String {
    format!("{name}@{version}")
}

/// A crate in a package URL, where a `+` would be a space.
fn locator(id: &Id) -> String {
    reference(id).replace('+', "%2B")
}

/// A UUID from the content: the same content has the same number. Version 8 is for such.
fn serial(content: &str) -> String {
    let digest = sums::hex(content.as_bytes());
    let part = |from: usize, to: usize| digest.get(from..to).expect("a digest has 64 digits");
    format!("urn:uuid:{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// Adds the fields of one object to another.
fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
