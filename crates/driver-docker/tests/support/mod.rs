//! An engine that answers what a test says, on a real socket: slow, cut and odd.

use std::path::Path;
use std::sync::{Arc, Mutex};

use driver_docker::{DockerDriver, DockerOptions, Host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What the engine does with a request.
pub(crate) enum Reply {
    /// A whole answer.
    Json(u16, String),
    /// The head and the beginning of a body, then the connection is closed.
    Cut(String),
    /// The head and the beginning of a body, then nothing more.
    Stall(String),
    /// Nothing at all.
    Silence,
    /// The connection is closed without an answer.
    Close,
}

type Handler = dyn Fn(&str) -> Option<Reply> + Send + Sync;

/// The fake engine. It ends with the test's runtime.
pub(crate) struct FakeEngine {
    directory: tempfile::TempDir,
    seen: Arc<Mutex<Vec<String>>>,
    change: tokio::sync::watch::Sender<()>,
}

pub(crate) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl FakeEngine {
    /// An engine whose answers are those of `handler`, by `METHOD /path` without version; what it leaves out is
    /// answered as a healthy engine without containers does.
    pub(crate) fn start(handler: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (change, _) = tokio::sync::watch::channel(());
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, changes) = (Arc::clone(&seen), change.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(
                    stream,
                    Arc::clone(&handler),
                    Arc::clone(&log),
                    changes.clone(),
                ));
            }
        });
        Self {
            directory,
            seen,
            change,
        }
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("s")
    }

    pub(crate) fn driver(&self, options: DockerOptions) -> DockerDriver {
        connect(&self.socket(), options)
    }

    /// Waits until a request that begins so was seen.
    pub(crate) async fn saw(&self, request: &str) {
        let mut changes = self.change.subscribe();
        while !self
            .seen
            .lock()
            .unwrap()
            .iter()
            .any(|seen| seen.starts_with(request))
        {
            changes.changed().await.unwrap();
        }
    }

    pub(crate) fn count(&self, request: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.starts_with(request))
            .count()
    }
}

pub(crate) fn connect(socket: &Path, options: DockerOptions) -> DockerDriver {
    DockerDriver::connect(options.host(Host::Unix(socket.to_owned())).cache(false)).unwrap()
}

async fn serve(
    mut stream: UnixStream,
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<String>>>,
    change: tokio::sync::watch::Sender<()>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let reply = handler(&request).unwrap_or_else(|| healthy(&request));
        log.lock().unwrap().push(request);
        change.send_replace(());
        let head = |status: u16, length: usize| {
            format!(
                "HTTP/1.1 {status} X\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        match reply {
            Reply::Json(status, body) => {
                let text = head(status, body.len()) + &body;
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            Reply::Cut(body) => {
                let _ = stream
                    .write_all((head(200, body.len() + 100) + &body).as_bytes())
                    .await;
                return;
            }
            Reply::Stall(body) => {
                let _ = stream
                    .write_all((head(200, body.len() + 100) + &body).as_bytes())
                    .await;
                std::future::pending::<()>().await;
            }
            Reply::Silence => std::future::pending::<()>().await,
            Reply::Close => return,
        }
    }
}

async fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse::<usize>()
                .ok()
        })
        .unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    Some(format!(
        "{method} {}",
        path.strip_prefix("/v1.41").unwrap_or(path)
    ))
}

fn healthy(request: &str) -> Reply {
    let path = request.split_once(' ').map_or("", |(_, path)| path);
    let body = match path.split('?').next().unwrap_or_default() {
        "/_ping" => "OK".to_owned(),
        "/version" => r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#.to_owned(),
        "/info" => format!(
            r#"{{"NCPU":2,"MemTotal":8589934592,"CpuCfsQuota":true,"MemoryLimit":true,"SwapLimit":true,"PidsLimit":true,
            "Architecture":"none","SecurityOptions":["name=seccomp"],"SystemTime":"{}"}}"#,
            "2026-01-01T00:00:00Z"
        ),
        "/containers/json" | "/networks" => "[]".to_owned(),
        path if path.starts_with("/images/") => format!(r#"{{"Id":"sha256:{ID}","Size":1}}"#),
        _ => return Reply::Json(404, r#"{"message":"No such container: x"}"#.to_owned()),
    };
    Reply::Json(200, body)
}

/// An inspect of the container [`ID`] of the default owner, with the default limits.
pub(crate) fn inspect(status: &str) -> String {
    format!(
        r#"{{"Id":"{ID}","Name":"/c","Created":"2026-01-01T00:00:00Z","Image":"sha256:{ID}",
        "State":{{"Status":"{status}","Pid":7,"StartedAt":"2026-01-01T00:00:01Z","FinishedAt":"2026-01-01T00:00:02Z"}},
        "Config":{{"Image":"i","Labels":{{"openagent.owner":"default","openagent.session":"s"}}}},
        "HostConfig":{{"ReadonlyRootfs":true,"Memory":536870912,"PidsLimit":100,"NanoCpus":500000000,"Isolation":"quantum"}}}}"#
    )
}
