//! A cluster of three servers: what a frozen or killed node costs, and that nothing is lost, repeated or reordered.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use heddle_tests::{App, Checker, Cluster, Host, wait_for};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The longest time without an effect while a node that does not lead the stream stands still. Measured: 1.4 to 2.2 s on
/// a quiet machine; the promise is 3 s.
const FROZEN: Duration = Duration::from_secs(6);

/// How much longer than the stream itself the effects may be away when its leader is gone. The promise is 1 s.
const BEYOND_THE_ELECTION: Duration = Duration::from_secs(4);

/// How often an event is published.
const PACE: Duration = Duration::from_millis(4);

/// Publishes events for the checker, one after the other, for 20 keys in turn.
async fn publish(checker: Arc<Checker>, stop: watch::Receiver<bool>) {
    let mut published = 0;
    let mut pace = tokio::time::interval(PACE);
    while !*stop.borrow() {
        pace.tick().await;
        checker.publish_count(&format!("k{}", published % 20), &[]).await;
        published += 1;
    }
}

/// The application runs against a cluster, and events flow.
struct Scene {
    cluster: Cluster,
    app: App,
    host: Host,
}

/// How long nothing was stored, of events and of effects.
#[derive(Debug)]
struct Gaps {
    events: Duration,
    effects: Duration,
}

impl Scene {
    /// With the host's connections on node 0, and the stream's leader there, or on node 2.
    async fn set(leader: usize) -> Self {
        let cluster = Cluster::start().await;
        let app = App::contrary("").with("[handlers.h]", "replicas = 3\n[handlers.h]");
        let host = app.start(&cluster.url(0)).await;
        cluster.in_step(1, "T").await;
        cluster.lead(1, "T", leader).await;
        assert_eq!(cluster.connections(0, host.id()), 2, "both connections are with node 0");
        Scene { cluster, app, host }
    }

    /// Breaks something while events flow by way of node 1, which must stay well.
    async fn gaps(&mut self, fault: impl AsyncFnOnce(&mut Cluster)) -> Gaps {
        let checker = Arc::new(Checker::new(self.cluster.jetstream(1).await.expect("node 1 is well"), "T"));
        let (stop, stopped) = watch::channel(false);
        let mut publishing = JoinSet::new();
        publishing.spawn(publish(Arc::clone(&checker), stopped));
        checker.wait_for("out.>", 100).await;
        fault(&mut self.cluster).await;
        let before = checker.count("out.>").await.unwrap_or(0);
        checker.wait_for("out.>", before + 300).await;
        stop.send_replace(true);
        publishing.join_next().await.expect("there is one task").expect("every event is stored");
        let events = wait_for("the events are counted", || checker.count("in.>")).await;
        checker.wait_for("out.>", events).await;
        assert_eq!(checker.faults().await, Vec::<String>::new(), "{}", self.log());
        Gaps { events: self.gap("in.>").await, effects: self.gap("out.>").await }
    }

    /// What the host has logged, without its plugin's lines.
    fn log(&self) -> String {
        let log = self.app.logs();
        log.lines().filter(|line| !line.contains(" TRACE ")).collect::<Vec<_>>().join("\n")
    }

    /// The longest time between two messages, by the times at which they were stored.
    async fn gap(&self, filter: &str) -> Duration {
        let jetstream = self.cluster.jetstream(1).await.expect("node 1 is well");
        let stream = jetstream.get_stream("T").await.expect("the stream is there");
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: filter.to_owned(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let mut messages = consumer.messages().await.expect("messages");
        let (mut longest, mut last) = (Duration::ZERO, None);
        while let Some(Ok(message)) = messages.next().await {
            let info = message.info().expect("a message has its place");
            let time = info.published;
            if let Some(last) = last.replace(time) {
                longest = longest.max(Duration::try_from(time - last).unwrap_or_default());
            }
            if info.pending == 0 {
                break;
            }
        }
        longest
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_under_the_hosts_connections_holds_effects_up_for_a_moment_only() {
    let mut scene = Scene::set(2).await;
    let gaps = scene.gaps(async |cluster| cluster.freeze(0)).await;
    println!("frozen node that does not lead: {gaps:?}");
    assert!(gaps.effects < FROZEN, "{gaps:?} {}", scene.log());
    assert_eq!(scene.cluster.connections(0, scene.host.id()), 0, "the host is with another node");
    scene.cluster.thaw(0);
    assert_eq!(scene.host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_holds_effects_up_no_longer_than_the_election() {
    let mut scene = Scene::set(0).await;
    let gaps = scene.gaps(async |cluster| cluster.freeze(0)).await;
    println!("frozen leader: {gaps:?}");
    assert!(gaps.effects < gaps.events + BEYOND_THE_ELECTION, "{gaps:?} {}", scene.log());
    scene.cluster.thaw(0);
    assert_eq!(scene.host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_holds_effects_up_no_longer_than_the_election() {
    let mut scene = Scene::set(2).await;
    let gaps = scene.gaps(async |cluster| cluster.kill(2).await).await;
    println!("killed leader: {gaps:?}");
    assert!(gaps.effects < gaps.events + BEYOND_THE_ELECTION, "{gaps:?} {}", scene.log());
    // The other two, one after the other: the host goes where a server is.
    scene.cluster.restart(2);
    scene.cluster.in_step(1, "T").await;
    let gaps = scene.gaps(async |cluster| cluster.kill(0).await).await;
    println!("killed node under the connections: {gaps:?}");
    assert_eq!(scene.host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_before_jetstream_has_a_leader_waits_for_it() {
    let mut cluster = Cluster::prepare();
    cluster.restart(0);
    let app = App::contrary("");
    let mut host = app.spawn(&cluster.url(0));
    wait_for("node 0 says that there is no leader", || async {
        host.log().contains("JetStream at").then_some(())
    })
    .await;
    assert!(!host.log().contains("has no JetStream"), "{}", host.log());
    cluster.restart(1);
    cluster.restart(2);
    host.wait_for_line(" running").await;
    assert_eq!(host.stop().await, 0);
}
