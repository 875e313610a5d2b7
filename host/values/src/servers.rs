//! The servers' addresses, with the logins that stand in them.
//!
//! Promises that what is shown of them holds no login, not even where the text cannot be understood.

use std::fmt;

use thiserror::Error;

use super::secret::Secret;

/// Why a text names no servers. It is never quoted: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The text holds no server: it is empty, or only commas and blanks.
    #[error("no server is named: write `nats://HOST:PORT`, several separated by commas")]
    Empty,
    /// The server at this place of the list, counted from 1, cannot be understood.
    #[error(
        "server {0} is not `[nats://|tls://][USER:PASSWORD@|TOKEN@]HOST[:PORT]`: in a login write `,` as %2C, `@` as %40, `/` as %2F, `:` as %3A and `%` as %25"
    )]
    Malformed(usize),
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Scheme, host and port, without a login.
    pub url: String,
    /// What stands before its `@`. `None`: the login of the settings counts.
    pub login: Option<Login>,
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Name and password, as there is a colon between them.
    User {
        /// Without percent-encoding.
        name: String,
        /// Without percent-encoding.
        password: Secret,
    },
    /// All of a login that has no colon, without percent-encoding.
    Token(Secret),
}

/// One server or several, as they are written: separated by commas.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers(Secret);

impl From<String> for Servers {
    fn from(text: String) -> Self {
        Servers(Secret::new(text))
    }
}

impl Servers {
    /// The servers in the order in which they are written; at least one.
    ///
    /// # Errors
    /// The number of the first server that cannot be understood.
    pub fn addresses(&self) -> Result<Vec<Address>, Error> {
        let entries = self.0.reveal().split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let addresses: Result<Vec<Address>, Error> = entries
            .enumerate()
            .map(|(n, entry)| address(entry, n == 0).ok_or(Error::Malformed(n + 1)))
            .collect();
        addresses.and_then(|addresses| if addresses.is_empty() { Err(Error::Empty) } else { Ok(addresses) })
    }
}

/// Servers without their logins.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addresses() {
            Ok(addresses) => {
                let urls: Vec<String> = addresses.into_iter().map(|address| address.url).collect();
                f.write_str(&urls.join(","))
            }
            Err(_) => f.write_str("***"),
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn address(entry: &str, first: bool) -> Option<Address> {
    let (scheme, rest) = entry.split_once("://").map_or((None, entry), |(scheme, rest)| (Some(scheme), rest));
    if scheme.is_some_and(|scheme| scheme != "nats" && scheme != "tls") {
        return None;
    }
    let (login, place) = match rest.rsplit_once('@') {
        // The end of a password that has a comma in it would be taken for a server with a login.
        Some(_) if scheme.is_none() && !first => return None,
        Some((login, place)) => (Some(self::login(login)?), place),
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let url = format!("{}://{place}", scheme.unwrap_or("nats"));
    is_place(place).then_some(Address { url, login })
}

fn login(text: &str) -> Option<Login> {
    Some(match text.split_once(':') {
        Some((name, password)) => {
            Login::User { name: decode(name)?, password: Secret::new(decode(password)?) }
        }
        None => Login::Token(Secret::new(decode(text)?)),
    })
}

/// A host, perhaps with a port.
fn is_place(place: &str) -> bool {
    let (host, port) = match place.strip_prefix('[') {
        // An address of version 6 is full of colons.
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("?"))),
            None => return false,
        },
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let legal =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || (place.starts_with('[') && c == ':');
    !host.is_empty() && host.chars().all(legal) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Undoes percent-encoding. None where it is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Option<Login> {
        Some(Login::User { name: name.to_owned(), password: Secret::new(password) })
    }

    #[track_caller]
    fn check(text: &str, shown: &str, logins: &[Option<Login>]) {
        let servers = Servers::from(text.to_owned());
        let found: Vec<Option<Login>> =
            servers.addresses().unwrap_or_default().into_iter().map(|address| address.login).collect();
        assert_eq!((servers.to_string().as_str(), found.as_slice()), (shown, logins), "{text}");
        assert_eq!(format!("{servers:?}"), shown);
    }

    #[test]
    fn addresses_are_told_from_the_logins_in_them() {
        check("127.0.0.1:4222", "nats://127.0.0.1:4222", &[None]);
        check("nats://app:s3cret@a:1, tls://b", "nats://a:1,tls://b", &[user("app", "s3cret"), None]);
        check("nats://t0ken@a", "nats://a", &[Some(Login::Token(Secret::new("t0ken")))]);
        check("app:p%40ss%2C%3a@[::1]:4222/", "nats://[::1]:4222", &[user("app", "p@ss,:")]);
        check("nats://app:with@at/and:colon@a", "nats://a", &[user("app", "with@at/and:colon")]);
    }

    #[test]
    fn what_cannot_be_understood_is_not_shown() {
        for text in [
            "nats://app:s3,cret@a",
            "nats://app:12,34@a",
            "http://a",
            "nats://a:b",
            "nats://t%zz@a",
            "",
            "nats://",
        ] {
            check(text, "***", &[]);
        }
        let error = Servers::from("nats://a,nats://b:x".to_owned()).addresses().unwrap_err();
        assert_eq!(error, Error::Malformed(2));
    }
}
