//! Components in OCI registries.
//!
//! The only module that names `reqwest`. It promises that what it hands out has the digest that the manifest says, the
//! manifest the digest that the reference says, that no more is kept of any answer than was allowed, and that nothing
//! waits for ever. Talks without TLS to registries on this machine, and to those that were named for it.
//!
//! Source: OCI Distribution Specification 1.1; CNCF TAG Runtime, "WASM OCI Artifact layout".

mod answer;
mod manifest;
mod network;
mod reference;
mod remote;
mod token;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;

pub use reference::{Error as ReferenceError, Reference, check_registry};

use manifest::{Image, Manifest};
use remote::Remote;

/// The largest signature, in bytes: two comments and two short lines.
const MAX_SIGNATURE: u64 = 4 << 10;

/// How long it may take to find out a digest, login included.
const LOOK: Duration = Duration::from_secs(60);

/// How long it may take to get a component: 256 MiB at 1 MiB a second, and a bit.
const PULL: Duration = Duration::from_secs(300);

/// Logins that are looked up at once: some are kept by a program that must be asked.
const ASKING: usize = 8;

/// Images of an index that are inspected to find the one that is a component.
const MAX_IMAGES: usize = 16;

/// Why a component does not come.
#[derive(Debug, Error)]
pub enum Error {
    /// The registry knows no such repository, tag, digest or layer, or hides it. Holds the reference as displayed.
    #[error("`{0}` does not exist in its registry, or is visible only after a login")]
    Missing(String),
    /// The registry or its token service denies reading: there is no login, a wrong one, or one that may not pull.
    #[error(
        "registry refuses to hand out `{reference}`: {cause}; log in with `docker login` or `podman login`"
    )]
    Refused {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// The HTTP status with the registry's own words, in one line and of these at most 200 characters.
        cause: String,
    },
    /// No login could be looked up, it is of a kind that the registry does not ask for, or the token service failed.
    #[error("failed to log in to registry `{registry}`: {cause}")]
    Login {
        /// The registry as the reference names it, with its port if there is one.
        registry: String,
        /// Which step failed, and why.
        cause: String,
    },
    /// The registry of this name, which is asked over TLS, speaks none. Only the operator may allow plain HTTP for it.
    #[error(
        "registry `{0}` answers without TLS: if its network can be trusted, allow that with `insecure = true` under [registries.\"{0}\"]"
    )]
    PlainHttp(String),
    /// A redirect, or the address for a token, leads to plain HTTP where that is not allowed. It was not followed.
    #[error("registry `{registry}` sends us to `{host}`, without TLS: {advice}")]
    NoTls {
        /// The registry as the reference names it.
        registry: String,
        /// The host that it leads to, with its port if that is named; the rest of the address may hold a key.
        host: String,
        /// What the operator can do: allow plain HTTP for `host`, unless the registry itself has TLS.
        advice: String,
    },
    /// A manifest or layer does not hash to the digest by which it was named: it was damaged or exchanged.
    #[error("`{reference}` does not have the bytes that its digest says: {cause}")]
    WrongDigest {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// Which digest was named, and which one the bytes have.
        cause: String,
    },
    /// Something else was pushed: no layer of the manifest, or of any image in the index, is a component.
    #[error(
        "`{reference}` holds no component: a layer of type `application/wasm` is needed, and it has {found}"
    )]
    NoComponent {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// What is there instead: the media types of up to 8 layers, or how many images the index has.
        found: String,
    },
    /// One manifest has several layers that are components, and no reference can tell them apart.
    #[error("`{reference}` holds {count} components, and one is needed")]
    ManyComponents {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// How many there are, at least 2.
        count: usize,
    },
    /// More than one image of the index holds a component, so the reference has to name one by its digest.
    #[error(
        "`{reference}` is an index of several images with a component: name one of them by its digest, {}",
        digests.join(" or ")
    )]
    Index {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// The digests of the images with a component, in the order of the index.
        digests: Vec<String>,
    },
    /// Part of an answer is larger than its bound, as announced or as received. The rest was not read.
    #[error("{what} of `{reference}` has {size} bytes or more, and {max} are allowed")]
    TooBig {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// Which part: `component`, `signature`, `manifest` or `token`.
        what: &'static str,
        /// How much was announced or had come by then, in bytes: the whole may be larger.
        size: u64,
        /// The bound in bytes: the caller's for a component, 4 KiB for a signature, else 4 MiB.
        max: u64,
    },
    /// The whole of a look-up or pull took too long, login included. Another try may be faster.
    #[error("registry of `{reference}` has not answered in full within {limit:?}")]
    Slow {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// The time that was allowed: 60 s for a digest, 300 s for a component.
        limit: Duration,
    },
    /// Anything else: no connection, an answer that breaks off or cannot be read, a fault of the registry.
    #[error("failed to get `{reference}`: {cause}")]
    Request {
        /// What was asked for, as [`Reference`] displays it.
        reference: String,
        /// What failed, with its causes, in one line.
        cause: String,
    },
}

/// As whom a registry is asked.
pub enum Login {
    /// No login is known: only what the registry shows to everybody can be had.
    Anonymous,
    /// A name with a password or an access token, given to the registry or to its token service by HTTP Basic.
    Password {
        /// The account at the registry.
        user: String,
        /// Its password, or an access token in place of one. Not to be shown.
        password: String,
    },
    /// A refresh token of OAuth 2, which is exchanged for a token of the registry.
    IdentityToken(String),
}

