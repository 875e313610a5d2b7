//! One reference in its registry: what is asked, and as whom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha512};

use super::answer::{self, Refusal, broken, failed};
use super::manifest::{ACCEPTED, Descriptor, Manifest};
use super::network::Network;
use super::token::{Challenge, Pass};
use super::{Error, Login, Reference};

/// How long it may take to connect, and between two parts of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(30);

/// The header in which a registry says the digest of a manifest.
const DIGEST: &str = "docker-content-digest";

/// How often in a row a registry may send us elsewhere.
const MAX_REDIRECTS: usize = 10;

const USER_AGENT: &str = concat!("heddle/", env!("CARGO_PKG_VERSION"));

/// One reference in its registry.
pub(super) struct Remote<'a> {
    pub(super) reference: &'a Reference,
    /// Where its repository is.
    base: Url,
    network: Network,
    client: Client,
    login: Login,
    pass: Option<Pass>,
}

impl<'a> Remote<'a> {
    /// Nothing is asked yet. `plain`: without TLS.
    pub(super) fn new(
        reference: &'a Reference,
        login: Login,
        plain: bool,
        insecure: Arc<BTreeSet<String>>,
    ) -> Result<Self, Error> {
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/{}/", reference.host(), reference.repository()));
        let base = base.map_err(|error| failed(reference, error.to_string()))?;
        let client = Client::builder().connect_timeout(CONNECT).read_timeout(READ).user_agent(USER_AGENT);
        // A registry with TLS sends nobody to where there is none, logins least of all.
        // Each redirect is looked at before it is followed, and a request for a token follows none.
        let client = client.redirect(Policy::none()).https_only(!plain);
        let client = client.build().map_err(|error| broken(reference, error))?;
        let network = Network::new(&base, insecure);
        Ok(Remote { reference, base, network, client, login, pass: None })
    }

    /// The digest of what the reference names.
    pub(super) async fn digest(&mut self) -> Result<String, Error> {
        let version = self.reference.version();
        let response = self.ask(Method::HEAD, &format!("manifests/{version}"), &ACCEPTED).await?;
        let said = response.headers().get(DIGEST).and_then(|digest| digest.to_str().ok());
        match said.filter(|digest| hasher(digest).is_some()) {
            Some(digest) => Ok(digest.to_owned()),
            // A registry need not say it.
            None => Ok(self.manifest(version).await?.1),
        }
    }

    /// The manifest that a tag or digest names, and its digest.
    pub(super) async fn manifest(&mut self, version: &str) -> Result<(Manifest, String), Error> {
        let response = self.ask(Method::GET, &format!("manifests/{version}"), &ACCEPTED).await?;
        let said = response.headers().get(DIGEST).and_then(|digest| digest.to_str().ok()).map(str::to_owned);
        let bytes = answer::read(self.reference, "manifest", response).await?;
        let named = hasher(version).map(|_| version.to_owned());
        for digest in [&said, &named].into_iter().flatten() {
            let Some(mut hasher) = hasher(digest) else { continue };
            hasher.update(&bytes);
            self.check(digest, hasher)?;
        }
        let manifest = Manifest::read(&bytes);
        let manifest = manifest
            .map_err(|cause| failed(self.reference, format!("its manifest cannot be read: {cause}")))?;
        let digest = named.or(said.filter(|digest| hasher(digest).is_some()));
        Ok((manifest, digest.unwrap_or_else(|| sha256(&bytes))))
    }

    /// The manifest that an index names.
    pub(super) async fn entry(&mut self, entry: &Descriptor) -> Result<Manifest, Error> {
        // It becomes part of an address, and without it anything would do.
        hasher(&entry.digest).ok_or_else(|| failed(self.reference, "an entry of its index has no digest"))?;
        Ok(self.manifest(&entry.digest).await?.0)
    }

