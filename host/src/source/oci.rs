//! Components in OCI registries.
//!
//! The only module that names `oci_client`. It promises that what it hands out has the digest that the manifest says,
//! the manifest the digest that the reference says, that no more is kept of a component than was allowed, and that
//! nothing waits for ever. Talks to a registry without TLS on this machine only.
//!
//! Source: CNCF TAG Runtime, "WASM OCI Artifact layout".

mod reference;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use thiserror::Error;

pub use reference::{Error as ReferenceError, Reference};

/// Media types of a layer that is a component: the one that is agreed upon, and an older one.
const WASM: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// The media type of a layer that is a signature, and the name of an annotation that is one.
const SIGNATURE: &str = "application/vnd.heddle.minisig";
const SIGNATURE_ANNOTATION: &str = "dev.heddle.signature";

/// The largest signature, in bytes: two comments and two short lines.
const MAX_SIGNATURE: u64 = 4 << 10;

/// How long it may take to connect, and between two parts of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(30);

/// How long it may take to find out a digest, login included.
const LOOK: Duration = Duration::from_secs(60);

/// How long it may take to get a component: 256 MiB at 1 MiB a second, and a bit.
const PULL: Duration = Duration::from_secs(300);

/// Why a component does not come.
#[derive(Debug, Error)]
pub enum Error {
    #[error("`{0}` does not exist in its registry, or is hidden from whoever is not logged in")]
    Missing(String),
    #[error("registry refuses to hand out `{reference}`: {cause}; log in with `docker login`")]
    Refused { reference: String, cause: String },
    #[error("failed to log in to registry `{registry}`: {cause}")]
    Login { registry: String, cause: String },
    #[error("`{reference}` does not have the bytes that its digest says: {cause}")]
    WrongDigest { reference: String, cause: String },
    #[error(
        "`{reference}` holds no component: a layer of type `application/wasm` is needed, and it has {found}"
    )]
    NoComponent { reference: String, found: String },
    #[error("`{reference}` holds {count} components, and one is needed")]
    ManyComponents { reference: String, count: usize },
    #[error("`{0}` is an index of several images: name one of them by its digest")]
    Index(String),
    #[error("{what} of `{reference}` has {size} bytes or more, and {max} are allowed")]
    TooBig { reference: String, what: &'static str, size: u64, max: u64 },
    #[error("registry of `{reference}` has not answered in full within {limit:?}")]
    Slow { reference: String, limit: Duration },
    #[error("failed to get `{reference}`: {cause}")]
    Request { reference: String, cause: String },
}

/// As whom a registry is asked.
pub enum Login {
    Anonymous,
    Password { user: String, password: String },
}

/// Finds out as whom a registry is asked, or why that cannot be found out. It may wait.
type Logins = dyn Fn(&str) -> Result<Login, String> + Send + Sync;

/// A component with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub wasm: Vec<u8>,
    /// The text of a minisign signature.
    pub signature: Option<String>,
    /// The manifest's digest: what a reference is pinned to.
    pub manifest: String,
}

/// All registries.
///
/// Each request begins anew, login included, for logins may be short-lived.
#[derive(Clone)]
pub struct Registry {
    logins: Arc<Logins>,
}

impl Registry {
    /// Registries that are asked as `logins` says.
    pub fn new(logins: impl Fn(&str) -> Result<Login, String> + Send + Sync + 'static) -> Self {
        // Fails if there is one already, which will do as well.
        rustls::crypto::ring::default_provider().install_default().ok();
        Registry { logins: Arc::new(logins) }
    }

    /// The digest of the manifest that a reference means now. Cheap: nothing else is read.
    pub async fn digest(&self, reference: &Reference) -> Result<String, Error> {
        let work = async {
            let remote = self.remote(reference).await?;
            let digest = remote.client.fetch_manifest_digest(&remote.image, &remote.auth).await;
            digest.map_err(|error| fault(reference, error))
        };
        within(LOOK, reference, work).await
    }

    /// The component that a reference means now, if it has no more than `max_bytes`.
    pub async fn pull(&self, reference: &Reference, max_bytes: u64) -> Result<Pulled, Error> {
        let work = async {
            let remote = self.remote(reference).await?;
            let (manifest, digest) = remote.manifest().await?;
            let layer = component_of(reference, &manifest)?;
            let wasm = remote.blob(layer, "component", max_bytes).await?;
            let signature = remote.signature(&manifest).await?;
            Ok(Pulled { wasm, signature, manifest: digest })
        };
        within(PULL, reference, work).await
    }

    async fn remote<'a>(&self, reference: &'a Reference) -> Result<Remote<'a>, Error> {
        let (logins, registry) = (Arc::clone(&self.logins), reference.registry().to_owned());
        let failed = |cause| Error::Login { registry: reference.registry().to_owned(), cause };
        let login = tokio::task::spawn_blocking(move || logins(&registry)).await;
        let auth = match login.map_err(|error| failed(error.to_string()))?.map_err(failed)? {
            Login::Anonymous => RegistryAuth::Anonymous,
            Login::Password { user, password } => RegistryAuth::Basic(user, password),
        };
        let config = ClientConfig {
            protocol: if reference.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https },
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(READ),
            user_agent: concat!("heddle/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| fault(reference, error))?;
        Ok(Remote { reference, image: reference.image(), client, auth })
    }
}

