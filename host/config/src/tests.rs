//! What the file's reader promises.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use heddle_values::handlers::HandlerIx;
use heddle_values::plugin::PluginSource;
use heddle_values::policy::Instances;
use heddle_values::secret::{Given, Secret};
use heddle_values::settings::{Api, NatsSettings, Trust};

const SOUND: &str = r#"
app = "shop"

[stream]
name = "SHOP"
subjects = ["order.>", "credit.>"]
max-age = "30d"

[handlers.credit]
plugin = "credit.wasm"
subscribe = ["order.created.*"]
key = "{subject.2}"
publishes = ["credit.reserved.*"]
instances = { reuse = 100 }
config = { limit = 1000, name = "x" }

[handlers.credit.retry]
max-attempts = 7
backoff = { initial = "10ms", factor = 3, max = "1s" }

[handlers.credit.limits]
time = "500ms"
memory = "32MiB"
"#;

fn faults(text: &str) -> Vec<(usize, String)> {
    let faults = parse(text, Path::new("/app"), Needs::Everything).expect_err("the file has faults");
    let line = |fault: &Fault| text[..fault.span.start].matches('\n').count() + 1;
    faults.iter().map(|fault| (line(fault), fault.message.clone())).collect()
}

#[test]
fn a_sound_file_gives_settings_with_defaults() {
    let settings = parse(SOUND, Path::new("/app"), Needs::Everything).unwrap();
    assert_eq!(settings.app, "shop");
    assert_eq!(settings.shards.get(), 16);
    assert_eq!(settings.nats, NatsSettings::default());
    let handler = &settings.handlers[HandlerIx::FIRST];
    assert_eq!(&*handler.name, "credit");
    assert_eq!(handler.plugin, PluginSource::file("/app/credit.wasm"));
    assert_eq!(&*handler.stream, "SHOP");
    assert_eq!(handler.retry.max_attempts.get(), 7);
    assert_eq!(handler.retry.backoff.factor, 3.0);
    assert_eq!(handler.limits.memory, 32 << 20);
    assert_eq!(handler.limits.messages, 100);
    assert_eq!(handler.config["limit"].reveal(), "1000");
    assert!(matches!(handler.instances, Instances::Reuse(n) if n.get() == 100));
}

#[test]
fn a_number_in_config_reaches_the_plugin_as_its_value_however_it_is_written() {
    let numbers = "config = { port = 0x1F90, mode = 0o755, bits = 0b101, n = 1_000, less = -7, f = 1e3, g = 1_0.5, on = true }";
    let text = SOUND.replace("config = { limit = 1000, name = \"x\" }", numbers);
    assert!(text.contains(numbers));
    let settings = parse(&text, Path::new("."), Needs::File).unwrap();
    let config = &settings.handlers[HandlerIx::FIRST].config;
    for (name, value) in [
        ("port", "8080"),
        ("mode", "493"),
        ("bits", "5"),
        ("n", "1000"),
        ("less", "-7"),
        ("f", "1e3"),
        ("g", "10.5"),
        ("on", "true"),
    ] {
        assert_eq!(config[name].reveal(), value, "{name}");
    }
}

#[test]
fn every_fault_is_reported_at_once_with_its_line_and_the_nearest_key() {
    let text = r#"app = "my shop"
shards = 0
[stream]
name = "SHOP"
subjects = ["order.>", "dead.x"]
max_age = "30d"
[handlers.credit]
plugn = "credit.wasm"
subscribe = ["invoice.*"]
key = "{subject.9}"
publishes = ["mail.sent"]
start = "tomorrow"
[handlers.credit.retry]
backoff = { initial = "10" }
[handlers.credit.limits]
memory = 5
messages = 5000
"#;
    let faults = faults(text);
    let has = |line: usize, part: &str| {
        assert!(
            faults.iter().any(|(l, message)| *l == line && message.contains(part)),
            "no fault in line {line} with {part:?} in {faults:#?}"
        );
    };
    has(1, "`my shop` cannot be a name");
    has(2, "between 1 and 512");
    has(5, "`dead.x` overlaps");
    has(6, "unknown key `max_age` in [stream]; did you mean `max-age`?");
    has(8, "unknown key `plugn` in [handlers.credit]; did you mean `plugin`?");
    has(7, "`plugin` is missing in [handlers.credit]");
    has(9, "no event of stream `SHOP` falls under `invoice.*`");
    has(10, "have no token 9");
    has(11, "`mail.sent` is not within the subjects");
    has(12, "`tomorrow` is not");
    has(14, "`10` is not a duration");
    has(16, "`memory` is of type integer");
    has(17, "between 0 and 900");
    assert_eq!(faults.len(), 13, "{faults:#?}");
}

