//! Code: a component that was compiled and fits the world. All handlers of one plugin share it.

use std::sync::Arc;

use wasmparser::Payload;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::adapter::{self, Kind, Pre};
use super::artifact::Digest;
use super::config::ASYNC_TEXT;
use super::guest::Guest;
use super::needs::Needs;
use super::{Error, Policy, TRACK};
use heddle_values::plugin::PluginId;

/// What the names of the contract's interfaces begin with.
const CONTRACT: &str = "heddle:plugin/";

/// A component, ready for any handler.
pub struct Code {
    pre: Pre,
    digest: Digest,
    id: Arc<PluginId>,
    uses_state: bool,
    imports: Vec<String>,
    /// The interface for calls over HTTP that it imports.
    http: Option<String>,
    needs: Needs,
}

impl Code {
    /// Checks a compiled component against the world.
    pub(super) fn new(
        engine: &Engine,
        linker: &Linker<Guest>,
        component: Component,
        digest: Digest,
        wasm: &[u8],
    ) -> Result<Self, Error> {
        let of_type = component.component_type();
        let imports: Vec<String> = of_type.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports: Vec<String> = of_type.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let unknown = |name: &&String| {
            !name.starts_with(CONTRACT) && !name.starts_with("wasi:") && !adapter::knows(name)
        };
        if let Some(unknown) = imports.iter().find(unknown) {
            return Err(Error::UnknownImport(unknown.clone()));
        }
        if let Some(other) = imports.iter().chain(&exports).find_map(|name| other_track(name)) {
            return Err(Error::OtherTrack(other.to_owned()));
        }
        for name in imports.iter().chain(&exports) {
            if let Some(answered) = adapter::other_version(name) {
                return Err(Error::OtherVersion { interface: name.clone(), answered });
            }
        }
        let kind = Kind::of(&exports)?;
        let wrong = |error: wasmtime::Error| {
            let text = format!("{error:#}");
            if text.contains(ASYNC_TEXT) {
                return Error::NeedsAsync;
            }
            Error::WrongWorld { world: kind.world(), cause: text }
        };
        let pre = Pre::new(kind, linker, &component).map_err(wrong)?;
        let uses_state = imports.iter().any(|name| name.starts_with("heddle:plugin/state"));
        let http = imports.iter().find(|name| name.starts_with("wasi:http/outgoing-handler")).cloned();
        let id = PluginId { digest: digest.to_string().into(), version: version(wasm).map(Into::into) };
        Ok(Code { pre, digest, id: id.into(), uses_state, imports, http, needs: Needs::of(wasm) })
    }

    /// Whether a policy grants what the component cannot do without.
    pub(super) fn check(&self, policy: &Policy) -> Result<(), Error> {
        match &self.http {
            Some(name) if policy.grants.http.hosts.is_empty() => Err(Error::NotGranted(name.clone())),
            _ => Ok(()),
        }
    }

    /// What an instance takes of the pool.
    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    pub(super) fn pre(&self) -> &Pre {
        &self.pre
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its digest, and what it says of its version.
    pub fn id(&self) -> &Arc<PluginId> {
        &self.id
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The interface that it imports and that a handler has to grant: `http` among its grants does. None: it needs no
    /// grant, as far as its imports tell.
    pub fn needs_http(&self) -> Option<&str> {
        self.http.as_deref()
    }

    /// Whether it can ask for its key's state.
    pub fn uses_state(&self) -> bool {
        self.uses_state
    }
}

/// The version of the contract that an interface belongs to, if it does not go together with this host's.
fn other_track(name: &str) -> Option<&str> {
    let (_, version) = name.strip_prefix(CONTRACT)?.split_once('@')?;
    let same = version.strip_prefix(TRACK).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    (!same).then_some(version)
}

/// Whether bytes begin as a component does.
pub fn check_header(wasm: &[u8]) -> Result<(), Error> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    match wasm.get(..8) {
        Some(COMPONENT) => Ok(()),
        Some(MODULE) => Err(Error::CoreModule),
        _ => Err(Error::NotWasm),
    }
}

/// The text of the component's custom section `version`, which tools write there.
///
/// Source: the crate `wasm-metadata`, <https://docs.rs/wasm-metadata>.
fn version(wasm: &[u8]) -> Option<String> {
    let mut depth = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == "version" => {
                return std::str::from_utf8(section.data()).ok().map(str::to_owned);
            }
            _ => {}
        }
    }
    None
}
