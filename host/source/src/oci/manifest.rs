//! Manifests and indexes: what a reference names, and which part of it is the component.
//!
//! Source: OCI Image Format Specification 1.1, "Image Manifest" and "Image Index".

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Error, Reference};

/// The media types that a manifest may have, as they are asked for.
pub(super) const ACCEPTED: [&str; 4] = [OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_INDEX];

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Media types of a layer that is a component: the one that is agreed upon, and an older one.
const WASM: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// The media type of a layer that is a signature, and the name of an annotation that is one.
const SIGNATURE: &str = "application/vnd.heddle.minisig";
const SIGNATURE_ANNOTATION: &str = "dev.heddle.signature";

/// The annotation of an entry that is about another one, such as an attestation.
const ABOUT_ANOTHER: &str = "vnd.docker.reference.digest";

/// What a reference names.
#[derive(Debug)]
pub(super) enum Manifest {
    Image(Image),
    Index(Vec<Descriptor>),
}

/// The layers of an artifact.
#[derive(Debug)]
pub(super) struct Image {
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
}

/// Something in the registry that another thing names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    media_type: Option<String>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest or an index.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if written.schema_version != 2 {
            return Err(format!("its schema version is {}, should be 2", written.schema_version));
        }
        if let Some(other) = written.media_type.as_deref().filter(|kind| !ACCEPTED.contains(kind)) {
            return Err(format!("its media type is `{}`", other.escape_debug()));
        }
        match (written.layers, written.manifests) {
            (Some(layers), None) => {
                Ok(Manifest::Image(Image { layers, annotations: written.annotations.unwrap_or_default() }))
            }
            (None, Some(entries)) => Ok(Manifest::Index(entries)),
            // Two readers could take it for two things.
            (Some(_), Some(_)) => Err("it has both `layers` and `manifests`".to_owned()),
            (None, None) => Err("it has neither `layers` nor `manifests`".to_owned()),
        }
    }
}

impl Descriptor {
    /// Whether an entry of an index may be an image with a component.
    pub(super) fn may_be_component(&self) -> bool {
        let about = |notes: &BTreeMap<String, String>| notes.contains_key(ABOUT_ANOTHER);
        [OCI_IMAGE, DOCKER_IMAGE].contains(&&*self.media_type)
            && !self.annotations.as_ref().is_some_and(about)
    }
}

impl Image {
    fn components(&self) -> Vec<&Descriptor> {
        self.layers.iter().filter(|layer| WASM.contains(&&*layer.media_type)).collect()
    }

    pub(super) fn has_component(&self) -> bool {
        !self.components().is_empty()
    }

    /// The one layer that is a component.
    pub(super) fn component(&self, reference: &Reference) -> Result<&Descriptor, Error> {
        let reference = reference.to_string();
        match self.components().as_slice() {
            [one] => Ok(one),
            [] if self.layers.is_empty() => {
                Err(Error::NoComponent { reference, found: "no layer".to_owned() })
            }
            [] => {
                let types = self.layers.iter().map(|layer| format!("`{}`", layer.media_type.escape_debug()));
                // They are the registry's words, and there may be thousands.
                let types: Vec<_> = types.take(8).collect();
                Err(Error::NoComponent { reference, found: types.join(", ") })
            }
            many => Err(Error::ManyComponents { reference, count: many.len() }),
        }
    }

    /// A signature that stands in the manifest.
    pub(super) fn noted_signature(&self) -> Option<&str> {
        self.annotations.get(SIGNATURE_ANNOTATION).map(String::as_str)
    }

    /// The layer that is a signature.
    pub(super) fn signature_layer(&self) -> Option<&Descriptor> {
        self.layers.iter().find(|layer| layer.media_type == SIGNATURE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_a_manifest_nor_an_index_says_what_is_wrong_with_it() {
        for (text, cause) in [
            ("", "EOF"),
            ("[]", "invalid length"),
            (r#"{"schemaVersion":1,"layers":[]}"#, "schema version is 1"),
            (r#"{"schemaVersion":2,"mediaType":"text/x","layers":[]}"#, "media type is `text/x`"),
            (r#"{"schemaVersion":2}"#, "neither"),
            (r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#, "both"),
            (r#"{"schemaVersion":2,"layers":[{"mediaType":"a","digest":"b","size":-1}]}"#, "invalid value"),
        ] {
            let error = Manifest::read(text.as_bytes()).map(drop).unwrap_err();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
