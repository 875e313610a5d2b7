//! `heddle permissions`.

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::FileArgs;
use crate::permissions::{Login, authorization, nsc};
use crate::print::{self, say};
use heddle_config::Needs;
use heddle_values::rights::{Rights, Role};
use heddle_values::subject::Pattern;

/// Print the least rights that an application needs on its server.
///
/// Derived from the file: the subjects that each user publishes and subscribes to, as the `authorization` block of
/// nats-server's configuration, or as commands of `nsc`. The server is not asked; `heddle check` compares.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// Whose rights. Default: all.
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<Asked>,
    /// Write commands of `nsc`, for a server whose accounts are JWTs.
    #[arg(long, conflicts_with = "nkey")]
    nsc: bool,
    /// The user's public nkey, in place of a password. Needs --role.
    #[arg(long, value_name = "KEY", requires = "role")]
    nkey: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Asked {
    /// Runs the application.
    Host,
    /// Inspects it and gives it commands.
    Operator,
    /// Stores events.
    Publisher,
}

impl From<Asked> for Role {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Host => Role::Host,
            Asked::Operator => Role::Operator,
            Asked::Publisher => Role::Publisher,
        }
    }
}

impl Command {
    pub(super) fn run(self, json: bool) -> anyhow::Result<()> {
        let settings = self.file.load(Needs::File)?;
        let roles = self.role.map_or_else(|| Role::ALL.to_vec(), |asked| vec![asked.into()]);
        let login = match self.nkey {
            None => Login::Password,
            // The user's own seed begins with an S: it is not to be shown to anybody.
            Some(key) if !is_public_user_key(&key) => {
                bail!("--nkey wants the public key of a user: 56 signs, the first a U")
            }
            Some(key) => Login::Nkey(key),
        };
        if json {
            let of_role = |role: &Role| (role.name().to_owned(), described(&Rights::of(*role, &settings)));
            return print::json(&roles.iter().map(of_role).collect::<Map<String, Value>>());
        }
        let text = if self.nsc { nsc(&settings, &roles) } else { authorization(&settings, &roles, &login) };
        Ok(say!("{}", text.trim_end())?)
    }
}

fn described(rights: &Rights) -> Value {
    json!({ "publish": texts(&rights.publish), "subscribe": texts(&rights.subscribe) })
}

fn texts(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

fn is_public_user_key(key: &str) -> bool {
    let plain = key.chars().all(|c| matches!(c, 'A'..='Z' | '2'..='7'));
    key.len() == 56 && key.starts_with('U') && plain
}
