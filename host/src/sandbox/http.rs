//! Outgoing HTTP, to granted hosts only.

use bytes::Bytes;
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiHttpHooks;
use wasmtime_wasi_http::{RequestOptions, WasiBody};

type HttpError = wasmtime_wasi_http::Error;
type Finish = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Answer = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Finish), HttpError>> + Send>;

/// Lets requests through to the hosts of the grant, as `name` (any port) or `name:port`.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) hosts: Vec<String>,
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
        Box::new(async move {
            let (answer, connection) = wasmtime_wasi_http::default_send_request(request, options).await?;
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
    fn only_granted_hosts_are_called() {
        let granted = Granted { hosts: vec!["api.example.com".into(), "localhost:8080".into()] };
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
