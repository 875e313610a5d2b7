//! What a handler may reach beyond its event, as `[handlers.NAME.grants]` says.

use std::collections::BTreeSet;

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::scope::Scope;
use super::secret::env_value;
use super::section::Section;
use heddle_values::http::HttpGrants;
use heddle_values::settings::{FileGrant, Grants};

pub(super) fn resolve(mut section: Section<'_>, scope: &Scope<'_>) -> Grants {
    let env = section.texts("env");
    let env =
        env.iter().filter_map(|name| env_value(&section, name).map(|value| (name.value.to_owned(), value)));
    let grants =
        Grants { env: env.collect(), http: http(&mut section, scope), files: files(&mut section, scope) };
    section.finish();
    grants
}

fn http(section: &mut Section<'_>, scope: &Scope<'_>) -> HttpGrants {
    let hosts: Vec<_> = section.list("http").into_iter().map(|host| host.value).collect();
    let private = section.boolean("http-private");
    let ca = section.text("http-ca").map(|file| (scope.folder.join(file.value), file.span));
    if let Some((path, span)) = ca.as_ref().filter(|(path, _)| !path.is_file()) {
        section.missing(span.clone(), format!("`http-ca`: `{}` is not a file", path.display()));
    }
    for key in ["http-private", "http-ca"] {
        let alone = section.value("http").is_none();
        if let Some(value) = section.value(key).filter(|_| alone) {
            section.fault(value.span(), format!("`{key}` needs `http`: the hosts that may be called"));
        }
    }
    HttpGrants { hosts, private: private.unwrap_or(false), ca: ca.map(|(path, _)| path) }
}

fn files(section: &mut Section<'_>, scope: &Scope<'_>) -> Vec<FileGrant> {
    let mut grants = Vec::new();
    let Some(value) = section.value("files") else { return grants };
    let Some(array) = value.get_ref().as_array() else {
        section.wrong_type("files", value, "a list of { host, guest, write } tables");
        return grants;
    };
    let mut seen = BTreeSet::new();
    for item in array.iter() {
        let Some(grant) = file(section, item, scope) else { continue };
        if !seen.insert(grant.guest.clone()) {
            let message =
                format!("`files`: `{}` is there already: a plugin sees one folder at a place", grant.guest);
            section.fault(item.span(), message);
        }
        grants.push(grant);
    }
    grants
}

fn file<'a>(section: &Section<'a>, item: &'a Spanned<DeValue<'a>>, scope: &Scope<'_>) -> Option<FileGrant> {
    let mut file = section.as_section("files", item)?;
    let host = file.required("host").map(|host| scope.folder.join(host.value));
    let guest = file.required("guest").and_then(|guest| {
        let place = place(guest.value);
        if place.is_none() {
            let message =
                format!("`guest`: `{}` is no folder of a plugin: write it as in `/rates`", guest.value);
            file.fault(guest.span, message);
        }
        place
    });
    let write = file.boolean("write").unwrap_or(false);
    if let Some(host) = host.as_ref().filter(|host| !host.is_dir()) {
        file.missing(item.span(), format!("`files`: `{}` is not a folder", host.display()));
    }
    file.finish();
    Some(FileGrant { host: host?, guest: guest?, write })
}

/// Where a plugin sees a folder, written in one way: whether two are the same can be seen then.
fn place(guest: &str) -> Option<String> {
    if guest.is_empty() || guest.contains('\0') || guest.split('/').any(|part| part == "..") {
        return None;
    }
    let parts: Vec<&str> = guest.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_plugin_is_written_in_one_way() {
        for (text, expected) in [
            ("/rates", Some("/rates")),
            ("rates", Some("/rates")),
            ("./rates/", Some("/rates")),
            ("/a//b", Some("/a/b")),
            ("/", Some("/")),
            (".", Some("/")),
            ("", None),
            ("/a/../b", None),
        ] {
            assert_eq!(place(text).as_deref(), expected, "{text}");
        }
    }
}
