//! `heddle test`: what it finds, and what it says.

use std::time::Duration;

use heddle::testing::{Publication, TestHost};
use heddle_tests::{App, heddle};

/// Writes a test file and runs it: the exit code, and all that was printed.
async fn test(app: &App, toml: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = app.folder().join("tests");
    std::fs::create_dir_all(&folder).expect("a folder for tests");
    std::fs::write(folder.join("case.toml"), toml).expect("the test is written");
    let arguments: Vec<&str> = std::iter::once("test").chain(arguments.iter().copied()).collect();
    let output = app.output(&arguments).await;
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

/// An event for `contrary` on a key.
fn told(key: &str, instructions: &str) -> String {
    format!("[[events]]\nsubject = \"in.{key}\"\npayload = '{{\"do\": {instructions}}}'\n")
}

#[tokio::test]
async fn what_differs_from_the_expectation_is_named() {
    let app = App::contrary("");
    let toml = told("a", r#"[{"count": null}, {"publish": {"subject": "out.a", "payload": "{\"n\": 1}"}}]"#)
        + r#"expect = { verdict = "reject", state = { json = 2 }, messages = [{ subject = "out.a", contains = { n = 2 } }, { subject = "out.b" }] }"#;
    let (code, said) = test(&app, &toml, &[]).await;
    assert_eq!(code, Some(1));
    for part in [
        "FAIL",
        "event 1 `in.a`, `h`: verdict `done` instead of `reject`",
        "state: 1 instead of 2",
        "message 1: on `out.a`: {\"n\":1} does not contain {\"n\":2}",
        "message on `out.b` is missing",
        "0 passed, 1 failed",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[tokio::test]
async fn a_handler_that_keeps_something_between_events_is_found() {
    let app = App::contrary("");
    let leak = told("a", r#"[{"leak_static": {"subject": "out.a"}}]"#);
    let (code, said) = test(&app, &leak.repeat(2), &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("it keeps something between events"), "{said}");
    assert!(
        said.contains("new instance: done; `out.a` 1") && said.contains("reused:       done; `out.a` 2"),
        "{said}"
    );
    let (code, said) = test(&app, &leak.repeat(2), &["--instances", "fresh"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn time_is_virtual_for_retries_deferrals_and_delayed_messages() {
    let retry = "[handlers.h.retry]\nmax-attempts = 3\nbackoff = { initial = \"1h\", max = \"10h\" }\n";
    let app = App::contrary(retry).with("publishes = [\"out.>\"]", "publishes = [\"out.>\", \"in.>\"]");
    let toml = [
        told("a", r#"[{"retry_until": {"attempt": 3}}, {"count": null}]"#),
        r#"expect = { verdict = "done", attempts = 3, verdicts = ["retry", "retry", "done"], state = { json = 1 } }"#.to_owned(),
        told("b", r#"[{"defer": {"delay_ms": 80000000, "reason": "tomorrow"}}]"#),
        r#"expect = { verdict = "defer", verdicts = ["defer", "defer", "defer"], reason = "tomorrow" }"#.to_owned(),
        told("c", r#"[{"retry": {"reason": "never"}}]"#),
        r#"expect = { verdict = "retry", attempts = 3, reason = "never" }"#.to_owned(),
        told("d", r#"[{"publish_after": {"seconds": 900000, "subject": "in.e", "payload": "{\"do\": [{\"count\": null}]}"}}]"#),
        r#"expect = { messages = [{ subject = "in.e", after = "900000s" }] }"#.to_owned(),
        "[expect]\nstates = [{ handler = \"h\", key = \"e\", state = { json = 1 } }]\n".to_owned(),
        "[[expect.dead-letters]]\nhandler = \"h\"\nsubject = \"in.c\"\ncause = \"retry\"\nattempts = 3\n".to_owned(),
        "[[expect.dead-letters]]\nsubject = \"in.b\"\ncause = \"defer\"\n".to_owned(),
    ]
    .join("\n");
    let began = std::time::Instant::now();
    let (code, said) = test(&app, &toml, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(began.elapsed().as_secs() < 60, "days have passed in no time");
}

#[tokio::test]
async fn a_dead_letter_that_nobody_expects_fails_the_test() {
    let app = App::contrary("");
    let toml = told("a", r#"[{"reject": {"reason": "not today"}}]"#);
    let (code, said) = test(&app, &toml, &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("unexpected dead letter: `h` gives up `in.a` reject: not today"), "{said}");
}

#[tokio::test]
async fn a_held_key_holds_back_its_later_events() {
    let app = App::contrary("on-dead-letter = \"hold-key\"\n");
    let toml = told("a", r#"[{"reject": {"reason": "no"}}]"#)
        + "expect = { verdict = \"reject\" }\n"
        + &told("a", r#"[{"count": null}]"#)
        + "expect = { verdict = \"held\" }\n"
        + &told("b", r#"[{"count": null}]"#)
        + "expect = { verdict = \"done\" }\n";
    let (code, said) = test(&app, &toml, &[]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_faulty_test_file_is_named_with_its_line_and_ends_with_2() {
    let app = App::contrary("");
    let (code, said) = test(&app, "[[events]]\nsubject = \"in.a\"\npayloud = \"x\"\n", &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("case.toml") && said.contains("line 3") && said.contains("payloud"), "{said}");
    let (code, said) = test(&app, &told("a", "[]").replace("in.a", "elsewhere"), &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("event 1 `elsewhere`: no handler subscribes to it"), "{said}");
    let (code, said) = test(&app, &format!("handler = \"x\"\n{}", told("a", "[]")), &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("the application has no handler `x`, only h"), "{said}");
}

#[tokio::test]
async fn results_are_written_for_build_servers_too() {
    let app = App::contrary("");
    let toml = told("a", "[]").replace("[[events]]", "[[test]]\nname = \"good <&>\"\n[[test.events]]")
        + &told("a", r#"[{"reject": {"reason": "no"}}]"#)
            .replace("[[events]]", "[[test]]\nname = \"bad\"\n[[test.events]]");
    let (code, said) = test(&app, &toml, &["--junit", "results.xml"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 passed, 1 failed"), "{said}");
    let written = std::fs::read_to_string(app.folder().join("results.xml")).unwrap();
    for part in ["tests=\"2\"", "failures=\"1\"", "good &lt;&amp;&gt;", "unexpected dead letter"] {
        assert!(written.contains(part), "no {part:?} in {written}");
    }
    let (code, said) = test(&app, &toml, &["--filter", "good"]).await;
    assert_eq!((code, said.contains("1 passed, 0 failed")), (Some(0), true), "{said}");
}

#[tokio::test]
async fn a_test_gives_the_same_over_a_real_server() {
    let app = App::contrary("");
    let toml = "states = [{ handler = \"h\", key = \"a\", text = \"4\" }]\n".to_owned()
        + &told(
            "a",
            r#"[{"count": null}, {"publish": {"subject": "out.a", "payload": "x", "headers": [["Kind", "y"]]}}]"#,
        )
        + "expect = { verdict = \"done\", messages = [{ subject = \"out.a\", text = \"x\", headers = { Kind = \"y\" } }] }\n"
        + &told("b", r#"[{"reject": {"reason": "no"}}]"#)
        + "expect = { verdict = \"reject\", attempts = 1, reason = \"no\" }\n"
        + "[expect]\nstates = [{ handler = \"h\", key = \"a\", state = { json = 5 } }]\n";
    for arguments in [&[][..], &["--server"]] {
        let (code, said) = test(&app, &toml, arguments).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let wrong = toml.replace("json = 5", "json = 6");
    let (code, said) = test(&app, &wrong, &["--server"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("state of `h` for key `a`: 5 instead of 6"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_can_be_tested_from_rust() {
    let app = App::contrary("");
    let mut host = TestHost::open(&app.folder().join("heddle.toml"), &heddle()).await.unwrap();
    let later = r#"{"do": [{"count": null}, {"publish_after": {"seconds": 60, "subject": "out.a", "payload": "x"}}]}"#;
    host.publish(Publication::new("in.a", later)).unwrap();
    host.advance(Duration::from_secs(59)).await.unwrap();
    assert_eq!((host.events("T").len(), host.runs().len()), (1, 1), "it is not time yet");
    host.finish().await.unwrap();
    assert_eq!(host.events("T").iter().map(|event| &*event.subject).collect::<Vec<_>>(), ["in.a", "out.a"]);
    assert_eq!(host.elapsed(), Duration::from_secs(60));
}
