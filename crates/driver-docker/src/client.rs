//! The HTTP client of the engine: pooled connections, versioned paths, and one kind of failure for all calls.
//!
//! A [`Call`] is one request. It has no deadline of its own: the operation that makes it has one for the whole
//! (see [`Engine::within`](crate::engine::Engine::within)).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use driver_types::ByteStream;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::host::Host;
use crate::wire::Ping;

/// The newest version of the API that this driver was written against.
const NEWEST_API: (u32, u32) = (1, 47);
/// The most of a reply that is held in memory: an inspect has kilobytes, a list of ten thousand containers 7 MiB.
const MAX_REPLY_BYTES: usize = 256 << 20;
/// The most of an error message that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
const IDLE_CONNECTIONS: usize = 16;

/// The body of a request.
type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A connection pool to one engine.
pub(crate) struct Client {
    host: Host,
    pool: Pool,
    /// `v1.41`, once the engine has told; forgotten when it cannot be reached, because another one may come back.
    version: Mutex<Option<String>>,
}

enum Pool {
    Unix(legacy::Client<hyperlocal::UnixConnector, Body>),
    Tcp(legacy::Client<HttpConnector, Body>),
}

impl Client {
    /// A client of the engine at `host`. Nothing is connected yet.
    pub(crate) fn new(host: Host) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_CONNECTIONS);
        let pool = match &host {
            Host::Unix(_) => Pool::Unix(builder.build(hyperlocal::UnixConnector)),
            Host::Tcp(_) => {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                Pool::Tcp(builder.build(connector))
            }
        };
        Self {
            host,
            pool,
            version: Mutex::new(None),
        }
    }

    /// Where the engine is.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// A GET of an API path without its version, for example `/info`.
    pub(crate) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// A POST.
    pub(crate) fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    /// A PUT.
    pub(crate) fn put(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    /// A DELETE.
    pub(crate) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// A HEAD.
    pub(crate) fn head(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::HEAD, path)
    }

    fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call {
            client: self,
            method,
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            body: Ok(empty()),
        }
    }

    /// Asks the engine for its API version, without a version in the path.
    pub(crate) async fn ping(&self) -> Result<Ping, Failure> {
        let response = self
            .send(Request::get("/_ping"), "/_ping", empty())
            .await
            .and_then(accept_status)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let ping = Ping {
            api_version: header("api-version").unwrap_or_default(),
            server: header("server").unwrap_or_default(),
        };
        read_all(response.into_body(), MAX_ERROR_BYTES).await?;
        let newest = parse_version(&ping.api_version).map_or(NEWEST_API, |server| server.min(NEWEST_API));
        let prefix = format!("/v{}.{}", newest.0, newest.1);
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(prefix);
        Ok(ping)
    }

    /// The version in use, such as `/v1.41`.
    async fn prefix(&self) -> Result<String, Failure> {
        let known = self
            .version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(prefix) = known {
            return Ok(prefix);
        }
        self.ping().await?;
        let known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.clone().unwrap_or_default())
    }

    async fn send(
        &self,
        request: http::request::Builder,
        path_and_query: &str,
        body: Body,
    ) -> Result<Response<Incoming>, Failure> {
        let uri = self.host.uri(path_and_query)?;
        let request = request
            .uri(uri)
            .header(header::HOST, "docker")
            .body(body)
            .map_err(|error| Failure::Malformed(error.to_string()))?;
        let sent = match &self.pool {
            Pool::Unix(client) => client.request(request).await,
            Pool::Tcp(client) => client.request(request).await,
        };
        sent.map_err(|error| {
            let failure = Failure::transport(&error, &self.host);
            if matches!(failure, Failure::Unreachable(_)) {
                *self.version.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            failure
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// One request to the engine.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Result<Body, Failure>,
}

impl Call<'_> {
    /// Adds a query parameter; key and value are escaped here.
    pub(crate) fn query(mut self, key: &str, value: impl ToString) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(&escape(key, ""));
        self.query.push('=');
        self.query.push_str(&escape(&value.to_string(), ""));
        self
    }

    /// Adds the `filters` parameter: JSON of key to accepted values.
    pub(crate) fn filters(self, filters: &impl Serialize) -> Self {
        match serde_json::to_string(filters) {
            Ok(json) => self.query("filters", json),
            Err(error) => self.fail(&error),
        }
    }

    /// Adds a header. A value that no header can have fails the call.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.headers.push((name, value));
                self
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Sets a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(json) => {
                self.body = Ok(full(json.into()));
                self.header(header::CONTENT_TYPE, "application/json")
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Sets a body that is streamed, with its content type. An error in the stream breaks the request.
    pub(crate) fn stream_body(mut self, content_type: &str, stream: ByteStream) -> Self {
        let frames = stream
            .map_ok(Frame::data)
            .map_err(|error| std::io::Error::other(error.to_string()));
        self.body = Ok(StreamBody::new(frames).boxed_unsync());
        self.header(header::CONTENT_TYPE, content_type)
    }

    fn fail(mut self, error: &impl ToString) -> Self {
        self.body = Err(Failure::Malformed(error.to_string()));
        self
    }

    /// Sends the request. A status of 400 and above is a failure; 304 is a success.
    pub(crate) async fn send(self) -> Result<Response<Incoming>, Failure> {
        let body = self.body?;
        let path = format!("{}{}{}", self.client.prefix().await?, self.path, self.query);
        let mut request = Request::builder().method(self.method);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = self.client.send(request, &path, body).await?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = read_all(response.into_body(), MAX_ERROR_BYTES).await?;
        Err(Failure::status(status, &body))
    }

    /// Sends the request and reads the reply to its end, for nothing but its success.
    pub(crate) async fn unit(self) -> Result<(), Failure> {
        let response = self.send().await?;
        read_all(response.into_body(), MAX_REPLY_BYTES).await.map(drop)
    }

    /// Sends the request and reads the reply to its end.
    pub(crate) async fn bytes(self) -> Result<Bytes, Failure> {
        let response = self.send().await?;
        read_all(response.into_body(), MAX_REPLY_BYTES).await
    }

    /// Sends the request and reads a reply of JSON.
    pub(crate) async fn value<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let response = self.send().await?;
        let body = read_all(response.into_body(), MAX_REPLY_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Malformed(error.to_string()))
    }

    /// Sends the request and gives the reply as a stream of bytes. Dropping it closes the connection.
    pub(crate) async fn stream(
        self,
    ) -> Result<impl futures_util::Stream<Item = Result<Bytes, Failure>> + Send + Unpin + 'static, Failure>
    {
        let response = self.send().await?;
        let frames = BodyStream::new(response.into_body());
        Ok(Box::pin(frames.filter_map(|frame| {
            std::future::ready(match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(Failure::Broken(error.to_string()))),
            })
        })))
    }

    /// Sends the request and takes the connection over for bytes in both directions.
    pub(crate) async fn upgrade(self) -> Result<TokioIo<Upgraded>, Failure> {
        let response = self
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "tcp")
            .send()
            .await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            return Err(Failure::Malformed(format!(
                "the engine answered {status} where it should give a stream in both directions"
            )));
        }
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(TokioIo::new(upgraded))
    }
}

fn accept_status(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(Failure::status(status.as_u16(), b""))
    }
}

/// Reads a body to its end, or fails at `limit` bytes.
async fn read_all(mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Failure::Malformed(format!(
                "the reply has more than {limit} bytes"
            )));
        }
        // Most replies are one frame: no copy for those.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    Ok([first.as_ref(), &rest].concat().into())
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Percent-encodes all but RFC 3986's unreserved characters and those of `keep`.
pub(crate) fn escape(text: &str, keep: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~".contains(character) || keep.contains(character) {
            escaped.push(character);
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain-1.2_x~", "", "plain-1.2_x~")]
    #[case("x?y=/..#", "", "x%3Fy%3D%2F..%23")]
    #[case("host:5000/a@sha256:1", "/:@", "host:5000/a@sha256:1")]
    #[case("ä", "", "%C3%A4")]
    fn names_are_escaped(#[case] text: &str, #[case] keep: &str, #[case] expected: &str) {
        assert_eq!(escape(text, keep), expected);
    }

    #[rstest]
    #[case("1.41", Some((1, 41)))]
    #[case("", None)]
    #[case("1.x", None)]
    fn versions_are_parsed(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(parse_version(text), expected);
    }
}
