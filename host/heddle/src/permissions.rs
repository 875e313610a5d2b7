//! Permissions: what the host's user needs, compared with what it has, and written down for the operator who grants it.

use std::fmt::Write;

use heddle_broker::{self as broker, Broker};
use heddle_values::rights::{Rights, Role, denied_publishes, needed_to_run};
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;

/// Says at once what the host's user may not do, before anything is taken over. If the server does not tell, whatever is
/// denied is said when it is needed.
pub(super) async fn check_permissions(broker: &Broker, settings: &Settings) -> Result<(), broker::Error> {
    let Some(permissions) = broker.permissions().await else { return Ok(()) };
    let grants = needed_to_run(settings).lacking(&permissions);
    if !grants.is_empty() {
        let cause = format!("application `{}` cannot run without", settings.app);
        return Err(broker::Error::Denied { grants, cause });
    }
    for line in denied_publishes(settings, &permissions) {
        tracing::warn!("{line}");
    }
    Ok(())
}

/// How a user of the server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// By a password that the server takes from its environment.
    Password,
    /// By an nkey; its public part.
    Nkey(String),
}

/// The users of some roles, as `authorization` of nats-server's configuration.
pub(super) fn authorization(settings: &Settings, roles: &[Role], login: &Login) -> String {
    let app = &settings.app;
    let mut text = format!(
        "# The least rights in application `{app}`. A server that has `accounts` takes the users there.\nauthorization {{\n  users = [\n"
    );
    for role in roles {
        let rights = Rights::of(*role, settings);
        let user = match login {
            Login::Password => format!("user: \"{}\", password: ${}", user(app, *role), variable(app, *role)),
            Login::Nkey(key) => format!("nkey: {key}"),
        };
        let lists = [("publish", &rights.publish), ("subscribe", &rights.subscribe)];
        let lists = lists.map(|(action, patterns)| list(action, patterns)).concat();
        write!(
            text,
            "    # {}: {}.\n    {{\n      {user}\n      permissions: {{\n{lists}      }}\n    }}\n",
            role.name(),
            role.purpose()
        )
        .expect("a string takes any text");
    }
    text.push_str("  ]\n}\n");
    text
}

fn list(action: &str, patterns: &[Pattern]) -> String {
    let lines: String =
        patterns.iter().map(|pattern| format!("            {:?}\n", pattern.as_str())).collect();
    format!("        {action}: {{\n          allow: [\n{lines}          ]\n        }}\n")
}

/// The rights of roles as commands of `nsc`, for a server whose accounts are JWTs.
pub(super) fn nsc(settings: &Settings, roles: &[Role]) -> String {
    let command = |role: &Role| {
        let rights = Rights::of(*role, settings);
        let joined =
            |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(",");
        format!(
            "# {}: {}.\nnsc add user --account \"$ACCOUNT\" --name {} \\\n  --allow-pub {} \\\n  --allow-sub {}\n",
            role.name(),
            role.purpose(),
            user(&settings.app, *role),
            quoted(&joined(&rights.publish)),
            quoted(&joined(&rights.subscribe)),
        )
    };
    roles.iter().map(command).collect()
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn user(app: &str, role: Role) -> String {
    format!("{app}-{}", role.name())
}

/// The environment variable with the password of a user.
fn variable(app: &str, role: Role) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{}_PASSWORD", user(app, role).chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_config::{self as config, Needs};
    use heddle_values::permissions::{Permissions, Subjects};

    fn settings() -> Settings {
        let folder = tempfile::tempdir().expect("a folder for the file");
        let file = folder.path().join("heddle.toml");
        let text = r#"
app = "shop"
[stream]
name = "SHOP"
subjects = ["order.>"]
[handlers.alarm]
plugin = "object:plugins/alarm"
stream = "EXT"
subscribe = ["ext.*"]
publishes = ["order.alarm.*", "order.>"]
"#;
        std::fs::write(&file, text).expect("the file is written");
        config::load(&file, Needs::File).expect("the file is sound")
    }

    fn has(patterns: &[Pattern], subject: &str) -> bool {
        patterns.iter().any(|pattern| pattern.as_str() == subject)
    }

    #[test]
    fn rights_are_those_of_exactly_the_streams_and_buckets_that_are_used() {
        let rights = Rights::of(Role::Host, &settings());
        for subject in [
            "order.>",
            "$JS.API.STREAM.PURGE.SHOP",
            "$JS.API.CONSUMER.CREATE.EXT.>",
            "$JS.API.CONSUMER.RESET.EXT.*",
            "$JS.API.CONSUMER.MSG.NEXT.OBJ_plugins.*",
        ] {
            assert!(has(&rights.publish, subject), "{subject}");
        }
        // Another pattern covers the first, and others' streams are not changed.
        for subject in ["order.alarm.*", "$JS.API.STREAM.PURGE.EXT", "$JS.API.CONSUMER.RESET.OBJ_plugins.*"] {
            assert!(!has(&rights.publish, subject), "{subject}");
        }
        assert!(has(&rights.subscribe, "_INBOX.>"));
        let publisher = Rights::of(Role::Publisher, &settings());
        let subjects: Vec<&str> = publisher.publish.iter().map(Pattern::as_str).collect();
        assert_eq!(subjects, ["$JS.API.INFO", "$SYS.REQ.USER.INFO", "order.>"]);
    }

    #[test]
    fn whoever_has_the_least_rights_lacks_nothing_and_whoever_lacks_one_is_told() {
        let settings = settings();
        let Rights { publish, subscribe } = Rights::of(Role::Host, &settings);
        let allowed = |allow| Subjects { allow, deny: Vec::new() };
        let mut has = Permissions { publish: allowed(publish), subscribe: allowed(subscribe) };
        assert_eq!(needed_to_run(&settings).lacking(&has), Vec::<String>::new());
        assert_eq!(denied_publishes(&settings, &has), Vec::<String>::new());
        has.publish.allow.retain(|pattern| !pattern.as_str().contains("RESET"));
        has.publish.deny.push("order.secret.>".parse().expect("it is a pattern"));
        assert_eq!(
            needed_to_run(&settings).lacking(&has),
            ["publish on `$JS.API.CONSUMER.RESET.EXT.*`", "publish on `$JS.API.CONSUMER.RESET.SHOP.*`"]
        );
        let denied = denied_publishes(&settings, &has);
        assert_eq!(denied.len(), 1, "{denied:?}");
        assert!(denied.iter().all(|line| line.contains("`order.secret.>`")), "{denied:?}");
    }

    #[test]
    fn names_of_users_and_variables_are_sound_for_server_and_shell() {
        assert_eq!(variable("my-shop2", Role::Host), "MY_SHOP2_HOST_PASSWORD");
        assert_eq!(quoted("$JS.API.>,it's"), r"'$JS.API.>,it'\''s'");
    }
}
