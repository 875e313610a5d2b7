//! A TCP proxy between host and server that can lose answers and cut connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    deaf: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Begins to forward to a port of this machine.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let deaf = Arc::new(AtomicBool::new(false));
        let (cut, cuts) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let flag = Arc::clone(&deaf);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, target, Arc::clone(&flag), cuts.clone()));
            }
        });
        Proxy { port, deaf, cut, _tasks: tasks }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Whether what the server says is lost from now on. What clients say still arrives.
    pub fn lose_answers(&self, lose: bool) {
        self.deaf.store(lose, Ordering::SeqCst);
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn forward(client: TcpStream, target: u16, deaf: Arc<AtomicBool>, mut cuts: watch::Receiver<u64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    cuts.mark_unchanged();
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
            if to_server.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            let lost = deaf.load(Ordering::SeqCst);
            if !lost && to_client.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = cuts.changed() => {}
    }
}
