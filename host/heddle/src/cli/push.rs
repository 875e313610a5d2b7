//! `heddle push`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use super::audit::audit;
use super::consent::Consent;
use super::{CacheArgs, TargetArgs};
use crate::admission::{Place, Users};
use crate::print::{self, complain, say};
use heddle_broker::{Broker, NewObject};
use heddle_config::Needs;
use heddle_sandbox::{self as sandbox, Digest};
use heddle_source::signature;
use heddle_values::object::{Object, SCHEME};
use heddle_values::settings::Settings;

/// Put a plugin into an object store of the server.
///
/// The component is checked first as a host would do it: compiled, compared with the world `heddle:plugin`, and made an
/// instance of, for each handler of the file that uses it under that handler's limits and grants. It is then stored under its name, which is the newest one from now on; a host whose file names it
/// without a tag accepts it. With --tag it is stored under NAME:TAG too. That one stays when a newer plugin is pushed
/// under the name, until something else is pushed with the same tag.
///
/// A file `FILE.minisig` beside the component is stored as its signature.
///
/// The bucket is created if it is missing, with as many copies as the application's stream has. What was done is written
/// into the audit of the application.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The component.
    file: PathBuf,
    /// The name that it is stored under: letters, digits, `.`, `_` and `-`, in parts divided by `/`.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// A tag that it is stored under as well, such as its version.
    #[arg(long)]
    tag: Option<String>,
    /// The object store.
    #[arg(long, default_value = "plugins")]
    bucket: String,
    /// Only check that the file begins as a component does.
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// What is pushed.
struct Parcel {
    wasm: Vec<u8>,
    digest: Digest,
    version: Option<String>,
    signature: Option<String>,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let newest = Object::new(&self.bucket, &self.name, None)?;
        let tagged = self.tag.as_deref().map(|tag| Object::new(&self.bucket, &self.name, Some(tag)));
        let tagged = tagged.transpose()?;
        // The newest at last: a host that hears of it finds the tag there.
        let objects: Vec<&Object> = tagged.iter().chain([&newest]).collect();
        let parcel = self.parcel(&self.target.load(Needs::File)?.0, &objects).await?;
        let (settings, broker) = self.target.connect().await?;
        if !self.consent.dry_run {
            self.store(&broker, &settings, &objects, &parcel).await?;
        }
        let pushed = Pushed { newest: &newest, tagged: tagged.as_ref(), parcel: &parcel };
        if json { pushed.print_json(self.consent.dry_run) } else { Ok(pushed.print(self.consent.dry_run)?) }
    }

    async fn store(
        &self,
        broker: &Broker,
        settings: &Settings,
        objects: &[&Object],
        parcel: &Parcel,
    ) -> anyhow::Result<()> {
        self.audit(broker, settings, objects, parcel).await?;
        for object in objects {
            let new = NewObject {
                name: &object.stored_name(),
                wasm: &parcel.wasm,
                signature: parcel.signature.as_deref(),
                version: parcel.version.as_deref(),
            };
            let stored = broker.put_object(object.bucket(), settings.stream.replicas, new).await?;
            ensure!(
                stored.digest == parcel.digest.to_string(),
                "server has stored `{object}` with the digest {}, but {} was sent",
                stored.digest,
                parcel.digest
            );
        }
        Ok(())
    }

    /// The component as it is in the file, checked, with what goes along.
    async fn parcel(&self, settings: &Settings, objects: &[&Object]) -> anyhow::Result<Parcel> {
        let wasm = sandbox::read(&self.file).await?;
        sandbox::check_header(&wasm)?;
        let version = if self.no_check { None } else { self.check(wasm.clone(), settings, objects).await? };
        Ok(Parcel { digest: Digest::of(&wasm), wasm, version, signature: signature(&self.file).await? })
    }

    /// Checks that a host would accept the plugin. Answers with its version.
    async fn check(
        &self,
        wasm: Vec<u8>,
        settings: &Settings,
        objects: &[&Object],
    ) -> anyhow::Result<Option<String>> {
        let users = Users::of(Some(settings), &[Place::Objects(objects), Place::File(&self.file)]);
        let sandbox = users.sandbox(self.cache.workshop()?)?;
        let code = sandbox.load(wasm).await?;
        users.check(&sandbox, &code).await?;
        if let Some(missing) = users.missing(&code) {
            complain!("note: no handler of the file uses it yet; it needs {missing}");
        }
        Ok(code.id().version.as_deref().map(str::to_owned))
    }

    async fn audit(
        &self,
        broker: &Broker,
        settings: &Settings,
        objects: &[&Object],
        parcel: &Parcel,
    ) -> anyhow::Result<()> {
        let stream = &settings.stream.name;
        if broker.stream_facts(stream).await?.is_none() {
            complain!("note: no audit is written, for stream `{stream}` does not exist yet");
            return Ok(());
        }
        let details = json!({
            "objects": objects.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "digest": parcel.digest.to_string(),
            "version": parcel.version,
            "signed": parcel.signature.is_some(),
            "checked": !self.no_check,
        });
        audit(broker, settings, "push", details).await
    }
}

/// The signature beside a component, if there is one.
async fn signature(component: &Path) -> anyhow::Result<Option<String>> {
    let mut name = component.as_os_str().to_owned();
    name.push(".minisig");
    let text = signature::read(Path::new(&name)).await;
    text.with_context(|| format!("failed to read the signature of `{}`", component.display()))
}

/// What was pushed, or would be.
struct Pushed<'a> {
    newest: &'a Object,
    tagged: Option<&'a Object>,
    parcel: &'a Parcel,
}

impl Pushed<'_> {
    /// How a file names it: always the newest, what the tag says, or this one alone.
    fn names(&self) -> (String, Option<String>, String) {
        let pinned = self.tagged.unwrap_or(self.newest);
        (
            format!("{SCHEME}{}", self.newest),
            self.tagged.map(|tagged| format!("{SCHEME}{tagged}")),
            format!("{SCHEME}{pinned}@{}", self.parcel.digest),
        )
    }

    fn print_json(&self, dry_run: bool) -> anyhow::Result<()> {
        let (newest, tagged, pinned) = self.names();
        print::json(&json!({
            "dry_run": dry_run,
            "newest": newest,
            "tagged": tagged,
            "pinned": pinned,
            "size": self.parcel.wasm.len(),
            "digest": self.parcel.digest.to_string(),
            "version": self.parcel.version,
            "signed": self.parcel.signature.is_some(),
        }))
    }

    fn print(&self, dry_run: bool) -> Result<(), print::Error> {
        let parcel = self.parcel;
        let version =
            parcel.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        let signed = if parcel.signature.is_some() { ", signed" } else { "" };
        let pushed = if dry_run { "would be pushed " } else { "pushed " };
        say!("{pushed} {}{version}{signed}", self.tagged.unwrap_or(self.newest))?;
        say!("size    {} bytes", parcel.wasm.len())?;
        say!("digest  {}", parcel.digest)?;
        let (newest, tagged, pinned) = self.names();
        say!("\nIn heddle.toml, always the newest:\n\n    plugin = \"{newest}\"\n")?;
        if let Some(tagged) = tagged {
            say!("what the tag says:\n\n    plugin = \"{tagged}\"\n")?;
        }
        say!("or this one and no other:\n\n    plugin = \"{pinned}\"")
    }
}