#[test]
fn what_is_not_toml_is_reported_with_its_line() {
    let faults = faults("app = \"x\"\n[stream\n");
    assert_eq!(faults[0].0, 2, "{faults:?}");
    assert!(faults[0].1.starts_with("not TOML"));
}

#[test]
fn a_missing_section_is_named() {
    let faults = faults("app = \"x\"\n");
    let texts: Vec<&str> = faults.iter().map(|(_, message)| message.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("[stream] is missing")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("no handler")), "{texts:?}");
}

#[test]
fn registries_without_tls_are_named_and_a_wrong_name_or_key_is_a_fault() {
    let with = |registries: &str| format!("{SOUND}\n{registries}");
    let sound = with(
        "[registries.\"registry.svc.local:5000\"]\ninsecure = true\n[registries.\"b.example\"]\ninsecure = false",
    );
    let settings = parse(&sound, Path::new("/app"), Needs::Everything).unwrap();
    assert_eq!(settings.insecure_registries, BTreeSet::from(["registry.svc.local:5000".to_owned()]));
    let lines = SOUND.matches('\n').count();
    for (registries, message) in [
        (
            "[registries.\"r:5000\"]\ninsecur = true",
            "unknown key `insecur` in [registries.r:5000]; did you mean `insecure`?",
        ),
        (
            "registries = { \"r:5000\" = { insecure = \"yes\" } }",
            "`insecure` is of type string, should be true or false",
        ),
        ("[registries.\"http://r:5000\"]\ninsecure = true", "invalid registry `http://r:5000`"),
        ("[registries]\n\"r:5000\" = true", "should be a table"),
        ("[registry.\"r:5000\"]\ninsecure = true", "did you mean `registries`?"),
    ] {
        // A key of the root stands above all sections.
        let text = if registries.starts_with("registries =") {
            format!("{registries}\n{SOUND}")
        } else {
            with(registries)
        };
        let faults = faults(&text);
        assert!(faults.len() == 1 && faults[0].1.contains(message), "{faults:?} for {registries}");
        assert!(faults[0].0 == 1 || faults[0].0 > lines, "{faults:?}");
    }
}

#[test]
fn what_signatures_must_name_is_demanded_only_with_keys_that_sign() {
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let with = |keys: &str| format!("{keys}\n{SOUND}");
    let text = with(&format!("trust = \"{KEY}\"\nrequire-named-signatures = true"));
    let trust = parse(&text, Path::new("/app"), Needs::Everything).unwrap().trust;
    assert_eq!(trust, Trust { keys: vec![KEY.to_owned()], named: true });
    let alone = faults(&with("require-named-signatures = true"));
    assert!(alone.len() == 1 && alone[0].0 == 1 && alone[0].1.contains("needs `trust`"), "{alone:?}");
    assert!(parse(&with("require-named-signatures = false"), Path::new("/app"), Needs::Everything).is_ok());
}

