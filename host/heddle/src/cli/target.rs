//! Which application a command is for, and which server.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::dev_server::DevServer;
use heddle_broker::Broker;
use heddle_config::{self as config, Needs};
use heddle_values::settings::{NatsSettings, Settings};

/// The variable that names the server.
const URL_VARIABLE: &str = "HEDDLE_NATS_URL";

/// Which file describes the application.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The application's file.
    #[arg(short, long, value_name = "FILE", default_value = config::FILE, env = "HEDDLE_CONFIG")]
    pub(super) config: PathBuf,
}

/// Which application, and which server.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The server. Default: that of a running `heddle dev` beside the file, else `nats.url` of the file.
    #[arg(long, value_name = "URL", env = URL_VARIABLE, hide_env_values = true)]
    url: Option<String>,
}

/// Who says which server is meant.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The option or the variable.
    Given(String),
    /// A `heddle dev` that runs.
    Dev(DevServer),
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Given(url) if is_in_environment(url) => write!(f, "{URL_VARIABLE}"),
            Origin::Given(_) => f.write_str("--url"),
            Origin::Dev(server) => f.write_str(&server.origin()),
            Origin::File(path) => write!(f, "`nats.url` of `{}`", path.display()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what a user has set is named to that user")]
fn is_in_environment(url: &str) -> bool {
    std::env::var(URL_VARIABLE).is_ok_and(|set| set == url)
}

impl FileArgs {
    pub(super) fn load(&self, needs: Needs) -> anyhow::Result<Settings> {
        Ok(config::load(&self.config, needs)?)
    }

    /// None: nobody named a file, and there is none.
    pub(super) fn load_if_there(&self, needs: Needs) -> anyhow::Result<Option<Settings>> {
        if self.is_there() { self.load(needs).map(Some) } else { Ok(None) }
    }

    /// Whether there is a file, or one is named that should be.
    fn is_there(&self) -> bool {
        self.config != Path::new(config::FILE) || self.config.exists()
    }

    /// Who says which server a host connects to.
    pub(super) fn origin(&self, url: Option<&String>) -> Origin {
        url.map_or_else(|| Origin::File(self.config.clone()), |url| Origin::Given(url.clone()))
    }
}

impl TargetArgs {
    /// The folder of the file, whether there is one or not.
    pub(super) fn folder(&self) -> &Path {
        let folder = self.file.config.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }

    /// Whether there is a file, or one is named that should be.
    pub(super) fn is_there(&self) -> bool {
        self.file.is_there()
    }

    /// The settings with the server that is meant, and who says so.
    pub(super) fn load(&self, needs: Needs) -> anyhow::Result<(Settings, Origin)> {
        let mut settings = self.file.load(needs)?;
        if self.url.is_none()
            && let Some(server) = DevServer::find(&settings.folder)
        {
            settings.use_own_server(server.url.clone());
            return Ok((settings, Origin::Dev(server)));
        }
        if let Some(url) = &self.url {
            settings.nats.url = url.clone().into();
        }
        Ok((settings, self.file.origin(self.url.as_ref())))
    }

    /// Connects, and does what only reads: that ends as soon as the server denies something, and says what to grant.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&Settings, &Broker) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (settings, broker) = self.connect().await?;
        broker.permitted(work(&settings, &broker)).await
    }

    pub(super) async fn connect(&self) -> anyhow::Result<(Settings, Broker)> {
        let (settings, origin) = self.load(Needs::File)?;
        let broker = origin.connect(&settings, "heddle cli").await?;
        Ok((settings, broker))
    }
}

impl Origin {
    /// Whether nobody says which server is meant, so that it is the usual one.
    pub(super) fn names_none(&self, settings: &Settings) -> bool {
        matches!(self, Origin::File(_)) && settings.nats.url == NatsSettings::default().url
    }

    /// What is said where nobody names a server and none answers: no fault, for so it is in every new project.
    pub(super) fn none_answers(settings: &Settings) -> String {
        format!(
            "no server is named, and none answers at `{}`: `heddle dev` starts one; for `heddle run` name one as `nats.url` in the file or with --url",
            settings.nats.url
        )
    }

    /// Connects to the server of the settings. An error says where its URL is from.
    pub(super) async fn connect(&self, settings: &Settings, name: &str) -> anyhow::Result<Broker> {
        let broker = Broker::connect(&settings.nats, name).await;
        let broker = broker.with_context(|| match self {
            Origin::File(_) => format!(
                "no `heddle dev` runs here, so the server is that of {self}, or nats://127.0.0.1:4222 where it is not set"
            ),
            _ => format!("the server is that of {self}"),
        })?;
        if let Origin::Dev(server) = self {
            server.check(&broker)?;
        }
        Ok(broker)
    }
}
