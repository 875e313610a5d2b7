//! Outgoing HTTP, to granted hosts only.
//!
//! Promises that a call goes to an address that the grants reach, the very one that was checked: a name is resolved
//! once, and the connection is made to that address. What is refused is written to the log and to the event's failure,
//! with what is granted.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use super::capture::Lines;
use super::traffic::Traffic;
use super::{Error, LogLevel};
use heddle_values::http::{HttpGrants, Scheme, Target};

type HttpError = wasmtime_wasi_http::Error;
type Finish = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Answered = Result<(http::Response<WasiBody>, Finish), HttpError>;

/// The wait for a connection, an answer or more of a body that a handler does not bound by itself. The run does anyway.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the instances of one handler call with.
#[derive(Debug, Default)]
pub(super) struct Client {
    grants: HttpGrants,
    /// None: nothing is granted.
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Reads the certificates, if there is anything to call.
    pub(super) async fn open(grants: &HttpGrants) -> Result<Arc<Self>, Error> {
        let grants = grants.clone();
        if grants.hosts.is_empty() {
            return Ok(Arc::new(Client { grants, tls: None }));
        }
        let open = move || {
            let tls = Some(Arc::new(tls(grants.ca.as_deref())?));
            Ok(Arc::new(Client { grants, tls }))
        };
        tokio::task::spawn_blocking(open).await.map_err(|error| Error::Engine(error.to_string()))?
    }
}