#[test]
fn a_build_is_a_line_for_the_shell_or_a_program() {
    use heddle_values::settings::BuildCommand;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    let with = |build: &str| {
        parse(&format!("{SOUND}\n[handlers.credit.build]\n{build}\n"), folder.path(), Needs::Sources)
    };
    let built = |build: &str| with(build).unwrap().handlers[HandlerIx::FIRST].build.clone().unwrap();
    let line = built("command = \"make credit\"\nwatch = \"src\"");
    assert_eq!(line.command, BuildCommand::Shell("make credit".to_owned()));
    assert_eq!(line.watch, [folder.path().join("src")]);
    let program = BuildCommand::Program { program: "make".to_owned(), arguments: vec!["a b".to_owned()] };
    assert_eq!(built("command = [\"make\", \"a b\"]\nwatch = [\"src\"]").command, program);
    for (build, message) in [
        ("watch = [\"src\"]", "`command` is missing in [handlers.credit.build]"),
        ("command = \" \"\nwatch = \"src\"", "`command` needs a program to run"),
        ("command = []\nwatch = \"src\"", "`command` needs a program to run"),
        ("command = 5\nwatch = \"src\"", "`command` is of type integer"),
        ("command = \"make\"", "`watch` is missing in [handlers.credit.build]"),
        ("command = \"make\"\nwatch = []", "`watch` needs at least one file or folder"),
        ("command = \"make\"\nwatch = \"scr\"", "scr` does not exist"),
        ("comand = \"make\"\ncommand = \"make\"\nwatch = \"src\"", "did you mean `command`?"),
    ] {
        let faults = with(build).unwrap_err();
        assert!(faults.len() == 1 && faults[0].message.contains(message), "{faults:?} for {build}");
    }
    assert_eq!(parse(SOUND, folder.path(), Needs::Sources).unwrap().handlers[HandlerIx::FIRST].build, None);
}

#[test]
fn only_whoever_builds_needs_the_sources() {
    let text = format!("{SOUND}\n[handlers.credit.build]\ncommand = \"make\"\nwatch = \"none\"\n");
    let with = |needs| parse(&text, Path::new("/app"), needs);
    assert!(with(Needs::Everything).is_ok() && with(Needs::File).is_ok());
    assert_eq!(with(Needs::Sources).unwrap_err().len(), 1);
}

#[test]
fn a_missing_secret_is_a_fault_and_a_present_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "hush\n").unwrap();
    let with = |secret: String| SOUND.replace("name = \"x\"", &format!("name = {secret}"));
    let sound = with(format!("{{ file = {:?} }}", path.display().to_string()));
    let settings = parse(&sound, folder.path(), Needs::Everything).unwrap();
    assert_eq!(settings.handlers[HandlerIx::FIRST].config["name"].reveal(), "hush");
    assert_eq!(settings.secret_files, [path]);
    assert!(!format!("{settings:?}").contains("hush"));
    let missing = with("{ env = \"HEDDLE_TEST_NO_SUCH_VARIABLE\" }".to_owned());
    assert!(faults(&missing)[0].1.contains("HEDDLE_TEST_NO_SUCH_VARIABLE"));
    assert!(
        parse(&missing, folder.path(), Needs::File).is_ok(),
        "to look at an application needs no secrets"
    );
}

#[test]
fn the_report_shows_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heddle.toml");
    std::fs::write(&path, SOUND.replace("subscribe", "subscibe")).unwrap();
    let report = load(&path, Needs::File).unwrap_err().to_string();
    assert!(report.contains("heddle.toml:11:1: unknown key `subscibe`"), "{report}");
    assert!(report.contains("| subscibe = [\"order.created.*\"]"), "{report}");
    assert!(
        load(&folder.path().join("none.toml"), Needs::File).unwrap_err().to_string().contains("none.toml")
    );
}

