//! The credentials of a pull that brings none: those that `docker login` stored.
//!
//! As the Docker CLI does: for the registry's host, the program of `credHelpers`, else that of `credsStore`, else the
//! entry of `auths` in `config.json`. Nothing there is a pull without credentials.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use driver_types::{DriverError, RegistryAuth, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Docker Hub's name where credentials are stored.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// A helper may ask a keychain, not a person.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// What the engine is given for the registry. Never logged.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    Password(RegistryAuth),
    /// What a registry gave at `docker login` in place of the password.
    IdentityToken(SecretString),
}

impl Credentials {
    /// The header `X-Registry-Auth`.
    pub(crate) fn header(&self) -> SecretString {
        let json = match self {
            Self::Password(auth) => {
                serde_json::json!({ "username": auth.username, "password": auth.password.expose_secret() })
            }
            Self::IdentityToken(token) => serde_json::json!({ "identitytoken": token.expose_secret() }),
        };
        URL_SAFE.encode(json.to_string()).into()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: HashMap<String, Entry>,
    creds_store: String,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The stored credentials for a registry, by its host.
pub(crate) async fn stored(directory: &Path, registry: &str) -> Result<Option<Credentials>> {
    let file = directory.join("config.json");
    let Ok(text) = std::fs::read(&file) else {
        return Ok(None);
    };
    // The text of the error may quote a value.
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        refused(
            &file,
            &format!("line {}, column {}", error.line(), error.column()),
        )
    })?;
    let server = if registry == "docker.io" {
        DOCKER_HUB
    } else {
        registry
    };
    let helper = config.cred_helpers.get(server).unwrap_or(&config.creds_store);
    if !helper.is_empty() {
        return ask(helper, server).await;
    }
    let entry = config.auths.get(server).or_else(|| {
        let mut entries = config.auths.iter();
        entries.find_map(|(key, entry)| (host(key) == host(server)).then_some(entry))
    });
    match entry {
        Some(entry) => entry.credentials().map_err(|why| refused(&file, why)),
        None => Ok(None),
    }
}

fn refused(file: &Path, why: &str) -> DriverError {
    let file = file.display();
    DriverError::configuration(format!(
        "{file} has no credentials as `docker login` writes them ({why}); log in anew, or give the pull its own"
    ))
}

/// The host of a key: old ones are URLs.
fn host(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split_once('/').map_or(key, |(host, _)| host)
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(
                self.identitytoken.as_str().into(),
            )));
        }
        if self.auth.is_empty() {
            return Ok(password(&self.username, &self.password));
        }
        let decoded = STANDARD
            .decode(&self.auth)
            .map_err(|_| "an `auth` is not base64")?;
        let text = String::from_utf8(decoded).map_err(|_| "an `auth` is not UTF-8")?;
        let (user, secret) = text
            .split_once(':')
            .ok_or("an `auth` has no colon after the user")?;
        Ok(password(user, secret.trim_end_matches('\0')))
    }
}

fn password(user: &str, secret: &str) -> Option<Credentials> {
    let auth = RegistryAuth {
        username: user.to_owned(),
        password: secret.into(),
    };
    (!user.is_empty()).then_some(Credentials::Password(auth))
}

async fn ask(helper: &str, server: &str) -> Result<Option<Credentials>> {
    // The name is a part of a program's name, not a path.
    if helper.contains('/') {
        return Err(DriverError::configuration(format!(
            "the credential helper `{}` of Docker's config.json is a path; name the part after `docker-credential-`",
            helper.escape_debug()
        )));
    }
    ask_program(&format!("docker-credential-{helper}"), server).await
}

/// Asks a helper by the protocol of docker-credential-helpers; that it has none is an answer.
async fn ask_program(program: &str, server: &str) -> Result<Option<Credentials>> {
    let failed = |why: &str| {
        DriverError::authentication(format!(
            "the credential helper `{program}` {why}; see credsStore and credHelpers in Docker's config.json"
        ))
    };
    let asked = tokio::time::timeout(HELPER_LIMIT, run(program, server)).await;
    let output = match asked {
        Err(_) => {
            return Err(failed(&format!(
                "did not answer within {} s",
                HELPER_LIMIT.as_secs()
            )));
        }
        Ok(Err(error)) => return Err(failed(&format!("cannot be run: {error}"))),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        // Helpers write errors to stdout. This text is what the Docker CLI looks for.
        let said = String::from_utf8_lossy(&output.stdout);
        if said.trim() == "credentials not found in native keychain" {
            return Ok(None);
        }
        return Err(failed(&format!("failed ({}): {}", output.status, said.trim())));
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("did not answer as the protocol says"))?;
    Ok(match answer.username.as_str() {
        "<token>" => Some(Credentials::IdentityToken(answer.secret.into())),
        user => password(user, &answer.secret),
    })
}