/// Trusts the authorities that are built in, those of the system (or of `SSL_CERT_FILE`), and those of the grant.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    // A system without certificates has the built-in ones, and one that is broken among them harms no other.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let failed = |cause: String| Error::Grant { what: format!("http-ca: {}", path.display()), cause };
        let mut found = 0_usize;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(failed("it holds no certificate in PEM".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Engine(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Lets the calls of one instance through.
#[derive(Debug)]
pub(super) struct Calls {
    client: Arc<Client>,
    lines: Lines,
    /// The first call of this run that was refused. Shared with calls under way.
    refused: Arc<OnceLock<String>>,
    /// How the calls of this run went.
    pub(super) traffic: Traffic,
}

impl Calls {
    pub(super) fn new(client: Arc<Client>, lines: Lines) -> Self {
        Calls { client, lines, refused: Arc::default(), traffic: Traffic::default() }
    }

    /// Begins a run.
    pub(super) fn begin(&mut self) {
        if self.refused.get().is_some() {
            self.refused = Arc::default();
        }
        self.traffic = Traffic::default();
    }

    /// Why a call of this run was refused, if one was.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }

    fn refusal(&self) -> Refusal {
        Refusal { lines: self.lines.clone(), refused: Arc::clone(&self.refused) }
    }
}

/// Where it is said that a call was refused.
struct Refusal {
    lines: Lines,
    refused: Arc<OnceLock<String>>,
}

impl Refusal {
    fn say(&self, text: String) {
        self.lines.log(LogLevel::Warn, &text);
        // Only the first is kept: what follows may well come of it.
        self.refused.set(text).ok();
    }
}

impl WasiHttpHooks for Calls {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Finish,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let (client, refusal, traffic) = (Arc::clone(&self.client), self.refusal(), self.traffic.clone());
        traffic.begin();
        Box::new(async move {
            let answer = client.call(request, Waits::of(options), &refusal).await;
            match &answer {
                Ok((answer, _)) => traffic.answered(answer.status()),
                Err(HttpError::HttpRequestDenied | HttpError::DestinationIpProhibited) => traffic.denied(),
                Err(_) => {}
            }
            answer
        })
    }
}

fn target(uri: &http::Uri) -> Option<Target<'_>> {
    let scheme = if uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    Some(Target { scheme, host: uri.host()?, port: uri.port_u16().unwrap_or(scheme.port()) })
}

impl Client {
    async fn call(&self, request: http::Request<WasiBody>, waits: Waits, refusal: &Refusal) -> Answered {
        let uri = request.uri().clone();
        let target = target(&uri).ok_or(HttpError::HttpRequestUriInvalid)?;
        let connecting = tokio::time::timeout(waits.connect, self.connect(target, refusal)).await;
        let stream = connecting.map_err(|_| HttpError::ConnectionTimeout)??;
        exchange(stream, request, waits).await
    }

    async fn connect(&self, target: Target<'_>, refusal: &Refusal) -> Result<Box<dyn Connection>, HttpError> {
        let Some(tls) = self.tls.as_ref().filter(|_| self.grants.allows(target)) else {
            let granted = self.grants.list();
            refusal.say(format!("call to `{target}` is not granted; `grants.http` has {granted}"));
            return Err(HttpError::HttpRequestDenied);
        };
        let addresses = self.addresses(target, refusal).await?;
        let stream = TcpStream::connect(&*addresses).await.map_err(HttpError::Connect)?;
        if target.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let name = match target.address() {
            Some(address) => ServerName::from(address),
            None => {
                ServerName::try_from(target.host.to_owned()).map_err(|_| HttpError::HttpRequestUriInvalid)?
            }
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
        Ok(Box::new(connector.connect(name, stream).await.map_err(HttpError::Tls)?))
    }

    /// Where a call may go: what its host stands for, as far as the grants reach.
    async fn addresses(&self, target: Target<'_>, refusal: &Refusal) -> Result<Vec<SocketAddr>, HttpError> {
        let found: Vec<SocketAddr> = match target.address() {
            Some(address) => vec![SocketAddr::new(address, target.port)],
            None => {
                let found = tokio::net::lookup_host((target.host, target.port)).await;
                found.map_err(HttpError::Connect)?.collect()
            }
        };
        let reached = |address: &SocketAddr| self.grants.reaches(target, address.ip());
        let (reached, walled): (Vec<_>, Vec<_>) = found.into_iter().partition(reached);
        match walled.first().filter(|_| reached.is_empty()) {
            Some(address) => {
                refusal.say(unreachable(target, address.ip()));
                Err(HttpError::DestinationIpProhibited)
            }
            None => Ok(reached),
        }
    }
}

fn unreachable(target: Target<'_>, address: IpAddr) -> String {
    format!(
        "call to `{target}` is refused: `{}` stands for {address}, which is no public address; `http-private = true` \
         among the grants opens private networks, and an address that `grants.http` names is always open",
        target.host
    )
}

/// What HTTP is spoken over.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// How long a handler is ready to wait.
#[derive(Debug, Clone, Copy)]
struct Waits {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Waits {
    fn of(options: Option<RequestOptions>) -> Self {
        let of = |wait: fn(&RequestOptions) -> Option<Duration>| {
            options.as_ref().and_then(wait).unwrap_or(PATIENCE)
        };
        Waits {
            connect: of(|options| options.connect_timeout),
            first_byte: of(|options| options.first_byte_timeout),
            // A timer of nothing is none.
            between_bytes: of(|options| options.between_bytes_timeout).max(Duration::from_nanos(1)),
        }
    }
}

/// Sends a request over a connection of its own, and takes the head of the answer.
async fn exchange(
    stream: Box<dyn Connection>,
    mut request: http::Request<WasiBody>,
    waits: Waits,
) -> Answered {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let shaken = tokio::time::timeout(waits.connect, handshake).await;
    let (mut sender, connection) = shaken.map_err(|_| HttpError::ConnectionTimeout)??;
    // Host and scheme belong into the first line of a request to a proxy only; the header `host` is there already.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|_| HttpError::HttpRequestUriInvalid)?;
    let sending = async move {
        let answer = tokio::time::timeout(waits.first_byte, sender.send_request(request)).await;
        Ok::<_, HttpError>(answer.map_err(|_| HttpError::ConnectionReadTimeout)??)
    };
    let mut connection = Some(Box::pin(connection));
    tokio::pin!(sending);
    // Cancel-safe: neither is dropped before both have come as far as they are needed.
    let answer = tokio::select! {
        answer = &mut sending => answer?,
        ended = async { connection.as_mut().expect("it is taken in this arm only").await } => {
            connection = None;
            ended?;
            sending.await?
        }
    };
    let mut timer = tokio::time::interval(waits.between_bytes);
    timer.reset();
    let answer = answer.map(|incoming| TimedBody { incoming, timer }.boxed_unsync());
    let finish = async move {
        match connection {
            Some(connection) => connection.await.map_err(read_error),
            None => Ok(()),
        }
    };
    Ok((answer, Box::new(finish)))
}

fn read_error(error: hyper::Error) -> HttpError {
    if error.is_timeout() { HttpError::HttpResponseTimeout } else { error.into() }
}

/// The body of an answer, which must not stop for too long.
struct TimedBody {
    incoming: Incoming,
    timer: tokio::time::Interval,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                self.timer.reset();
                Poll::Ready(frame.map(|frame| frame.map_err(read_error)))
            }
            Poll::Pending => {
                std::task::ready!(self.timer.poll_tick(context));
                Poll::Ready(Some(Err(HttpError::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal { lines: Lines::default(), refused: Arc::default() }
    }

    async fn client(hosts: &[&str]) -> Arc<Client> {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Client::open(&HttpGrants { hosts, ..HttpGrants::default() }).await.unwrap()
    }

    #[test]
    fn a_call_goes_where_its_url_says_and_no_user_in_it_hides_that() {
        for (uri, expected) in [
            ("https://api.example.com/x", "https://api.example.com:443"),
            ("http://localhost:8080/", "http://localhost:8080"),
            ("https://api.example.com@evil.com/", "https://evil.com:443"),
            ("http://[::1]/", "http://[::1]:80"),
        ] {
            let uri: http::Uri = uri.parse().unwrap();
            assert_eq!(target(&uri).unwrap().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn what_is_refused_names_the_host_and_what_is_granted() {
        let client = client(&["api.example.com", "localhost:1"]).await;
        let refusal = refusal();
        let uri: http::Uri = "https://other.example/".parse().unwrap();
        let error = client.connect(target(&uri).unwrap(), &refusal).await.err();
        assert!(matches!(error, Some(HttpError::HttpRequestDenied)), "{error:?}");
        let said = refusal.refused.get().unwrap();
        assert_eq!(
            said,
            "call to `https://other.example:443` is not granted; `grants.http` has `api.example.com`, `localhost:1`"
        );
        assert_eq!(refusal.lines.take().0[0].text, *said);
    }

    #[tokio::test]
    async fn a_name_that_stands_for_a_private_address_is_refused_before_a_connection_is_made() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        // An old way to write 127.0.0.1, which resolvers still take for a name of it.
        let name = format!("http://0x7f000001:{port}/");
        let uri: http::Uri = name.parse().unwrap();
        let (closed, refusal) = (client(&["0x7f000001"]).await, refusal());
        let error = closed.connect(target(&uri).unwrap(), &refusal).await.err();
        assert!(matches!(error, Some(HttpError::DestinationIpProhibited)), "{error:?}");
        assert!(refusal.refused.get().unwrap().contains("http-private"), "{:?}", refusal.refused);
        let uri: http::Uri = format!("http://localhost:{port}/").parse().unwrap();
        let open = client(&["localhost"]).await;
        assert!(open.connect(target(&uri).unwrap(), &refusal).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_of_certificates_that_holds_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let open = |ca: &Path| {
            let hosts = vec!["api.example.com".parse().unwrap()];
            let grants = HttpGrants { hosts, private: false, ca: Some(ca.to_owned()) };
            async move { Client::open(&grants).await.err().unwrap().to_string() }
        };
        assert!(open(&ca).await.contains("ca.pem"));
        std::fs::write(&ca, "nothing").unwrap();
        assert!(open(&ca).await.contains("no certificate"));
    }
}
