//! Whether the program of a container can be started, looked up before the start.
//!
//! With `init` the engine starts its own init, which starts the program: then a missing program is no failed start but
//! a run that ends with 127, which nobody can tell from a program that returned 127. So the lookup of execvp(3) is done
//! here, in the container's file system. A container without `init` needs no lookup: there the engine tells.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use driver_types::{DriverError, Result};
use futures_util::StreamExt;
use serde::Deserialize;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::wire::Inspect;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many programs of images are remembered as good.
const REMEMBERED: usize = 4096;
const TAR_BLOCK: usize = 512;

/// Programs of images that were found good: those in an image do not change.
#[derive(Debug, Default)]
pub(crate) struct GoodPrograms(Mutex<HashSet<(String, String, String)>>);

impl GoodPrograms {
    fn contains(&self, key: &(String, String, String)) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(key)
    }

    fn insert(&self, key: (String, String, String)) {
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= REMEMBERED {
            good.clear();
        }
        good.insert(key);
    }
}

/// What is wrong with a program, as exec(3) would say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Missing,
    Directory,
    NotExecutable,
    NoProgram,
}

impl Flaw {
    fn error(self, id: &str, program: &str) -> DriverError {
        let (reason, code) = match self {
            Self::Missing if program.contains('/') => ("no such file or directory", 127),
            Self::Missing => ("executable file not found in $PATH", 127),
            Self::Directory => ("is a directory", 126),
            Self::NotExecutable => ("permission denied", 126),
            Self::NoProgram => ("exec format error", 126),
        };
        DriverError::container_start(id, format!("exec \"{}\": {reason}", program.escape_debug()))
            .with_exit_code(code)
            .permanent()
    }
}

/// Refuses a program that cannot be started, as `CONTAINER_START_FAILED` with exit code 127 or 126. `pristine`: nothing
/// was copied into the container and it never ran, so its image decides.
pub(crate) async fn check(engine: &Engine, inspect: &Inspect, pristine: bool) -> Result<()> {
    if !inspect.host_config.init || inspect.path.is_empty() {
        return Ok(());
    }
    let candidates = candidates(inspect);
    // A mount may hide or bring the program.
    let in_image = pristine
        && inspect.mounts.iter().all(|mount| {
            candidates
                .iter()
                .all(|path| !path.starts_with(&mount.destination))
        });
    let key = (inspect.image.clone(), inspect.path.clone(), candidates.join(":"));
    if in_image && engine.good_programs.contains(&key) {
        return Ok(());
    }
    let mut flaw = Flaw::Missing;
    for path in candidates {
        match look(engine, &inspect.id, &path).await {
            Ok(None) => {
                if in_image {
                    engine.good_programs.insert(key);
                }
                return Ok(());
            }
            // execvp(3): a later directory may have a better one; what was found first is told.
            Ok(Some(found)) if flaw == Flaw::Missing => flaw = found,
            Ok(Some(_)) => {}
            // The lookup is a help. Where it fails, the engine decides.
            Err(_) => return Ok(()),
        }
    }
    Err(flaw.error(&inspect.id, &inspect.path))
}

/// Where the program may be.
fn candidates(inspect: &Inspect) -> Vec<String> {
    let program = inspect.path.as_str();
    let directory = |text: &str| text.trim_end_matches('/').to_owned();
    if program.starts_with('/') {
        return vec![program.to_owned()];
    }
    if program.contains('/') {
        return vec![format!("{}/{program}", directory(&inspect.config.working_dir))];
    }
    let path = inspect
        .config
        .env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let directories = path.unwrap_or(DEFAULT_PATH).split(':');
    directories
        .filter(|entry| entry.starts_with('/'))
        .map(|entry| format!("{}/{program}", directory(entry)))
        .collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PathStat {
    /// Go's `os.FileMode`.
    mode: u32,
    link_target: String,
}

const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;

/// What is wrong with the file at a path, if anything.
async fn look(engine: &Engine, id: &str, path: &str) -> Result<Option<Flaw>, Failure> {
    let Some(mut found) = stat(engine, id, path).await? else {
        return Ok(Some(Flaw::Missing));
    };
    let mut path = path.to_owned();
    if found.mode & GO_SYMLINK != 0 {
        // The engine has followed it to its end, inside the container's root.
        path = found.link_target;
        found = match stat(engine, id, &path).await? {
            Some(found) => found,
            None => return Ok(Some(Flaw::Missing)),
        };
    }
    if found.mode & GO_DIRECTORY != 0 {
        return Ok(Some(Flaw::Directory));
    }
    if found.mode & 0o111 == 0 {
        return Ok(Some(Flaw::NotExecutable));
    }
    let begin = first_bytes(engine, id, &path).await?;
    let is_program = begin.starts_with(b"\x7fELF") || begin.starts_with(b"#!");
    Ok((!is_program).then_some(Flaw::NoProgram))
}

async fn stat(engine: &Engine, id: &str, path: &str) -> Result<Option<PathStat>, Failure> {
    let call = engine
        .client
        .head(format!("/containers/{id}/archive"))
        .query("path", path);
    let response = match call.send().await {
        Ok(response) => response,
        Err(Failure::Status { status: 404, .. }) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let header = response.headers().get("x-docker-container-path-stat");
    let json = header.and_then(|header| STANDARD.decode(header.as_bytes()).ok());
    let parsed = json.and_then(|json| serde_json::from_slice(&json).ok());
    parsed
        .map(Some)
        .ok_or_else(|| Failure::Malformed(format!("no description of {path}")))
}

/// The first bytes of a regular file. The rest of the archive is not read.
async fn first_bytes(engine: &Engine, id: &str, path: &str) -> Result<Vec<u8>, Failure> {
    let call = engine
        .client
        .get(format!("/containers/{id}/archive"))
        .query("path", path);
    let mut stream = call.stream().await?;
    let mut archive = Vec::new();
    while archive.len() < TAR_BLOCK + 4 {
        match stream.next().await {
            Some(chunk) => archive.extend_from_slice(&chunk?),
            None => break,
        }
    }
    let mut content = archive.get(TAR_BLOCK..).unwrap_or_default().to_vec();
    content.truncate(4);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/bin/x", "", &[], &["/bin/x"])]
    #[case("./x", "/work/", &[], &["/work/./x"])]
    #[case("a/x", "", &[], &["/a/x"])]
    #[case("x", "/work", &["PATH=/p:/q/", "A=b"], &["/p/x", "/q/x"])]
    #[case("x", "", &["PATH="], &[])]
    fn the_lookup_is_that_of_execvp(
        #[case] program: &str,
        #[case] directory: &str,
        #[case] env: &[&str],
        #[case] expected: &[&str],
    ) {
        let mut inspect = Inspect {
            path: program.into(),
            ..Inspect::default()
        };
        inspect.config.working_dir = directory.into();
        inspect.config.env = env.iter().map(ToString::to_string).collect();
        assert_eq!(candidates(&inspect), expected);
    }

    #[rstest]
    #[case(Flaw::Missing, "gone", 127)]
    #[case(Flaw::Directory, "/bin", 126)]
    #[case(Flaw::NotExecutable, "/etc/passwd", 126)]
    #[case(Flaw::NoProgram, "/bad", 126)]
    fn flaws_are_permanent_and_have_the_code_of_shells(
        #[case] flaw: Flaw,
        #[case] program: &str,
        #[case] code: i32,
    ) {
        let error = flaw.error("c1", program);
        assert!(!error.is_retryable());
        let driver_types::ErrorKind::ContainerStart { exit_code, .. } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(*exit_code, Some(code));
    }
}