#[test]
fn what_is_done_about_failure_is_read_with_its_defaults() {
    use heddle_values::policy::{Answer, OnDeadLetter};
    let settings = parse(SOUND, Path::new("/app"), Needs::Everything).unwrap();
    let plain = &settings.handlers[HandlerIx::FIRST];
    assert_eq!(plain.on_dead_letter, OnDeadLetter::Continue);
    assert_eq!((plain.max_held, plain.pace.rate, plain.pace.concurrency.get()), (1_000_000, None, 64));
    assert_eq!(plain.outage, None, "it depends on nothing outside");
    let text = SOUND.replace("config =", "outage = true\nconfig =");
    let asked = parse(&text, Path::new("/app"), Needs::Everything).unwrap();
    assert_eq!(asked.handlers[HandlerIx::FIRST].outage.map(|outage| outage.keys), Some(20));
    assert_eq!(plain.retry.on.memory, Answer::Once);
    assert_eq!(settings.dead_letters_max_age, None);
    assert_eq!(settings.stream.stale_states, 50_000);
    let text = SOUND.replace("max-age = \"30d\"", "stale-states = 1000").replace("config =", "on-dead-letter = \"hold-key\"\nmax-held = 5\nrate-limit = \"30/m\"\nconcurrency = 3\noutage = { max-open = \"2h\", keys = 7, window = \"1m\", probe = { initial = \"1s\" } }\nconfig =");
    let text = text.replace(
        "max-attempts = 7",
        "max-attempts = 7\nmax-elapsed = \"1h\"\non = { trap = \"dead-letter\", host-calls = \"retry\" }",
    );
    let settings = parse(
        &(text + "host-calls = 9\n[dead-letters]\nmax-age = \"90d\"\n"),
        Path::new("/app"),
        Needs::Everything,
    )
    .unwrap();
    let handler = &settings.handlers[HandlerIx::FIRST];
    assert_eq!((handler.on_dead_letter, handler.max_held), (OnDeadLetter::HoldKey, 5));
    assert_eq!((handler.pace.rate, handler.pace.concurrency.get()), (Some(0.5), 3));
    let outage = handler.outage.unwrap();
    assert_eq!((outage.max_open.as_secs(), outage.keys, outage.probe.initial.as_secs()), (7200, 7, 1));
    assert_eq!((handler.retry.on.trap, handler.retry.on.host_calls), (Answer::DeadLetter, Answer::Retry));
    assert_eq!((handler.retry.max_elapsed.as_secs(), handler.limits.host_calls), (3600, 9));
    assert_eq!(settings.dead_letters_max_age.map(|age| age.as_secs()), Some(90 * 24 * 3600));
    assert_eq!(settings.stream.stale_states, 1_000);
}

#[test]
fn faults_in_what_is_done_about_failure_are_all_reported() {
    let text = SOUND.replace("config =", "on-dead-letter = \"hold\"\nrate-limit = \"fast\"\nconcurrency = 65\noutage = { max-open = \"0\", window = \"1ms\", keyz = 1 }\nconfig =");
    let text = text.replace("max-attempts = 7", "on = { trap = \"sometimes\", tme = \"once\" }");
    let messages: Vec<String> = faults(&text).into_iter().map(|(_, message)| message).collect();
    for part in [
        "`hold` should be \"continue\" or \"hold-key\"",
        "`fast` is not a rate",
        "`concurrency` is 65, should be between 1 and 64",
        "`0` is not a duration",
        "`window` should be at least 100ms",
        "unknown key `keyz` in [handlers.credit.outage]; did you mean `keys`?",
        "`sometimes` should be \"retry\", \"once\" or \"dead-letter\"",
        "unknown key `tme` in [handlers.credit.retry.on]; did you mean `time`?",
    ] {
        assert!(messages.iter().any(|message| message.contains(part)), "no {part:?} in {messages:#?}");
    }
    assert_eq!(messages.len(), 8, "{messages:#?}");
}

