//! Three nats-servers that are one cluster: streams with three copies, a leader that can be found, nodes that can be
//! frozen, killed and started again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Info};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::server::{Server, program};
use crate::{free_port, wait_for};

/// One cluster runs at a time: what is measured of elections would be the machine's load with several.
static ONE: Semaphore = Semaphore::const_new(1);

/// A running cluster. Its servers end when it is dropped.
pub struct Cluster {
    nodes: Vec<Node>,
    // After the servers: when it is free again, they have ended.
    _turn: SemaphorePermit<'static>,
}

struct Node {
    child: Child,
    folder: TempDir,
    port: u16,
}

fn spawn(folder: &Path) -> Child {
    let mut command = Command::new(program());
    command.arg("--config").arg(folder.join("node.conf"));
    command.arg("--log").arg(folder.join("server.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("nats-server starts: run `cargo xtask test`, which brings one")
}

impl Cluster {
    /// Starts three servers and waits until JetStream has a leader.
    pub async fn start() -> Self {
        let mut cluster = Self::prepare().await;
        for n in 0..3 {
            cluster.restart(n);
        }
        cluster.ready().await;
        cluster
    }

    /// Three servers of which none runs yet.
    pub async fn prepare() -> Self {
        let turn = ONE.acquire().await.expect("the semaphore is never closed");
        let ports: [u16; 6] = std::array::from_fn(|_| free_port());
        let (clients, routes) = ports.split_at(3);
        let all: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let node = |(n, (port, route)): (usize, (&u16, &u16))| {
            let folder = Server::prepare();
            let data = folder.path().join("data");
            let text = format!(
                "server_name: n{n}\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {data:?} }}\ncluster {{ name: c, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n",
                all.join(", ")
            );
            std::fs::write(folder.path().join("node.conf"), text).expect("the server's file is written");
            // Nothing runs yet; a process that has ended stands for it.
            let child = Command::new("true").kill_on_drop(true).spawn().expect("`true` runs");
            Node { child, folder, port: *port }
        };
        Cluster { nodes: clients.iter().zip(routes).enumerate().map(node).collect(), _turn: turn }
    }

    /// Waits until JetStream answers on every node.
    pub async fn ready(&self) {
        for n in 0..self.nodes.len() {
            wait_for("JetStream of the cluster has a leader", || async {
                let jetstream = self.jetstream(n).await?;
                jetstream.query_account().await.ok()
            })
            .await;
        }
    }

    fn node(&self, n: usize) -> &Node {
        self.nodes.get(n).expect("a cluster has three nodes")
    }

    fn node_mut(&mut self, n: usize) -> &mut Node {
        self.nodes.get_mut(n).expect("a cluster has three nodes")
    }

    /// Where a node listens.
    pub fn url(&self, n: usize) -> String {
        format!("nats://127.0.0.1:{}", self.node(n).port)
    }

    /// JetStream by way of a node.
    pub async fn jetstream(&self, n: usize) -> Option<jetstream::Context> {
        let options = async_nats::ConnectOptions::new().connection_timeout(Duration::from_secs(2));
        let client = options.connect(self.url(n)).await.ok()?;
        let mut context = jetstream::new(client);
        // Short: whoever waits longer than the fault lasts does not measure it.
        context.set_timeout(Duration::from_millis(500));
        Some(context)
    }

    /// The node that leads a stream, asked by way of `by`. Waits until there is one.
    pub async fn leader(&self, by: usize, stream: &str) -> usize {
        wait_for("the stream has a leader", || async {
            let info = self.info(by, stream).await?;
            let name = info.cluster?.leader?;
            name.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    /// Makes a node lead a stream.
    pub async fn lead(&self, by: usize, stream: &str, wanted: usize) {
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
        let preferred = format!("{{\"placement\":{{\"preferred\":\"n{wanted}\"}}}}");
        wait_for("the wanted node leads the stream", || async {
            if self.leader(by, stream).await == wanted {
                return Some(());
            }
            let client = async_nats::connect(self.url(by)).await.ok()?;
            client.request(subject.clone(), preferred.clone().into()).await.ok()?;
            None
        })
        .await;
    }

    /// Waits until all copies of a stream are up to date.
    pub async fn in_step(&self, by: usize, stream: &str) {
        wait_for("all copies of the stream are current", || async {
            let cluster = self.info(by, stream).await?.cluster?;
            (cluster.replicas.len() == 2 && cluster.replicas.iter().all(|copy| copy.current)).then_some(())
        })
        .await;
    }

    async fn info(&self, by: usize, stream: &str) -> Option<Info> {
        let stream = self.jetstream(by).await?.get_stream(stream).await.ok()?;
        Some(stream.cached_info().clone())
    }

    /// How many connections a process of this machine has to the node.
    pub fn connections(&self, n: usize, process: u32) -> usize {
        connections(process, self.node(n).port)
    }

    fn signal(&self, n: usize, signal: Signal) {
        let id = self.node(n).child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("the node runs"), signal).expect("the node is there");
    }

    /// Stops a node where it is: its sockets stay open, and it answers nothing.
    pub fn freeze(&self, n: usize) {
        self.signal(n, Signal::STOP);
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, n: usize) {
        self.signal(n, Signal::CONT);
    }

    /// Ends a node with SIGKILL.
    pub async fn kill(&mut self, n: usize) {
        self.node_mut(n).child.kill().await.expect("the node can be killed");
    }

    /// Starts a node that does not run.
    pub fn restart(&mut self, n: usize) {
        let node = self.node_mut(n);
        node.child = spawn(node.folder.path());
    }
}

/// How many connections a process has to a port of this machine.
fn connections(process: u32, port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    // Remote address, state (01: established) and inode of each line.
    let sockets: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let remote = columns.get(2)?.rsplit_once(':')?.1;
            let matches = u16::from_str_radix(remote, 16) == Ok(port) && columns.get(3) == Some(&"01");
            matches.then(|| format!("socket:[{}]", columns.get(9).copied().unwrap_or_default()))
        })
        .collect();
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.filter(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())).count()
}