/// One reference in its registry.
struct Remote<'a> {
    reference: &'a Reference,
    image: oci_client::Reference,
    client: Client,
    auth: RegistryAuth,
}

impl Remote<'_> {
    async fn manifest(&self) -> Result<(OciImageManifest, String), Error> {
        let pulled = self.client.pull_manifest(&self.image, &self.auth).await;
        match pulled.map_err(|error| fault(self.reference, error))? {
            (OciManifest::Image(manifest), digest) => Ok((manifest, digest)),
            (OciManifest::ImageIndex(_), _) => Err(Error::Index(self.reference.to_string())),
        }
    }

    /// A signature stands in the manifest itself or in a layer of its own.
    async fn signature(&self, manifest: &OciImageManifest) -> Result<Option<String>, Error> {
        let noted = manifest.annotations.as_ref().and_then(|notes| notes.get(SIGNATURE_ANNOTATION));
        if let Some(text) = noted {
            return Ok(Some(text.clone()));
        }
        let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type == SIGNATURE) else {
            return Ok(None);
        };
        let text = self.blob(layer, "signature", MAX_SIGNATURE).await?;
        let text = String::from_utf8(text);
        text.map(Some).map_err(|_| self.failed("its signature is not text"))
    }

    /// The bytes of a layer, which are those that its digest says.
    async fn blob(&self, layer: &OciDescriptor, what: &'static str, max: u64) -> Result<Vec<u8>, Error> {
        let too_big = |size| Error::TooBig { reference: self.reference.to_string(), what, size, max };
        let said = u64::try_from(layer.size).map_err(|_| self.failed("a layer has a negative size"))?;
        if said > max {
            return Err(too_big(said));
        }
        // By its digest alone: what a manifest names as other places is not asked.
        let stream = self.client.pull_blob_stream(&self.image, layer.digest.as_str()).await;
        let mut stream = stream.map_err(|error| fault(self.reference, error))?;
        let mut bytes = Vec::new();
        // Ends with the layer, whose digest the stream checks then, or with an error.
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| self.broken(&error))?;
            bytes.extend_from_slice(&part);
            let size = bytes.len() as u64;
            if size > max {
                return Err(too_big(size));
            }
        }
        Ok(bytes)
    }

    fn failed(&self, cause: &str) -> Error {
        Error::Request { reference: self.reference.to_string(), cause: cause.to_owned() }
    }

    /// Why a layer ended early, or is another one.
    fn broken(&self, error: &std::io::Error) -> Error {
        let cause = error.get_ref().map_or_else(|| error.to_string(), |cause| chain(cause));
        let wrong = error.get_ref().is_some_and(|cause| cause.is::<DigestError>());
        let reference = self.reference.to_string();
        if wrong { Error::WrongDigest { reference, cause } } else { Error::Request { reference, cause } }
    }
}

/// The one layer that is a component.
fn component_of<'a>(
    reference: &Reference,
    manifest: &'a OciImageManifest,
) -> Result<&'a OciDescriptor, Error> {
    let is_component = |layer: &&OciDescriptor| WASM.contains(&layer.media_type.as_str());
    let components: Vec<_> = manifest.layers.iter().filter(is_component).collect();
    let reference = reference.to_string();
    match components.as_slice() {
        [one] => Ok(one),
        [] if manifest.layers.is_empty() => {
            Err(Error::NoComponent { reference, found: "no layer".to_owned() })
        }
        [] => {
            let types: Vec<_> =
                manifest.layers.iter().map(|layer| format!("`{}`", layer.media_type)).collect();
            Err(Error::NoComponent { reference, found: types.join(", ") })
        }
        many => Err(Error::ManyComponents { reference, count: many.len() }),
    }
}

async fn within<T>(
    limit: Duration,
    reference: &Reference,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let slow = |_| Err(Error::Slow { reference: reference.to_string(), limit });
    tokio::time::timeout(limit, work).await.unwrap_or_else(slow)
}

/// What an error of the library means.
fn fault(reference: &Reference, error: OciDistributionError) -> Error {
    use OciDistributionError as Oci;
    let reference = reference.to_string();
    let says = |codes: &[OciErrorCode]| match &error {
        Oci::RegistryError { envelope, .. } => envelope.errors.iter().any(|e| codes.contains(&e.code)),
        _ => false,
    };
    let missing = [
        OciErrorCode::ManifestUnknown,
        OciErrorCode::NameUnknown,
        OciErrorCode::BlobUnknown,
        OciErrorCode::NotFound,
    ];
    if says(&missing) || matches!(error, Oci::ServerError { code: 404, .. }) {
        return Error::Missing(reference);
    }
    let cause = chain(&error);
    if says(&[OciErrorCode::Unauthorized, OciErrorCode::Denied])
        || matches!(error, Oci::UnauthorizedError { .. } | Oci::AuthenticationFailure(_))
    {
        return Error::Refused { reference, cause };
    }
    match error {
        Oci::DigestError(_) => Error::WrongDigest { reference, cause },
        _ => Error::Request { reference, cause },
    }
}

/// An error with all its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
