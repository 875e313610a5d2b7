//! Whether a host would take a component that is still a file: what `build`, `push` and `invoke` ask before it is
//! anybody's plugin.
//!
//! Promises that they accept what `check` accepts. The handlers of the application's file that use the component decide,
//! each under its own limits and grants. Where no handler uses it, only the world decides, and what a handler will have to
//! grant is said.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::host::{Workshop, everything, policy};
use heddle_flow::versions::{self, Refusal};
use heddle_sandbox::{Code, Policy, Sandbox};
use heddle_values::object::Object;
use heddle_values::plugin::PluginPlace;
use heddle_values::policy::Limits;
use heddle_values::settings::{Grants, HandlerSettings, Settings};

/// What a plugin may use that no handler uses yet: more than most handlers allow, for it is not known which one will run it.
const LIMITS: (u64, Duration) = (1 << 30, Duration::from_secs(10));

/// Default of nats-server's `max_payload`, in bytes: no server is asked here.
const MAX_PAYLOAD: usize = 1 << 20;

/// Where handlers will find a component.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In a file, which need not be there yet. It may be named by any path that leads to it.
    File(&'a Path),
    /// In an object store, under all of these names.
    Objects(&'a [&'a Object]),
}

impl Place<'_> {
    fn is_that_of(&self, handler: &HandlerSettings) -> bool {
        match (self, &handler.plugin.place) {
            (Place::File(file), PluginPlace::File(plugin)) => settled(file) == settled(plugin),
            (Place::Objects(objects), PluginPlace::Object(plugin)) => objects.contains(&plugin),
            _ => false,
        }
    }
}

/// A file under one name, whatever links lead to it. It need not be there yet.
fn settled(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |there: &Path| Some((there.canonicalize().ok()?, absolute.strip_prefix(there).ok()?));
    match absolute.ancestors().find_map(real) {
        Some((real, rest)) => real.components().chain(rest.components()).collect(),
        None => absolute,
    }
}

/// The handlers that use a component as their plugin.
#[derive(Debug)]
pub struct Users {
    /// Of the handlers that use it; empty: no handler does.
    policies: Vec<Policy>,
}

impl Users {
    /// The handlers that use what lies at any of these places.
    pub fn of(settings: Option<&Settings>, places: &[Place<'_>]) -> Self {
        let mut policies = Vec::new();
        if let Some(settings) = settings {
            let uses = |handler: &&Arc<HandlerSettings>| places.iter().any(|place| place.is_that_of(handler));
            let users = settings.handlers.iter().filter(uses);
            policies.extend(users.map(|handler| for_a_look(policy(settings, handler, MAX_PAYLOAD))));
        }
        Users { policies }
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.policies.iter().map(|policy| &*policy.handler).collect()
    }

    /// Limits that all of them keep within. None: no handler uses it.
    pub fn limits(&self) -> Option<Limits> {
        let wider = |all: Limits, one: Limits| Limits {
            time: all.time.max(one.time),
            memory: all.memory.max(one.memory),
            messages: all.messages.max(one.messages),
            output: all.output.max(one.output),
            state: all.state.max(one.state),
            host_calls: all.host_calls.max(one.host_calls),
        };
        self.policies.iter().map(|policy| policy.limits).reduce(wider)
    }

    fn limits_of_a_look(&self) -> Limits {
        let (memory, time) = LIMITS;
        self.limits().unwrap_or(Limits { memory, time, ..Limits::default() })
    }

    /// What any of them grants.
    pub fn grants(&self) -> Grants {
        let mut all = Grants::default();
        for Policy { grants, .. } in &self.policies {
            all.env.extend(grants.env.iter().cloned());
            all.files.extend(grants.files.iter().cloned());
            all.http.hosts.extend(grants.http.hosts.iter().cloned());
            all.http.private |= grants.http.private;
            all.http.ca = all.http.ca.or_else(|| grants.http.ca.clone());
        }
        all.files.sort_by(|a, b| a.guest.cmp(&b.guest));
        all.files.dedup_by(|a, b| a.guest == b.guest);
        all
    }

    /// A sandbox that is large enough for all of them.
    pub fn sandbox(&self, workshop: Workshop) -> Result<Sandbox, heddle_sandbox::Error> {
        workshop.sandbox(self.limits_of_a_look().memory)
    }

    /// Checks code as each of them would.
    ///
    /// # Errors
    /// A handler would reject it; or, if no handler uses it, it does not fit the world.
    pub async fn check(&self, sandbox: &Sandbox, code: &Arc<Code>) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        for policy in &self.policies {
            let name = policy.handler.to_string();
            let admitted = sandbox.plugin(Arc::clone(code), Arc::new(policy.clone())).await;
            faults.extend(admitted.err().map(|error| (name, Refusal::Sandbox(error))));
        }
        if self.policies.is_empty() {
            let policy = Arc::new(everything("nobody", self.limits_of_a_look()));
            sandbox.plugin_of_nobody(Arc::clone(code), policy).await?;
        }
        if faults.is_empty() { Ok(()) } else { Err(versions::Error::Plugins(faults).into()) }
    }

    /// What a handler will have to grant, in words, if none does yet.
    pub fn missing(&self, code: &Code) -> Option<String> {
        let interface = code.needs_http().filter(|_| self.policies.is_empty())?;
        Some(format!("`http` among the grants of its handler, for it imports `{interface}`"))
    }
}

/// A policy without what only the machine has that runs the application: folders and authorities that are not here keep no
/// component from being built.
fn for_a_look(mut policy: Policy) -> Policy {
    policy.grants.files.retain(|file| file.host.is_dir());
    policy.grants.http.ca = policy.grants.http.ca.filter(|ca| ca.is_file());
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_whatever_way_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("dist")).unwrap();
        std::os::unix::fs::symlink(real.join("dist"), real.join("link")).unwrap();
        let wanted = real.join("dist/a.wasm");
        assert_eq!(settled(&real.join("link/a.wasm")), wanted);
        assert_eq!(settled(&real.join("./dist/./a.wasm")), wanted);
        std::fs::write(&wanted, "").unwrap();
        std::os::unix::fs::symlink("dist/a.wasm", real.join("newest.wasm")).unwrap();
        assert_eq!(settled(&real.join("newest.wasm")), wanted);
        assert_eq!(settled(&real.join("none/a.wasm")), real.join("none/a.wasm"));
    }
}