#[test]
fn grants_that_can_never_match_are_faults_with_the_way_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rates")).unwrap();
    std::fs::write(folder.path().join("ca.pem"), "").unwrap();
    let read = |grants: &str| {
        let text = format!("{SOUND}[handlers.credit.grants]\n{grants}\n");
        parse(&text, folder.path(), Needs::Everything)
            .map(|settings| settings.handlers[HandlerIx::FIRST].grants.clone())
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>())
    };
    let grants = read(
        "http = [\"https://api.example.com\", \"127.0.0.1:8080\", \"[::1]\"]\nhttp-private = true\nhttp-ca = \"ca.pem\"\nfiles = [{ host = \"rates\", guest = \"rates\" }, { host = \"rates\", guest = \"/\" }]",
    )
    .unwrap();
    assert_eq!(grants.http.list(), "`https://api.example.com`, `127.0.0.1:8080`, `[::1]`");
    assert!(grants.http.private);
    assert_eq!(grants.http.ca.as_deref(), Some(folder.path().join("ca.pem").as_path()));
    assert_eq!(grants.files[0].host, folder.path().join("rates"));
    let guests: Vec<&str> = grants.files.iter().map(|file| &*file.guest).collect();
    assert_eq!(guests, ["/rates", "/"]);
    for (grants, part) in [
        ("http = [\"*.example.com\"]", "`http`: `*.example.com` grants nothing: each host is named in full"),
        ("http = [\"api.example.com/\"]", "without a path"),
        ("http-private = true", "`http-private` needs `http`"),
        ("http = [\"a.example\"]\nhttp-ca = \"none.pem\"", "none.pem` is not a file"),
        (
            "files = [{ host = \"rates\", guest = \"/rates\" }, { host = \"rates\", guest = \"rates/\" }]",
            "`/rates` is there already",
        ),
        ("files = [{ host = \"rates\", guest = \"../x\" }]", "`../x` is no folder of a plugin"),
    ] {
        let faults = read(grants).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(part), "{grants}: {faults:?}");
    }
}

/// The settings of the server, with these lines in [nats].
fn nats(lines: &str) -> NatsSettings {
    let text = format!("{SOUND}\n[nats]\n{lines}\n");
    parse(&text, Path::new("/app"), Needs::File).map_err(|faults| format!("{faults:?}")).unwrap().nats
}

#[test]
fn a_login_stands_in_the_file_in_the_environment_or_in_a_file_of_its_own() {
    let given = |text: &str| Given::Text(Secret::new(text));
    let settings = nats("user = \"app\"\npassword = { file = \"secrets/p\" }");
    assert_eq!(settings.user, Some((given("app"), Given::File("/app/secrets/p".into()))));
    let settings = nats("token = { env = \"HEDDLE_TEST_NO_SUCH_VARIABLE\" }");
    let name = "HEDDLE_TEST_NO_SUCH_VARIABLE".to_owned();
    assert_eq!(settings.token, Some(Given::Env { name, value: None }));
    let settings =
        nats("token = \"t0ken\"\ndomain = \"hub\"\nignore-discovered-servers = true\ntls = { first = true }");
    assert_eq!((settings.token, settings.api), (Some(given("t0ken")), Api::Domain("hub".to_owned())));
    assert!(settings.ignore_discovered_servers && settings.tls.first);
    assert_eq!(nats("api-prefix = \"js.hub\"").api, Api::Prefix("js.hub".to_owned()));
}

#[test]
fn a_faulty_login_is_reported_without_what_is_secret() {
    for (lines, message) in [
        ("user = \"s3cret\"", "`user` and `password` go together"),
        ("token = \"s3cret\"\ncreds = \"a.creds\"", "`creds` and `token` exclude each other"),
        ("password = [\"s3cret\"]\nuser = \"a\"", "`password` is of type array"),
        ("url = \"nats://a,nats://app:s3,cret@b\"", "server 2 is not"),
        ("domain = \"hub\"\napi-prefix = \"js\"", "exclude each other"),
        ("domain = \"a.b\"", "has no dots"),
        ("api-prefix = \"js.>\"", "JetStream is asked under `js.>`"),
        ("inbox-prefix = \"_heddle.t\"", "`_heddle.t` is reserved"),
        ("inbox-prefix = \"dead.t\"", "`dead.t` is reserved"),
        ("inbox-prefix = \"order.inbox\"", "overlaps `order.inbox.>`, which is reserved"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heddle.toml");
        std::fs::write(&path, format!("{SOUND}\n[nats]\n{lines}\n")).unwrap();
        let text = load(&path, Needs::Everything).unwrap_err().to_string();
        // Not `s3` alone: the folder's name may well have that.
        let hidden = ["s3cret", "s3,"].iter().all(|secret| !text.contains(secret));
        assert!(text.contains(message) && hidden, "{text} for {lines}");
    }
}

#[test]
fn what_is_no_file_is_not_read() {
    let read = |path: &str| super::read(Path::new(path)).unwrap_err().to_string();
    assert_eq!([read("/dev/zero"), read("/")], ["it is not a file"; 2]);
}
