//! Under systemd: the host notifies it when it is ready, alive and stopping, and the unit file is sound.

use std::process::Command;
use std::time::Duration;

use heddle_tests::{App, Server, heddle, wait_for, workspace};
use rustix::process::Signal;
use tokio::net::UnixDatagram;

/// What the host says next.
async fn said(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let received = tokio::time::timeout(Duration::from_secs(60), socket.recv(&mut bytes)).await;
    let length = received.expect("the host says something").expect("the socket is open");
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_host_runs_that_it_is_alive_and_when_it_stops() {
    let server = Server::start().await;
    let app = App::contrary("");
    let socket = UnixDatagram::bind(app.folder().join("notify")).unwrap();
    let mut command = app.command(&["run", "--url", &server.url()]);
    command.env("NOTIFY_SOCKET", app.folder().join("notify")).env("WATCHDOG_USEC", "200000");
    let mut host = app.spawn_as(command);
    let first = said(&socket).await;
    assert!(first.contains("READY=1") && first.contains("STATUS=runs application t"), "{first}");
    for _ in 0..3 {
        assert_eq!(said(&socket).await.trim(), "WATCHDOG=1");
    }
    host.signal(Signal::TERM);
    let stopping = wait_for("the host stops", || async {
        let said = said(&socket).await;
        (!said.contains("WATCHDOG")).then_some(said)
    })
    .await;
    assert!(stopping.contains("STOPPING=1"), "{stopping}");
    assert_eq!(host.ended().await, 0);
}

#[test]
fn the_unit_file_is_sound() {
    let unit = std::fs::read_to_string(workspace().join("host/heddle/packaging/heddle@.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The program is not installed here.
    let file = folder.path().join("heddle@.service");
    std::fs::write(&file, unit.replace("/usr/bin/heddle", &heddle().display().to_string())).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() else {
        eprintln!("skipped: there is no `systemd-analyze`");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("heddle")).collect();
    assert!(ours.is_empty(), "{said}");
}
