//! Guests that are no plugins, or cost too much to become one.

use crate::expect::{done, refused, trap};
use crate::guest::Guest;
use crate::trial::{application, machine};

guests! {
    not_wasm => refused("not a WebAssembly file"),
    empty_file => refused("not a WebAssembly file"),
    magic_only => refused("not a WebAssembly file"),
    garbage_after_the_header => refused("failed to compile"),
    truncated => refused("failed to compile"),
    changed_while_running => done("as it was"),
    core_module => refused("a core module, not a component"),
    no_handler => refused("does not fit the world"),
    wrong_signature => refused("does not fit the world `heddle:plugin/plugin@0.1.0`: function `handle`"),
    wrong_version => refused("is built for the world `heddle:plugin@9.0.0`"),
    wrong_import => refused("heddle:plugin/context@0.1.0"),
    unknown_import => refused("imports `evil:host/shell@1.0.0`, which no host function answers"),
    unknown_function => refused("does not fit the world"),
    unknown_wasi => refused("wasi:thread/spawn@0.1.0"),
    two_handlers => refused(
        "it exports `heddle:plugin/handler@0.1.0` and `wasmcloud:messaging/handler@0.2.0`; a plugin has one"
    ),
    messaging_of_another_version => refused(
        "is built for `wasi:messaging/producer@0.3.0`, of which this host has version 0.2.0-draft"
    ),
    hundred_thousand_functions => done(""),
    too_many_functions => refused("functions count exceeds limit"),
    huge_function => done(""),
    deep_types => refused("type nesting is too deep"),
    wide_types => refused("effective type size exceeds the limit"),
    async_export => refused("needs the component model's async functions"),
    huge_custom_section => done(""),
    garbage_custom_sections => trap("unreachable"),
    names_with_escape_codes => trap("unreachable"),
    many_core_instances => refused("300 core module instances"),
    trap_in_start => refused("unreachable"),
    many_parameters => refused("function params size is out of bounds"),
    many_globals => refused("module instance size does not fit"),
}

/// Writes the plugin in place, now one and now another, while `heddle check` reads it.
#[tokio::test(flavor = "multi_thread")]
async fn changed_while_read() {
    let machine = machine().await;
    let guest = Guest::read("changed_while_read");
    let app = application(&guest);
    let path = app.folder().join("bad.wasm");
    let said = async || {
        let output = app.output(&["check", "--offline"]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find(|line| line.contains("plugin of handler `bad`: ")).map(str::to_owned);
        (output.status.code(), line.unwrap_or_else(|| panic!("the handler is not named: {said}")))
    };
    let other = std::fs::read(heddle_tests::plugin("echo")).unwrap();
    let mut whole = Vec::new();
    for plugin in [&other, &guest.plugin] {
        std::fs::write(&path, plugin).unwrap();
        let (code, line) = said().await;
        assert_eq!(code, Some(0), "{line}");
        whole.push(line);
    }
    let write = async {
        loop {
            for plugin in [&other, &guest.plugin] {
                tokio::fs::write(&path, plugin).await.unwrap();
            }
        }
    };
    let read = async {
        for _ in 0..20 {
            let (code, line) = said().await;
            // The beginning of a component may be one that lacks its export.
            let refused = ["not a WebAssembly file", "failed to compile", "no exported instance"]
                .iter()
                .any(|why| line.contains(why));
            assert!(
                (code == Some(0) && whole.contains(&line)) || (code == Some(2) && refused),
                "{code:?}: {line}"
            );
        }
    };
    tokio::select! {
        () = read => {}
        () = write => unreachable!("it never ends"),
    }
    drop(machine);
}