async fn run(program: &str, server: &str) -> std::io::Result<Output> {
    let mut helper = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = helper.stdin.take() {
        // One that ends without reading says why on stdout.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    helper.wait_with_output().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    /// `user:pass:word`.
    const AUTH: &str = "dXNlcjpwYXNzOndvcmQ=";

    async fn found(config: &str, registry: &str) -> Result<Option<serde_json::Value>> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), config).unwrap();
        let found = stored(directory.path(), registry).await?;
        Ok(found.map(|credentials| {
            let json = URL_SAFE.decode(credentials.header().expose_secret()).unwrap();
            serde_json::from_slice(&json).unwrap()
        }))
    }

    #[rstest]
    #[case::host(r#"{"auths":{"r:5000":{"auth":"AUTH"}}}"#, "r:5000")]
    #[case::url(r#"{"auths":{"https://r:5000/v2/":{"auth":"AUTH"}}}"#, "r:5000")]
    #[case::docker_hub(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"AUTH"}}}"#, "docker.io")]
    #[case::plain(r#"{"auths":{"r":{"username":"user","password":"pass:word"}}}"#, "r")]
    #[tokio::test]
    async fn a_password_is_found(#[case] config: &str, #[case] registry: &str) {
        let found = found(&config.replace("AUTH", AUTH), registry).await.unwrap();
        assert_eq!(
            found.unwrap(),
            serde_json::json!({ "username": "user", "password": "pass:word" })
        );
    }

    #[rstest]
    #[case::empty("{}")]
    #[case::another_port(r#"{"auths":{"r:5000":{"auth":"AUTH"}}}"#)]
    #[case::longer_name(r#"{"auths":{"r.evil.example":{"auth":"AUTH"}}}"#)]
    #[case::nothing_in_it(r#"{"auths":{"r":{}}}"#)]
    #[tokio::test]
    async fn nothing_is_no_credentials(#[case] config: &str) {
        assert_eq!(found(&config.replace("AUTH", AUTH), "r").await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_identity_token_goes_before_the_password() {
        let config = r#"{"auths":{"r":{"auth":"AUTH","identitytoken":"t"}}}"#.replace("AUTH", AUTH);
        assert_eq!(
            found(&config, "r").await.unwrap().unwrap(),
            serde_json::json!({ "identitytoken": "t" })
        );
    }

    #[rstest]
    #[case::no_json("nonsense", "CONFIGURATION_ERROR")]
    #[case::no_entry(r#"{"auths":{"r":"secret"}}"#, "CONFIGURATION_ERROR")]
    #[case::no_base64(r#"{"auths":{"r":{"auth":"%"}}}"#, "CONFIGURATION_ERROR")]
    #[case::no_colon(r#"{"auths":{"r":{"auth":"c2VjcmV0"}}}"#, "CONFIGURATION_ERROR")]
    #[case::no_helper(r#"{"credsStore":"that-nobody-has"}"#, "AUTHENTICATION_FAILED")]
    #[case::path(r#"{"credHelpers":{"r":"/../evil"}}"#, "CONFIGURATION_ERROR")]
    #[tokio::test]
    async fn what_cannot_be_used_is_an_error_without_secrets(#[case] config: &str, #[case] code: &str) {
        let error = found(config, "r").await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (code, false));
        let text = error.to_string();
        assert!(!text.contains("secret") && !text.contains("c2Vj"), "{text}");
    }

    async fn helper_says(script: &str) -> Result<Option<String>> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = ask_program(program.to_str().unwrap(), "r:5000").await?;
        Ok(found.map(|credentials| match credentials {
            Credentials::Password(auth) => format!("{}:{}", auth.username, auth.password.expose_secret()),
            Credentials::IdentityToken(token) => format!("token {}", token.expose_secret()),
        }))
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_server() {
        let script = r#"read server; [ "$1 $server" = "get r:5000" ] || exit 9
            echo '{"ServerURL":"r:5000","Username":"user","Secret":"s"}'"#;
        assert_eq!(helper_says(script).await.unwrap().unwrap(), "user:s");
        let token = r#"echo '{"Username":"<token>","Secret":"s"}'"#;
        assert_eq!(helper_says(token).await.unwrap().unwrap(), "token s");
        let nothing = "echo credentials not found in native keychain; exit 1";
        assert_eq!(helper_says(nothing).await.unwrap(), None);
    }

    #[rstest]
    #[case::fails("echo locked; exit 2", "locked")]
    #[case::nonsense("echo secret", "protocol")]
    #[tokio::test]
    async fn a_helper_that_fails_is_an_authentication_error(#[case] script: &str, #[case] why: &str) {
        let error = helper_says(script).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("AUTHENTICATION_FAILED", false)
        );
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("secret"), "{text}");
    }
}
