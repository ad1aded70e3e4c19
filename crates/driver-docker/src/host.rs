//! Where the engine is: the host of the options, `DOCKER_HOST`, the Docker context, or a well-known socket.

use std::fmt;
use std::path::{Path, PathBuf};

use driver_types::{DriverError, Result};
use serde::Deserialize;

use crate::failure::Failure;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// `name:port`, without TLS.
    Tcp(String),
}

impl Host {
    /// Reads `unix:///path`, `tcp://name:port` or `http://name:port`.
    ///
    /// # Errors
    ///
    /// A configuration error that names the value and the forms that are read.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            let text = text.escape_debug();
            DriverError::configuration(format!(
                "the engine's address `{text}` {why}; use unix:///path/to/docker.sock or tcp://name:port"
            ))
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => Err(refused("has no absolute path")),
            Some(("tcp" | "http", authority)) => {
                let authority = authority.trim_end_matches('/');
                let complete = if authority
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
                {
                    authority.to_owned()
                } else {
                    format!("{authority}:2375")
                };
                match complete.parse::<http::uri::Authority>() {
                    Ok(_) if !authority.is_empty() => Ok(Self::Tcp(complete)),
                    _ => Err(refused("has no host name")),
                }
            }
            Some((scheme, _)) => Err(refused(&format!(
                "has the scheme `{scheme}`, which is not supported"
            ))),
            None => Err(refused("has no scheme")),
        }
    }

    /// Finds the engine as the Docker CLI does, and Podman's sockets after Docker's.
    ///
    /// In this order: `DOCKER_HOST`; the context of `DOCKER_CONTEXT`, or the current one of `config.json`;
    /// `/var/run/docker.sock`; `$XDG_RUNTIME_DIR/docker.sock`; `$XDG_RUNTIME_DIR/podman/podman.sock`;
    /// `/run/podman/podman.sock`. Where no socket exists it is Docker's default one, so that errors name that.
    ///
    /// # Errors
    ///
    /// A configuration error where a context is named and cannot be used.
    pub fn discover() -> Result<Self> {
        discover(&Environment::of_process())
    }

    /// The URI of a path on this host.
    pub(crate) fn uri(&self, path_and_query: &str) -> Result<http::Uri, Failure> {
        match self {
            Self::Unix(path) => {
                // The connector finds the socket in the authority, in hexadecimal.
                let socket: String = path
                    .to_string_lossy()
                    .bytes()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                format!("unix://{socket}:0{path_and_query}")
            }
            Self::Tcp(authority) => format!("http://{authority}{path_and_query}"),
        }
        .parse()
        .map_err(|error| Failure::Malformed(format!("{error}: {path_and_query}")))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

/// What of the process's environment decides.
struct Environment {
    docker_host: Option<String>,
    docker_context: Option<String>,
    config_dir: Option<PathBuf>,
    sockets: Vec<PathBuf>,
}

impl Environment {
    fn of_process() -> Self {
        let runtime_dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let of_user = |name: &str| runtime_dir.as_ref().map(|dir| dir.join(name));
        let sockets = [
            Some("/var/run/docker.sock".into()),
            of_user("docker.sock"),
            of_user("podman/podman.sock"),
            Some("/run/podman/podman.sock".into()),
        ];
        Self {
            docker_host: variable("DOCKER_HOST"),
            docker_context: variable("DOCKER_CONTEXT"),
            config_dir: config_dir(),
            sockets: sockets.into_iter().flatten().collect(),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the Docker CLI keeps its configuration.
pub(crate) fn config_dir() -> Option<PathBuf> {
    variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".docker")))
}

fn discover(environment: &Environment) -> Result<Host> {
    if let Some(host) = &environment.docker_host {
        return Host::parse(host);
    }
    if let Some(host) = context_host(environment)? {
        return Host::parse(&host);
    }
    let found = environment.sockets.iter().find(|path| path.exists());
    let first = || environment.sockets.first();
    let socket = found.or_else(first).cloned();
    Ok(Host::Unix(
        socket.unwrap_or_else(|| "/var/run/docker.sock".into()),
    ))
}

/// The address of the context in use; `None` for the default context.
fn context_host(environment: &Environment) -> Result<Option<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct CliConfig {
        current_context: Option<String>,
    }
    let Some(config_dir) = &environment.config_dir else {
        return Ok(None);
    };
    let of_config = || {
        let text = std::fs::read(config_dir.join("config.json")).ok()?;
        serde_json::from_slice::<CliConfig>(&text).ok()?.current_context
    };
    let Some(name) = environment.docker_context.clone().or_else(of_config) else {
        return Ok(None);
    };
    if name.is_empty() || name == "default" {
        return Ok(None);
    }
    match find_context(&config_dir.join("contexts/meta"), &name) {
        Some(host) => Ok(Some(host)),
        None => Err(DriverError::configuration(format!(
            "the Docker context `{}` has no endpoint in {}; use `docker context ls`, or set DOCKER_HOST",
            name.escape_debug(),
            config_dir.display(),
        ))),
    }
}

