//! Grants of calls over HTTP: which hosts a handler may call, and at which addresses they may be.
//!
//! Promises that a grant that can never match is refused when it is read, and that a granted name is no way to the
//! addresses of this machine or its network. Refuses to know how a call is made.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The longest name of a host, in bytes (RFC 1035).
const MAX_NAME: usize = 253;

/// The longest part of a name, in bytes (RFC 1035).
const MAX_LABEL: usize = 63;

/// Why a text grants no host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` grants nothing: {cause}. A grant is written `api.example.com`, `api.example.com:8080`, `https://api.example.com`, `127.0.0.1:8080` or `[::1]`"
)]
pub struct Error {
    text: String,
    cause: &'static str,
}

/// What a handler may call over HTTP. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpGrants {
    /// Any other host is refused. Empty: no call is allowed.
    pub hosts: Vec<HttpHost>,
    /// Whether a granted name may stand for an address of a private network. Default no.
    pub private: bool,
    /// A file of certificates that are trusted besides the usual ones, in PEM.
    pub ca: Option<PathBuf>,
}

/// A host that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHost {
    /// None: with TLS or without.
    scheme: Option<Scheme>,
    host: Host,
    /// None: that of the scheme, or any where no scheme is named.
    port: Option<NonZeroU16>,
}

/// How a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS, on port 80 unless the URL names one.
    Http,
    /// With TLS, on port 443 unless the URL names one.
    Https,
}

impl Scheme {
    /// As URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that a URL means without naming it.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// In lower case.
    Name(Box<str>),
    Address(IpAddr),
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// With TLS or without; a grant may allow only one of them.
    pub scheme: Scheme,
    /// As URLs write it: an address of IPv6 stands in brackets.
    pub host: &'a str,
    /// That of the URL, or that of the scheme where the URL names none.
    pub port: u16,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

impl Target<'_> {
    /// The address, if the host is one and no name.
    pub fn address(&self) -> Option<IpAddr> {
        literal(self.host)
    }
}

impl HttpGrants {
    /// Whether a call may be made, as far as its URL tells.
    pub fn allows(&self, target: Target<'_>) -> bool {
        self.hosts.iter().any(|granted| granted.allows(target))
    }

    /// Whether a call that is allowed may go to `address`, which its host stands for.
    ///
    /// A name that anybody may give an address to must not open what lies behind the host's own walls: the addresses of
    /// this machine, of its network, and those where clouds answer with a machine's secrets.
    pub fn reaches(&self, target: Target<'_>, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let named = |granted: &HttpHost| granted.host == Host::Address(address) && granted.fits(target);
        if self.hosts.iter().any(named) {
            return true;
        }
        match Reach::of(address) {
            Reach::Public => true,
            Reach::Loopback => self.private || is_localhost(target.host),
            Reach::Private => self.private,
            Reach::Nowhere => false,
        }
    }

    /// What is granted, for people.
    pub fn list(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("`{host}`")).collect();
        if hosts.is_empty() { "nothing".to_owned() } else { hosts.join(", ") }
    }
}

impl HttpHost {
    fn allows(&self, target: Target<'_>) -> bool {
        let same = match (&self.host, target.address()) {
            (Host::Address(granted), Some(address)) => *granted == address.to_canonical(),
            (Host::Name(granted), None) => granted.eq_ignore_ascii_case(target.host),
            _ => false,
        };
        same && self.fits(target)
    }

    /// Whether scheme and port are granted.
    fn fits(&self, target: Target<'_>) -> bool {
        let port = self.port.map(NonZeroU16::get).or(self.scheme.map(Scheme::port));
        self.scheme.is_none_or(|scheme| scheme == target.scheme)
            && port.is_none_or(|port| port == target.port)
    }
}

/// Who can be reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    /// This machine.
    Loopback,
    /// A network that is not the internet.
    Private,
    /// Nobody, several at once, or only the next link, where clouds answer with the secrets of a machine.
    Nowhere,
}

impl Reach {
    /// Source: the registries of special-purpose addresses of IANA (RFC 6890).
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        if address.is_loopback() {
            Reach::Loopback
        } else if address.is_private()
            || (a == 100 && (64..128).contains(&b))
            || (a == 198 && (18..20).contains(&b))
        {
            Reach::Private
        } else if a == 0 || a >= 224 || address.is_link_local() {
            Reach::Nowhere
        } else {
            Reach::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let [first, second, third, .., last, end] = address.segments();
        let within = Ipv4Addr::from((u32::from(last) << 16) | u32::from(end));
        if address.is_loopback() {
            Reach::Loopback
        } else if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
            Reach::Nowhere
        } else if (first, second) == (0x64, 0xff9b) {
            // A gateway leads to the address of IPv4 that it ends with.
            Self::of_v4(within)
        } else if first == 0x2002 {
            Self::of_v4(Ipv4Addr::from((u32::from(second) << 16) | u32::from(third)))
        } else if address.is_unique_local() || first & 0xffc0 == 0xfec0 {
            Reach::Private
        } else {
            Reach::Public
        }
    }
}

/// Names that stand for this machine by themselves (RFC 6761).
fn is_localhost(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// An address as a URL writes it.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

impl FromStr for HttpHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|cause| Error { text: text.escape_debug().to_string(), cause })
    }
}

