//! A TCP proxy between host and server that can lose answers and cut connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    port: u16,
    deaf: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
    trigger: Arc<Trigger>,
    _tasks: JoinSet<()>,
}

/// At which words of the server every connection is cut.
#[derive(Default)]
struct Trigger(Mutex<Option<Vec<u8>>>);

impl Trigger {
    fn text(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the text begins in what the server says; then it is armed no longer. Whatever follows is lost.
    fn pull(&self, said: &[u8]) -> Option<usize> {
        let mut armed = self.text();
        let text = armed.as_ref()?;
        let at = said.windows(text.len()).position(|part| part == text)?;
        *armed = None;
        Some(at)
    }
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
        let trigger = Arc::new(Trigger::default());
        let pulled = Arc::clone(&trigger);
        let cutting = cut.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let way = Way { deaf: Arc::clone(&flag), trigger: Arc::clone(&pulled), cut: cutting.clone() };
                connections.spawn(forward(client, target, way, cuts.clone()));
            }
        });
        Proxy { port, deaf, cut, trigger, _tasks: tasks }
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

    /// Cuts every connection, once, as soon as the server says `text`: what stands before it still arrives, and what
    /// the server has sent behind it is lost.
    pub fn cut_before(&self, text: &str) {
        *self.trigger.text() = Some(text.as_bytes().to_vec());
    }

    /// Waits until that has happened.
    pub async fn has_cut(&self) {
        let pulled = || async { self.trigger.text().is_none().then_some(()) };
        crate::wait_for("the connection is cut", pulled).await;
    }
}

/// What may happen on the way.
struct Way {
    deaf: Arc<AtomicBool>,
    trigger: Arc<Trigger>,
    cut: watch::Sender<u64>,
}

async fn forward(client: TcpStream, target: u16, way: Way, mut cuts: watch::Receiver<u64>) {
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
            let lost = way.deaf.load(Ordering::SeqCst);
            let said = buffer.get(..n).unwrap_or_default();
            let end = way.trigger.pull(said);
            if !lost && to_client.write_all(said.get(..end.unwrap_or(n)).unwrap_or_default()).await.is_err() {
                break;
            }
            if end.is_some() {
                way.cut.send_modify(|cuts| *cuts += 1);
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
