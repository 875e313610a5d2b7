//! Where there may be no TLS: which addresses a registry may send us to.
//!
//! Promises that no login goes in the clear to a host for which nobody has allowed that.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Url;

use super::reference::is_loopback;
use super::{Error, Reference};

/// What a registry may send us to.
pub(super) struct Network {
    /// The host of a registry without TLS. None: it has TLS, and may send nobody to where there is none.
    plain: Option<String>,
    /// The registries that may be asked without TLS.
    insecure: Arc<BTreeSet<String>>,
}

impl Network {
    /// What may be called on behalf of the registry that is asked at `base`.
    pub(super) fn new(base: &Url, insecure: Arc<BTreeSet<String>>) -> Self {
        let plain = base.host_str().filter(|_| base.scheme() == "http").map(str::to_owned);
        Network { plain, insecure }
    }

    /// Whether the registry may send us to this address.
    pub(super) fn check(&self, reference: &Reference, url: &Url) -> Result<(), Error> {
        if self.allows(url) {
            return Ok(());
        }
        let host = host_and_port(url);
        let advice = match self.plain {
            None => "a registry with TLS may not do that".to_owned(),
            Some(_) => format!(
                "if its network can be trusted, allow that with `insecure = true` under [registries.\"{host}\"]"
            ),
        };
        Err(Error::NoTls { registry: reference.registry().to_owned(), host, advice })
    }

    fn allows(&self, url: &Url) -> bool {
        match (url.scheme(), url.host_str(), &self.plain) {
            ("https", ..) => true,
            ("http", Some(host), Some(own)) => host == own || is_loopback(host) || self.is_named(url, host),
            _ => false,
        }
    }

    /// Whether an address is that of a registry that may be asked without TLS.
    fn is_named(&self, url: &Url, host: &str) -> bool {
        let named = self.insecure.iter().filter_map(|name| Url::parse(&format!("http://{name}/")).ok());
        let mut named = named.filter(|named| named.host_str() == Some(host));
        named.any(|named| named.port().is_none_or(|port| url.port_or_known_default() == Some(port)))
    }
}

/// The host of an address, with its port if that is named: what of an address may be shown.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_a_registry_sends_only_to_itself_to_this_machine_and_to_who_is_named() {
        let url = |text: &str| Url::parse(text).unwrap();
        let insecure = || Arc::new(BTreeSet::from(["tokens:81".to_owned(), "any-port".to_owned()]));
        let plain = Network::new(&url("http://own:5000/v2/"), insecure());
        for allowed in ["own:5000", "own", "localhost:1", "127.0.0.2", "[::1]:7", "tokens:81", "any-port:9"] {
            assert!(plain.allows(&url(&format!("http://{allowed}/token"))), "{allowed}");
        }
        for refused in ["other", "own.other", "tokens", "tokens:82"] {
            assert!(!plain.allows(&url(&format!("http://{refused}/token"))), "{refused}");
            assert!(plain.allows(&url(&format!("https://{refused}/token"))), "{refused}");
        }
        let reference: Reference = "own:5000/p:1".parse().unwrap();
        let error = plain.check(&reference, &url("http://other:8/?key=secret")).unwrap_err().to_string();
        assert!(error.contains(r#"under [registries."other:8"]"#) && !error.contains("secret"), "{error}");
        let tls = Network::new(&url("https://own/v2/"), insecure());
        assert!(!tls.allows(&url("http://own/")) && !tls.allows(&url("http://tokens:81/")));
    }
}
