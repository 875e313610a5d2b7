//! The handlers of a cell: who handles its events, what they depend on, and how they are set up.

use anyhow::{Context as _, Result};
use heddle_tests::{App, Service, language_guest};
use serde::Serialize;
use tempfile::TempDir;

use super::Cell;

/// Who handles the events of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guest {
    /// The guest `contrary`. With an outage, it needs a file.
    File,
    /// The guest `caller`, which needs an HTTP service.
    Http,
    /// The guest `probe` in each of these languages, a handler for each. They need nothing.
    Languages(&'static [&'static str]),
}

impl Guest {
    /// Where an event of a key is published.
    pub(super) fn subject(self, key: u64, number: u64) -> String {
        match self {
            Guest::File | Guest::Http => format!("in.k{key}"),
            Guest::Languages(all) => {
                let turn = number.checked_rem(all.len() as u64).and_then(|turn| usize::try_from(turn).ok());
                let language = turn.and_then(|turn| all.get(turn)).copied().unwrap_or_default();
                format!("in.fail.k{key}.{language}")
            }
        }
    }
}

/// What the events of a cell depend on.
pub(super) enum Outside {
    Nothing,
    File(TempDir),
    /// The service, unless it is away, and its port.
    Http(Option<Service>, u16),
}

impl Outside {
    pub(super) async fn start(cell: &Cell) -> Result<Self> {
        Ok(match cell.guest {
            Guest::File => {
                let folder = tempfile::tempdir().context("no folder for what the handler depends on")?;
                std::fs::write(folder.path().join("up"), "")?;
                Outside::File(folder)
            }
            Guest::Http => {
                let service = Service::start(None).await;
                let port = service.port();
                Outside::Http(Some(service), port)
            }
            Guest::Languages(_) => Outside::Nothing,
        })
    }

    /// The port of the service.
    pub(super) fn port(&self) -> u16 {
        if let Outside::Http(_, port) = self { *port } else { 0 }
    }

    /// From now on it is away.
    pub(super) fn fail(&mut self) -> Result<()> {
        match self {
            Outside::Nothing => {}
            Outside::File(folder) => std::fs::remove_file(folder.path().join("up"))?,
            Outside::Http(service, _) => *service = None,
        }
        Ok(())
    }

    /// From now on it is there again.
    pub(super) async fn recover(&mut self) -> Result<()> {
        match self {
            Outside::Nothing => {}
            Outside::File(folder) => std::fs::write(folder.path().join("up"), "")?,
            Outside::Http(service, port) => *service = Some(Service::start_again(*port).await?),
        }
        Ok(())
    }

    /// The application of a cell.
    pub(super) fn application(&self, cell: &Cell) -> App {
        let mut more = policy(cell);
        match (self, cell.guest) {
            (Outside::File(folder), _) => {
                let folder = folder.path();
                more += &format!("grants = {{ files = [{{ host = {folder:?}, guest = \"/world\" }}] }}\n");
                App::contrary(&more)
            }
            (Outside::Http(_, port), _) => {
                App::caller(&format!("{more}grants = {{ http = [\"localhost:{port}\"] }}\n"))
            }
            (Outside::Nothing, Guest::Languages(all)) => languages(all, &more),
            (Outside::Nothing, _) => App::contrary(&more),
        }
    }
}

fn policy(cell: &Cell) -> String {
    let instances = if cell.reuse { "instances = { reuse = 1000 }" } else { "" };
    let outage = match cell.circuit {
        true => "outage = { probe = { initial = \"50ms\", max = \"500ms\" }, max-open = \"15s\" }",
        false => "outage = false",
    };
    format!(
        "{instances}\n{outage}\nretry = {{ max-attempts = 4, backoff = {{ initial = \"50ms\", max = \"1s\" }} }}\n"
    )
}

fn languages(all: &[&str], more: &str) -> App {
    let head = "app = \"t\"\nshards = 4\n[stream]\nname = \"T\"\nsubjects = [\"in.>\", \"out.>\"]\n";
    let handler = |language: &&str| {
        let plugin = language_guest(language, "probe");
        format!(
            "[handlers.{language}]\nplugin = {plugin:?}\nsubscribe = [\"in.fail.*.{language}\"]\nkey = \"{{subject.2}}\"\npublishes = [\"out.>\"]\n{more}"
        )
    };
    App::new(&(head.to_owned() + &all.iter().map(handler).collect::<String>()))
}