/// Contexts lie in directories named by a hash of their name; their `meta.json` tells the name.
fn find_context(directory: &Path, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: std::collections::HashMap<String, Endpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: Option<String>,
    }
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let text = std::fs::read(entry.path().join("meta.json")).ok()?;
        let mut meta: Meta = serde_json::from_slice(&text).ok()?;
        (meta.name == name).then(|| meta.endpoints.remove("docker")?.host)?
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("unix:///run/x.sock", Host::Unix("/run/x.sock".into()))]
    #[case("tcp://10.0.0.1:2375", Host::Tcp("10.0.0.1:2375".into()))]
    #[case("tcp://engine", Host::Tcp("engine:2375".into()))]
    #[case("http://[::1]:99/", Host::Tcp("[::1]:99".into()))]
    fn addresses_are_read(#[case] text: &str, #[case] expected: Host) {
        assert_eq!(Host::parse(text).unwrap(), expected);
        assert!(expected.uri("/_ping").is_ok());
    }

    #[rstest]
    #[case("")]
    #[case("/var/run/docker.sock")]
    #[case("unix://relative")]
    #[case("ssh://host")]
    #[case("tcp://")]
    #[case("tcp://a b:1")]
    fn other_addresses_are_refused(#[case] text: &str) {
        assert_eq!(Host::parse(text).unwrap_err().code(), "CONFIGURATION_ERROR");
    }

    fn environment(directory: &Path) -> Environment {
        Environment {
            docker_host: None,
            docker_context: None,
            config_dir: Some(directory.to_owned()),
            sockets: vec![directory.join("docker.sock"), directory.join("podman.sock")],
        }
    }

    fn add_context(directory: &Path, name: &str, host: &str) {
        let meta = directory.join("contexts/meta").join(name);
        std::fs::create_dir_all(&meta).unwrap();
        let text =
            format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).unwrap();
    }

    #[test]
    fn docker_host_wins_over_contexts_and_contexts_over_sockets() {
        let directory = tempfile::tempdir().unwrap();
        add_context(directory.path(), "far", "tcp://far:2375");
        add_context(directory.path(), "near", "unix:///near.sock");
        std::fs::write(
            directory.path().join("config.json"),
            r#"{"currentContext":"far"}"#,
        )
        .unwrap();
        let mut environment = environment(directory.path());
        assert_eq!(discover(&environment).unwrap(), Host::Tcp("far:2375".into()));
        environment.docker_context = Some("near".into());
        assert_eq!(discover(&environment).unwrap(), Host::Unix("/near.sock".into()));
        environment.docker_host = Some("tcp://first:1".into());
        assert_eq!(discover(&environment).unwrap(), Host::Tcp("first:1".into()));
    }

    #[test]
    fn an_unknown_context_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut environment = environment(directory.path());
        environment.docker_context = Some("gone".into());
        assert!(discover(&environment).unwrap_err().to_string().contains("`gone`"));
    }

    #[test]
    fn podmans_socket_is_found_where_dockers_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let environment = environment(directory.path());
        assert_eq!(
            discover(&environment).unwrap(),
            Host::Unix(directory.path().join("docker.sock"))
        );
        std::fs::write(directory.path().join("podman.sock"), "").unwrap();
        assert_eq!(
            discover(&environment).unwrap(),
            Host::Unix(directory.path().join("podman.sock"))
        );
    }
}
