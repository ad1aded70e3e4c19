//! The image `host`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::host::Host;
use super::*;

/// A host with merged `/usr`, and secrets in all corners.
fn host() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in [
        "usr/bin/x",
        "usr/lib/x",
        "usr/games/..",
        "usr/etc/secret",
        "usr/local/bin/x",
        "usr/local/etc/secret",
        "sbin/x",
        "home/me/secret",
        "root/secret",
        "var/secret",
        "run/secret",
        "opt/secret",
        "etc/shadow",
        "etc/ssl/private/secret",
        "etc/ssl/certs/ca.crt",
        "etc/ssl/certs/sub/a",
        "etc/ld.so.cache",
        "etc/ssh/secret",
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.ends_with("..") {
            fs::write(&path, "content").unwrap();
        }
    }
    fs::write(
        root.join("etc/ssl/certs/mixed.pem"),
        "-----BEGIN RSA PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(root.join("etc/ssl/certs/mine"), "mode 0600").unwrap();
    fs::set_permissions(root.join("etc/ssl/certs/mine"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("ca.crt", root.join("etc/ssl/certs/hash.0")).unwrap();
    symlink("share/man", root.join("usr/local/man")).unwrap();
    directory
}

fn all(root: &Path, path: &str, found: &mut Vec<String>) {
    for name in names(&root.join(path)) {
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        if fs::symlink_metadata(root.join(&path)).unwrap().is_dir() {
            all(root, &path, found);
        }
        found.push(path);
    }
}

#[test]
fn the_layer_of_a_host() {
    let host = host();
    let made = tempfile::tempdir().unwrap();
    Host::look(host.path()).unwrap().make(made.path()).unwrap();
    let mut found = Vec::new();
    all(made.path(), "", &mut found);
    found.sort();
    assert_eq!(
        found,
        [
            "bin",
            "dev",
            "etc",
            "etc/group",
            "etc/hostname",
            "etc/hosts",
            "etc/ld.so.cache",
            "etc/mtab",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/resolv.conf",
            "etc/ssl",
            "etc/ssl/certs",
            "etc/ssl/certs/ca.crt",
            "etc/ssl/certs/hash.0",
            "etc/ssl/certs/sub",
            "etc/ssl/certs/sub/a",
            "home",
            "home/user",
            "proc",
            "root",
            "run",
            "sbin",
            "sys",
            "tmp",
            "usr",
            "usr/bin",
            "usr/lib",
            "usr/local",
            "usr/local/bin",
            "usr/local/man",
            "var",
        ]
    );
    assert_eq!(
        fs::read_link(made.path().join("bin")).unwrap(),
        Path::new("usr/bin")
    );
    let mode = |path: &str| fs::metadata(made.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode("tmp"), mode("root"), mode("etc/passwd")),
        (0o1777, 0o700, 0o644)
    );
}

#[test]
fn this_host() {
    let fixture = Fixture::new();
    let held = fixture.store.hold().unwrap();
    let spec = fixture.store.resolve("host").unwrap().unwrap();
    drop(held);
    assert_eq!(spec.id, None);
    assert_eq!(spec.command, ["sh"]);
    assert!(spec.env[0].starts_with("PATH=/"));
    let root = Path::new(&spec.layers[0]);
    for path in &spec.host_paths {
        assert!(Path::new(path).is_dir(), "{path}");
        let inside = root.join(path.strip_prefix('/').unwrap());
        assert!(
            fs::symlink_metadata(&inside).unwrap().is_dir(),
            "{path} can be bound"
        );
        assert_eq!(fs::read_dir(inside).unwrap().count(), 0, "{path}");
    }
    for secret in [
        "/",
        "/etc",
        "/home",
        "/root",
        "/var",
        "/run",
        "/opt",
        "/usr",
        "/usr/local",
        "/usr/local/etc",
    ] {
        assert!(!spec.host_paths.iter().any(|path| path == secret), "{secret}");
    }
    for name in ["shadow", "gshadow", "ssh", "machine-id", "docker", "ssl/private"] {
        assert!(!root.join("etc").join(name).exists(), "{name}");
    }
    assert!(spec.host_paths.iter().any(|path| path.ends_with("/bin")));
    // Made once, whoever asks.
    assert_eq!(fixture.other().resolve("host").unwrap().unwrap(), spec);
    assert!(fixture.left().is_empty());
    assert!(fixture.store.list().unwrap().is_empty());
    assert!(fixture.store.get("host").unwrap().is_none());
}

#[test]
fn several_make_the_layer_at_once() {
    let fixture = Fixture::new();
    let specs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| fixture.other().resolve("host").unwrap().unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(specs.iter().all(|spec| *spec == specs[0]));
    assert!(fixture.left().is_empty());
}

#[test]
fn layers_of_an_older_host_go_when_nobody_has_them() {
    let fixture = Fixture::new();
    let current = fixture.store.resolve("host").unwrap().unwrap();
    let old = |name: &str| fixture.store.dir().join(name).join("root");
    for name in ["host-used", "host-unused"] {
        fs::create_dir_all(old(name).join("etc")).unwrap();
    }
    let used = old("host-used").to_string_lossy().into_owned();
    fixture.store.remove_old_hosts(|layer| layer == used).unwrap();
    assert!(old("host-used").exists() && !old("host-unused").exists());
    assert!(Path::new(&current.layers[0]).exists());
    assert!(names(&fixture.store.tmp()).is_empty());
}
