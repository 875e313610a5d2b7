//! Outgoing HTTP, to granted hosts only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiHttpHooks;
use wasmtime_wasi_http::{RequestOptions, WasiBody};

use super::Outside;

type HttpError = wasmtime_wasi_http::Error;
type Finish = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Answer = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Finish), HttpError>> + Send>;

/// Lets requests through to the hosts of the grant, as `name` (any port) or `name:port`.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) hosts: Vec<String>,
    /// How the requests of this run went.
    pub(super) traffic: Traffic,
}

/// How the requests of one run went. Shared with them, for they end by themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU32,
    answered: AtomicU32,
}

impl Traffic {
    fn begin(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self, status: http::StatusCode) {
        if !status.is_server_error() {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What they say of the outside. A request that has not ended counts as failed.
    pub(super) fn outside(&self) -> Outside {
        match (self.0.begun.load(Ordering::Relaxed), self.0.answered.load(Ordering::Relaxed)) {
            (0, _) => Outside::Untouched,
            (begun, answered) if begun == answered => Outside::Answered,
            _ => Outside::Failed,
        }
    }
}

impl Granted {
    fn allows(&self, uri: &http::Uri) -> bool {
        let Some(host) = uri.host() else { return false };
        let default_port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let with_port = format!("{host}:{}", uri.port_u16().unwrap_or(default_port));
        self.hosts
            .iter()
            .any(|granted| granted.eq_ignore_ascii_case(host) || granted.eq_ignore_ascii_case(&with_port))
    }
}

impl WasiHttpHooks for Granted {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Finish,
    ) -> Answer {
        if !self.allows(request.uri()) {
            return Box::new(async { Err(HttpError::HttpRequestDenied) });
        }
        self.traffic.begin();
        let traffic = self.traffic.clone();
        Box::new(async move {
            let (answer, connection) = wasmtime_wasi_http::default_send_request(request, options).await?;
            traffic.answered(answer.status());
            let answer = answer.map(|body| {
                let body: http_body_util::combinators::UnsyncBoxBody<Bytes, HttpError> = body.boxed_unsync();
                body
            });
            Ok((answer, Box::new(connection) as Finish))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_that_fails_says_that_the_outside_may_be_down() {
        let traffic = Traffic::default();
        assert_eq!(traffic.outside(), Outside::Untouched);
        traffic.begin();
        assert_eq!(traffic.outside(), Outside::Failed, "it has no answer");
        traffic.answered(http::StatusCode::NOT_FOUND);
        assert_eq!(traffic.outside(), Outside::Answered, "whatever the answer is");
        traffic.begin();
        traffic.answered(http::StatusCode::BAD_GATEWAY);
        assert_eq!(traffic.outside(), Outside::Failed);
    }

    #[test]
    fn only_granted_hosts_are_called() {
        let hosts = vec!["api.example.com".into(), "localhost:8080".into()];
        let granted = Granted { hosts, traffic: Traffic::default() };
        for (uri, expected) in [
            ("https://api.example.com/x", true),
            ("https://API.example.com:8443/", true),
            ("http://localhost:8080/", true),
            ("http://localhost/", false),
            ("https://example.com/", false),
            ("https://evil-api.example.com/", false),
            ("https://api.example.com@evil.com/", false),
        ] {
            assert_eq!(granted.allows(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