fn parse(text: &str) -> Result<HttpHost, &'static str> {
    let (scheme, place) = match text.split_once("://") {
        Some(("http", place)) => (Some(Scheme::Http), place),
        Some(("https", place)) => (Some(Scheme::Https), place),
        Some(_) => return Err("only `http://` and `https://` are called"),
        None => (None, text),
    };
    if place.contains(['/', '?', '#', '@']) {
        return Err("it names a host, without a path and without a user");
    }
    if place.contains('*') {
        return Err("each host is named in full");
    }
    // What follows the last colon is the port, but for those in brackets.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.contains(':') && literal(host).is_none() {
        return Err("an address of IPv6 stands in brackets");
    }
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().map_err(|_| "a port is a number from 1 to 65535")?)
        }
        Some(_) => return Err("a port is a number from 1 to 65535"),
    };
    let host = match literal(host) {
        Some(_) if scheme.is_some() => return Err("an address is granted without a scheme"),
        Some(address) => Host::Address(address.to_canonical()),
        None => Host::Name(name(host)?.into()),
    };
    Ok(HttpHost { scheme, host, port })
}

fn name(host: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    if !host.is_ascii() {
        return Err("a name with other letters is written as it is asked for, as in `xn--bcher-kva.example`");
    }
    if host.len() > MAX_NAME || !host.split('.').all(is_label) {
        return Err("a name has letters, digits, `-` and `_`, in parts divided by dots");
    }
    if host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("it is no name, for it ends with a number, and no address either");
    }
    Ok(host.to_ascii_lowercase())
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.as_str())?;
        }
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(hosts: &[&str]) -> HttpGrants {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        HttpGrants { hosts, ..HttpGrants::default() }
    }

    fn target(url: &str) -> Target<'_> {
        let (scheme, place) = url.split_once("://").unwrap();
        let (host, port) = place.rsplit_once(':').unwrap();
        let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
        Target { scheme, host, port: port.parse().unwrap() }
    }

    #[test]
    fn a_grant_that_can_never_match_says_how_it_is_written() {
        for (text, cause) in [
            ("https://127.0.0.1:8080", "without a scheme"),
            ("ftp://example.com", "only `http://`"),
            ("*.example.com", "named in full"),
            ("api.example.com/", "without a path"),
            ("https://api.example.com/v1", "without a path"),
            ("user@api.example.com", "without a user"),
            (" api.example.com", "a name has letters"),
            ("api example.com", "a name has letters"),
            ("api..example.com", "a name has letters"),
            ("api.example.com.", "a name has letters"),
            ("api.example.com:", "a port is a number"),
            ("api.example.com:0", "a port is a number"),
            ("api.example.com:99999", "a port is a number"),
            ("api.example.com:+80", "a port is a number"),
            ("::1", "in brackets"),
            ("[::1", "in brackets"),
            ("300.0.0.1", "no address either"),
            ("bücher.example", "xn--"),
            ("", "no host"),
            ("https://", "no host"),
        ] {
            let error = text.parse::<HttpHost>().map(|host| host.to_string()).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains("`[::1]`"), "{text}: {error}");
        }
    }

    #[test]
    fn a_grant_reads_back_as_it_was_written() {
        for text in [
            "api.example.com",
            "api.example.com:8080",
            "https://api.example.com",
            "http://a_b.example:81",
            "localhost",
            "127.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
        ] {
            assert_eq!(text.parse::<HttpHost>().map(|host| host.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn only_granted_hosts_ports_and_schemes_are_called() {
        let granted =
            grants(&["api.example.com", "localhost:8080", "https://tls.example", "10.0.0.1", "[::1]:81"]);
        for (url, expected) in [
            ("https://api.example.com:443", true),
            ("http://API.example.com:8443", true),
            ("http://localhost:8080", true),
            ("http://localhost:80", false),
            ("https://tls.example:443", true),
            ("https://tls.example:8443", false),
            ("http://tls.example:443", false),
            ("http://10.0.0.1:9", true),
            ("http://10.0.0.2:9", false),
            ("http://[0:0:0:0:0:0:0:1]:81", true),
            ("http://[::1]:80", false),
            ("https://example.com:443", false),
            ("https://evil-api.example.com:443", false),
        ] {
            assert_eq!(granted.allows(target(url)), expected, "{url}");
        }
    }

    #[test]
    fn a_granted_name_opens_no_private_address() {
        let name = target("https://api.example.com:443");
        let closed = grants(&["api.example.com"]);
        let open = HttpGrants { private: true, ..closed.clone() };
        for (address, always, if_private) in [
            ("93.184.216.34", true, true),
            ("2606:2800:220:1::1", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("10.1.2.3", false, true),
            ("172.31.0.1", false, true),
            ("192.168.0.1", false, true),
            ("100.100.100.200", false, true),
            ("fd00:ec2::254", false, true),
            ("64:ff9b::10.0.0.1", false, true),
            ("2002:0a00:0001::", false, true),
            ("169.254.169.254", false, false),
            ("64:ff9b::169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("0.0.0.0", false, false),
            ("255.255.255.255", false, false),
            ("224.0.0.1", false, false),
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(closed.reaches(name, parsed), always, "{address}");
            assert_eq!(open.reaches(name, parsed), if_private, "{address}, private");
        }
    }

    #[test]
    fn what_is_granted_by_address_is_reached_and_so_is_this_machine_by_its_name() {
        let granted = grants(&["localhost", "169.254.169.254:80", "api.example.com"]);
        let metadata = "169.254.169.254".parse().unwrap();
        assert!(granted.reaches(target("http://169.254.169.254:80"), metadata));
        assert!(granted.reaches(target("http://api.example.com:80"), metadata));
        assert!(!granted.reaches(target("http://api.example.com:81"), metadata));
        assert!(granted.reaches(target("http://localhost:80"), "127.0.0.1".parse().unwrap()));
        assert!(!granted.reaches(target("http://localhost:80"), "10.0.0.1".parse().unwrap()));
    }
}