    /// The bytes of a layer, which are those that its digest says.
    pub(super) async fn blob(
        &mut self,
        layer: &Descriptor,
        what: &'static str,
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        let reference = self.reference;
        let too_big = |size| Error::TooBig { reference: reference.to_string(), what, size, max };
        if layer.size > max {
            return Err(too_big(layer.size));
        }
        let digest = layer.digest.as_str();
        // It becomes part of an address.
        let mut hasher = hasher(digest).ok_or_else(|| failed(reference, "a layer has no digest"))?;
        // By its digest alone: what a manifest names as other places is not asked.
        let mut response = self.ask(Method::GET, &format!("blobs/{digest}"), &[]).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(layer.size).unwrap_or_default());
        while let Some(part) = response.chunk().await.map_err(|error| broken(reference, error))? {
            let size = bytes.len().saturating_add(part.len()) as u64;
            if size > max {
                return Err(too_big(size));
            }
            // A part is small: what the connection had at once.
            hasher.update(&part);
            bytes.extend_from_slice(&part);
        }
        self.check(digest, hasher)?;
        Ok(bytes)
    }

    /// Asks, and logs in if that is wanted. The answer is one that was asked for.
    async fn ask(&mut self, method: Method, path: &str, accepted: &[&str]) -> Result<Response, Error> {
        let url = self.base.join(path).map_err(|error| failed(self.reference, error.to_string()))?;
        let response = self.send(&method, &url, accepted).await?;
        let challenge = match response.status() {
            // Wherever it has sent us to, nobody there gets the login.
            StatusCode::UNAUTHORIZED if self.is_own(response.url()) => Challenge::of(response.headers()),
            _ => None,
        };
        let Some(challenge) = challenge else { return self.granted(response).await };
        match challenge.answer(&self.client, &self.network, self.reference, &self.login).await? {
            None => self.granted(response).await,
            pass => {
                self.pass = pass;
                let response = self.send(&method, &url, accepted).await?;
                self.granted(response).await
            }
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Asks, and goes where it is sent to.
    async fn send(&self, method: &Method, url: &Url, accepted: &[&str]) -> Result<Response, Error> {
        let mut place = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(method, &place, accepted).await?;
            let Some(next) = redirect(&response) else { return Ok(response) };
            self.network.check(self.reference, &next)?;
            place = next;
        }
        Err(failed(self.reference, format!("its registry sends us elsewhere {MAX_REDIRECTS} times in a row")))
    }

    async fn send_once(&self, method: &Method, url: &Url, accepted: &[&str]) -> Result<Response, Error> {
        let request = self.client.request(method.clone(), url.clone());
        let request = if accepted.is_empty() { request } else { request.header(ACCEPT, accepted.join(", ")) };
        let request = match self.pass.as_ref().filter(|_| self.is_own(url)) {
            Some(pass) => pass.put_on(request),
            None => request,
        };
        request.send().await.map_err(|error| broken(self.reference, error))
    }

    async fn granted(&self, response: Response) -> Result<Response, Error> {
        match response.status().is_success() {
            true => Ok(response),
            false => Err(Refusal::read(response).await.into_error(self.reference)),
        }
    }

    fn check(&self, digest: &str, hasher: Box<dyn DynDigest + Send>) -> Result<(), Error> {
        let found = hex(&hasher.finalize());
        if digest.split_once(':').is_some_and(|(_, wanted)| wanted == found) {
            return Ok(());
        }
        let cause = format!("`{digest}` is named, and they have `{found}`");
        Err(Error::WrongDigest { reference: self.reference.to_string(), cause })
    }
}

/// Where an answer sends us to. None: it is one itself.
fn redirect(response: &Response) -> Option<Url> {
    let elsewhere = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| elsewhere)?.to_str().ok()?;
    response.url().join(location).ok()
}

/// What computes a digest of the kind that a text is. None: it is no digest that is understood.
fn hasher(digest: &str) -> Option<Box<dyn DynDigest + Send>> {
    let (algorithm, hex) = digest.split_once(':')?;
    let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match (algorithm, hex.len()) {
        ("sha256", 64) if digits => Some(Box::new(Sha256::default())),
        ("sha512", 128) if digits => Some(Box::new(Sha512::default())),
        _ => None,
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
