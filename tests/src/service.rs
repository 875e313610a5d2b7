//! An HTTP service on this machine.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::free_port;

/// What every request is answered with.
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Answers every request with 204, until it is dropped.
pub struct Service {
    port: u16,
    _task: JoinSet<()>,
}

impl Service {
    /// Starts one on a free port, with TLS if there is an acceptor.
    pub async fn start(tls: Option<TlsAcceptor>) -> Self {
        Service::serve(TcpListener::bind(("127.0.0.1", free_port())).await.expect("a free port"), tls)
    }

    /// Starts one without TLS on the port of one that was dropped.
    ///
    /// # Errors
    /// Somebody else has taken the port meanwhile.
    pub async fn start_again(port: u16) -> std::io::Result<Self> {
        Ok(Service::serve(TcpListener::bind(("127.0.0.1", port)).await?, None))
    }

    fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let port = listener.local_addr().expect("it is bound").port();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => answer(stream).await,
                        // A client that trusts nobody here ends the handshake.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Service { port, _task: task }
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 1024];
    if stream.read(&mut request).await.is_ok() {
        stream.write_all(ANSWER).await.ok();
        stream.shutdown().await.ok();
    }
}