/// Finds out as whom the registry of a component is asked, or why that cannot be found out. It may wait.
type Logins = dyn Fn(&Reference) -> Result<Login, String> + Send + Sync;

/// A component with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The component, which has the digest that its manifest says; its signature is not verified yet.
    pub wasm: Vec<u8>,
    /// The text of a minisign signature.
    pub signature: Option<String>,
    /// The digest of what the reference names, a manifest or an index: what it is pinned to.
    pub manifest: String,
}

/// All registries.
///
/// Each request begins again, login included, for logins may be short-lived.
#[derive(Clone)]
pub struct Registry {
    logins: Arc<Logins>,
    /// Bounds the threads that a program which keeps logins and never answers can hold.
    asking: Arc<Semaphore>,
    insecure: Arc<BTreeSet<String>>,
}

impl Registry {
    /// Registries that are asked as `logins` says. Those in `insecure`, each as a reference names it, are asked without
    /// TLS, as are those on this machine.
    pub fn new(
        insecure: &BTreeSet<String>,
        logins: impl Fn(&Reference) -> Result<Login, String> + Send + Sync + 'static,
    ) -> Self {
        // Fails if there is one already, which will do as well.
        rustls::crypto::ring::default_provider().install_default().ok();
        let insecure = insecure.iter().map(|registry| registry.to_ascii_lowercase()).collect();
        Registry {
            logins: Arc::new(logins),
            asking: Arc::new(Semaphore::new(ASKING)),
            insecure: Arc::new(insecure),
        }
    }

    /// The digest of the manifest or index that a reference means now. Cheap: seldom is anything else read.
    pub async fn digest(&self, reference: &Reference) -> Result<String, Error> {
        within(LOOK, reference, async { self.remote(reference).await?.digest().await }).await
    }

    /// The component that a reference means now, if it has no more than `max_bytes`.
    pub async fn pull(&self, reference: &Reference, max_bytes: u64) -> Result<Pulled, Error> {
        let work = async {
            let mut remote = self.remote(reference).await?;
            let (manifest, digest) = remote.manifest(reference.version()).await?;
            let image = match manifest {
                Manifest::Image(image) => image,
                Manifest::Index(entries) => component_among(&mut remote, entries).await?,
            };
            let wasm = remote.blob(image.component(reference)?, "component", max_bytes).await?;
            let signature = signature(&mut remote, &image).await?;
            Ok(Pulled { wasm, signature, manifest: digest })
        };
        within(PULL, reference, work).await
    }

    async fn remote<'a>(&self, reference: &'a Reference) -> Result<Remote<'a>, Error> {
        let (logins, component) = (Arc::clone(&self.logins), reference.clone());
        let failed = |cause| Error::Login { registry: reference.registry().to_owned(), cause };
        let asking = Arc::clone(&self.asking).acquire_owned().await;
        let login = tokio::task::spawn_blocking(move || {
            let _asking = asking;
            logins(&component)
        })
        .await;
        let login = login.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        let named = self.insecure.contains(&reference.registry().to_ascii_lowercase());
        let plain = named || reference.is_loopback();
        Remote::new(reference, login, plain, Arc::clone(&self.insecure))
    }
}

/// The one image of an index that holds a component. What builds images puts notes beside it, such as attestations.
async fn component_among(
    remote: &mut Remote<'_>,
    entries: Vec<manifest::Descriptor>,
) -> Result<Image, Error> {
    let reference = remote.reference;
    let images: Vec<_> = entries.iter().filter(|entry| entry.may_be_component()).collect();
    let no_component = |found| Error::NoComponent { reference: reference.to_string(), found };
    if images.len() > MAX_IMAGES {
        return Err(no_component(format!("an index of {} images, too many to inspect each", images.len())));
    }
    let mut found: Option<Image> = None;
    let mut digests = Vec::new();
    for entry in &images {
        match remote.entry(entry).await? {
            Manifest::Image(image) if image.has_component() => {
                digests.push(entry.digest.clone());
                found = Some(image);
            }
            Manifest::Image(_) | Manifest::Index(_) => {}
        }
    }
    match found {
        Some(image) if digests.len() == 1 => Ok(image),
        Some(_) => Err(Error::Index { reference: reference.to_string(), digests }),
        None => Err(no_component(format!("an index of {} images without one", images.len()))),
    }
}

/// A signature stands in the manifest itself or in a layer of its own.
async fn signature(remote: &mut Remote<'_>, image: &Image) -> Result<Option<String>, Error> {
    if let Some(text) = image.noted_signature() {
        return Ok(Some(text.to_owned()));
    }
    let Some(layer) = image.signature_layer() else { return Ok(None) };
    let text = remote.blob(layer, "signature", MAX_SIGNATURE).await?;
    let text = String::from_utf8(text);
    text.map(Some).map_err(|_| answer::failed(remote.reference, "its signature is not text"))
}

async fn within<T>(
    limit: Duration,
    reference: &Reference,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let slow = |_| Err(Error::Slow { reference: reference.to_string(), limit });
    tokio::time::timeout(limit, work).await.unwrap_or_else(slow)
}

#[cfg(test)]
mod tests;
