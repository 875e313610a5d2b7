//! Offers: what a handler's source offers at the moment.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{SourceError, Tools};
use heddle_sandbox::{self as sandbox, MAX_COMPONENT};
use heddle_source::{oci, signature};
use heddle_values::plugin::{PluginPlace, PluginSource};

/// A component as its source gives it.
pub(super) struct Offer {
    pub(super) wasm: Vec<u8>,
    /// Its signature, as minisign writes it; an error: there is something in its place. Where nobody is trusted it does not
    /// matter.
    pub(super) signature: Result<Option<String>, signature::Error>,
}

impl Offer {
    /// The text of its signature, if there is one.
    pub(super) fn signature(&self) -> Option<&str> {
        self.signature.as_ref().ok().and_then(Option::as_deref)
    }
}

/// What tells an offer from the one before it without reading the component, where the source says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Etag(Option<String>);

/// Where sources are asked.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// None: the server is not to be asked.
    pub broker: Option<&'a heddle_broker::Broker>,
    /// Asks OCI registries. It is also there when the server is not to be asked.
    pub registry: &'a oci::Registry,
}

impl<'a> From<&'a Tools> for Sources<'a> {
    fn from(tools: &'a Tools) -> Self {
        Sources { broker: Some(&tools.broker), registry: &tools.registry }
    }
}

impl Sources<'_> {
    /// What the source offers, unless it is what had this etag. None: it is.
    pub(super) async fn offer(
        &self,
        source: &PluginSource,
        before: &Etag,
    ) -> Result<Option<(Offer, Etag)>, SourceError> {
        match &source.place {
            PluginPlace::File(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(".minisig");
                // Taken before the file is read: what changes meanwhile is polled again.
                let etag = Etag(Some(format!("{} {}", written(path).await, written(beside.as_ref()).await)));
                if etag == *before {
                    return Ok(None);
                }
                let wasm = sandbox::read(path).await.map_err(SourceError::File)?;
                let signature = signature::read(beside.as_ref()).await;
                Ok(Some((Offer { wasm, signature }, etag)))
            }
            PluginPlace::Object(object) => {
                let broker = self.broker.ok_or_else(|| SourceError::Offline(source.to_string()))?;
                let (bucket, name) = (object.bucket(), object.stored_name());
                let facts = broker.object(bucket, &name).await?;
                let facts = facts.ok_or_else(|| SourceError::NoObject(object.clone()))?;
                let etag =
                    Etag(Some(format!("{} {}", facts.digest, facts.signature.as_deref().unwrap_or(""))));
                if etag == *before {
                    return Ok(None);
                }
                let wasm = broker.read_object(bucket, &name, MAX_COMPONENT).await?;
                Ok(Some((Offer { wasm: wasm.into(), signature: Ok(facts.signature) }, etag)))
            }
            PluginPlace::Oci(reference) => {
                let reference: oci::Reference =
                    reference.parse().expect("it was checked when the file was read");
                let etag = Etag(Some(self.registry.digest(&reference).await?));
                if etag == *before {
                    return Ok(None);
                }
                let pulled = self.registry.pull(&reference, MAX_COMPONENT).await?;
                Ok(Some((Offer { wasm: pulled.wasm, signature: Ok(pulled.signature) }, etag)))
            }
        }
    }
}

/// What tells a file from what it was before.
async fn written(path: &Path) -> String {
    match tokio::fs::metadata(path).await {
        Ok(facts) => {
            let (device, inode, size) = (facts.dev(), facts.ino(), facts.size());
            format!("{device}:{inode}:{size}:{}.{:09}", facts.mtime(), facts.mtime_nsec())
        }
        Err(_) => "none".to_owned(),
    }
}
