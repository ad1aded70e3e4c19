//! Mounts: `--volume SOURCE:TARGET[:ro]` and `--tmpfs TARGET[:size=64m]`.

use std::path::{Component, Path, PathBuf};

use driver_types::{ContainerConfig, TmpfsMount, VolumeMount};

use super::size_mib;

/// Reads `SOURCE:TARGET[:ro|rw]`. A source that begins with `/`, `.` or `~/` is a path of the host, taken from the
/// current directory; any other is the name of a volume.
pub(crate) fn volume(text: &str) -> Result<VolumeMount, String> {
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) if !source.is_empty() && !target.is_empty() => (source, target),
        (Some(_), None) => {
            return Err(
                "has no target; volumes without a name do not exist here, write NAME:/target or /host/path:/target"
                    .to_owned(),
            );
        }
        _ => return Err("write SOURCE:TARGET, as in data:/data or /host/path:/target:ro".to_owned()),
    };
    let read_only = match (parts.next(), parts.next()) {
        (None, _) | (Some("rw"), None) => false,
        (Some("ro"), None) => true,
        (Some(option), _) => return Err(format!("unknown option `{option}`; it can be ro or rw")),
    };
    Ok(VolumeMount::new(host_path(source)?, target).read_only(read_only))
}

fn host_path(source: &str) -> Result<String, String> {
    let path = match source.strip_prefix("~/") {
        Some(rest) => {
            PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set; write an absolute path")?)
                .join(rest)
        }
        None if source.starts_with(['.', '/']) => {
            let current =
                std::env::current_dir().map_err(|error| format!("no current directory: {error}"))?;
            current.join(source)
        }
        None => return Ok(source.to_owned()),
    };
    let path = normalise(&path);
    path.into_os_string()
        .into_string()
        .map_err(|_| "is not UTF-8".to_owned())
}

/// Takes `.` and `..` out of an absolute path, by its text only.
fn normalise(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

/// Reads `TARGET[:size=SIZE]`; 64 MiB without a size.
pub(crate) fn tmpfs(text: &str) -> Result<TmpfsMount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut size = ContainerConfig::DEFAULT_TMPFS.1;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        size = match option.split_once('=') {
            Some(("size", value)) => size_mib(value)?,
            _ => {
                return Err(format!(
                    "unknown option `{option}`; it can be size, as in /run:size=64m"
                ));
            }
        };
    }
    Ok(TmpfsMount {
        target: target.to_owned(),
        size_mib: size,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("data:/data", Some(VolumeMount::new("data", "/data")))]
    #[case("data:/data:ro", Some(VolumeMount::new("data", "/data").read_only(true)))]
    #[case("data:/data:rw", Some(VolumeMount::new("data", "/data")))]
    #[case("/a/../b/./c:/d", Some(VolumeMount::new("/b/c", "/d")))]
    #[case("/data", None)]
    #[case(":/data", None)]
    #[case("data:", None)]
    #[case("data:/data:z", None)]
    #[case("data:/data:ro:x", None)]
    fn volumes(#[case] text: &str, #[case] expected: Option<VolumeMount>) {
        assert_eq!(volume(text).ok(), expected);
    }

    #[test]
    fn relative_sources_are_paths_of_the_current_directory() {
        let current = std::env::current_dir().expect("a current directory");
        let mount = volume("./x:/x").expect("a mount");
        assert_eq!(Path::new(&mount.source), current.join("x"));
    }

    #[rstest]
    #[case("/run", Some(("/run", 64)))]
    #[case("/run:size=8m", Some(("/run", 8)))]
    #[case("/run:size=1g,", Some(("/run", 1024)))]
    #[case("/run:noexec", None)]
    #[case("/run:size=x", None)]
    fn tmpfs_mounts(#[case] text: &str, #[case] expected: Option<(&str, u64)>) {
        let expected = expected.map(|(target, size_mib)| TmpfsMount {
            target: target.to_owned(),
            size_mib,
        });
        assert_eq!(tmpfs(text).ok(), expected);
    }
}
