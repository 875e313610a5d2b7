//! The server's part of the file: where it is, and who logs in.

use std::path::{Path, PathBuf};

use super::secret::given;
use super::section::{Placed, Section};
use heddle_values::effects::is_reserved;
use heddle_values::servers::Servers;
use heddle_values::settings::{Api, NatsSettings, TlsSettings};
use heddle_values::subject;

pub(super) fn resolve(mut section: Section<'_>, folder: &Path) -> NatsSettings {
    let mut settings = NatsSettings::default();
    if let Some(Placed { value, span }) = section.text("url") {
        settings.url = Servers::from(value.to_owned());
        if let Err(error) = settings.url.addresses() {
            section.fault(span, format!("`url`: {error}"));
        }
    }
    login(&mut section, folder, &mut settings);
    if let Some(Placed { value, span }) = section.text("inbox-prefix") {
        match subject::check(value) {
            Ok(()) if is_reserved_prefix(value) => section.fault(
                span,
                format!(
                    "`inbox-prefix`: `{value}` is reserved: what the server answers would be stored there"
                ),
            ),
            Ok(()) => settings.inbox_prefix = value.to_owned(),
            Err(error) => section.fault(span, format!("`inbox-prefix`: {error}")),
        }
    }
    settings.api = api(&mut section);
    settings.ignore_discovered_servers = section.boolean("ignore-discovered-servers").unwrap_or(false);
    if let Some(section) = section.section("tls") {
        settings.tls = tls(section, folder);
    }
    section.finish();
    settings
}

/// Whether Heddle or the server has subjects of its own there.
fn is_reserved_prefix(prefix: &str) -> bool {
    !prefix.starts_with("_INBOX") && is_reserved(prefix)
}

fn path(section: &mut Section<'_>, key: &'static str, folder: &Path) -> Option<PathBuf> {
    section.text(key).map(|text| folder.join(text.value))
}

fn login(section: &mut Section<'_>, folder: &Path, settings: &mut NatsSettings) {
    settings.creds = path(section, "creds", folder);
    settings.nkey = path(section, "nkey", folder);
    settings.token = given(section, "token", folder);
    let written = [section.value("user").is_some(), section.value("password").is_some()];
    settings.user = given(section, "user", folder).zip(given(section, "password", folder));
    if let [true, false] | [false, true] = written {
        section.fault(section.span(), "`user` and `password` go together");
    }
    let ways = [
        ("creds", settings.creds.is_some()),
        ("nkey", settings.nkey.is_some()),
        ("user", settings.user.is_some()),
        ("token", settings.token.is_some()),
    ];
    let ways: Vec<String> =
        ways.iter().filter(|(_, given)| *given).map(|(name, _)| format!("`{name}`")).collect();
    if ways.len() > 1 {
        section.fault(section.span(), format!("{} exclude each other", ways.join(" and ")));
    }
}

fn api(section: &mut Section<'_>) -> Api {
    let (domain, prefix) = (section.text("domain"), section.text("api-prefix"));
    let api = match (domain, prefix) {
        (None, None) => return Api::Own,
        (Some(_), Some(Placed { span, .. })) => {
            section.fault(span, "`domain` and `api-prefix` exclude each other");
            return Api::Own;
        }
        (Some(Placed { value, span }), None) if value.contains('.') => {
            section
                .fault(span, "`domain`: the name of a JetStream domain has no dots; `api-prefix` may have");
            return Api::Own;
        }
        (Some(domain), None) => (domain.clone(), Api::Domain(domain.value.to_owned())),
        (None, Some(prefix)) => (prefix.clone(), Api::Prefix(prefix.value.to_owned())),
    };
    let (Placed { value, span }, api) = api;
    if let Err(error) = subject::check(value) {
        section.fault(span, format!("JetStream is asked under `{value}`: {error}"));
    }
    api
}

fn tls(mut section: Section<'_>, folder: &Path) -> TlsSettings {
    let first = section.boolean("first").unwrap_or(false);
    let required = section.boolean("required").unwrap_or(false);
    let ca = path(&mut section, "ca", folder);
    let (certificate, key) = (path(&mut section, "cert", folder), path(&mut section, "key", folder));
    if certificate.is_some() != key.is_some() {
        section.fault(section.span(), "`cert` and `key` go together");
    }
    section.finish();
    TlsSettings { required, first, ca, identity: certificate.zip(key) }
}
