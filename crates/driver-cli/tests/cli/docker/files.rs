//! `cp` on a real engine.

use std::fs;

use super::engine::Engine;
use crate::support::ran;

#[test]
fn files_go_in_and_out() {
    let Some(engine) = Engine::open("cp") else { return };
    let name = engine.idle(&["--read-only=false"]);
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path).display().to_string();
    let copy = |source: &str, target: &str| {
        let done = engine.run(&["cp", source, target]);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, ""),
            "cp {source} {target}: {done:?}"
        );
    };
    let inside = |script: &str| engine.run(&["exec", &name, "sh", "-c", script]).stdout;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(at("file"), &bytes).unwrap();
    fs::create_dir_all(at("tree/sub")).unwrap();
    fs::write(at("tree/sub/leaf"), "leaf").unwrap();

    copy(&at("file"), &format!("{name}:/work"));
    copy(&at("file"), &format!("{name}:/work/renamed"));
    assert_eq!(inside("cat /work/file /work/renamed | wc -c").trim(), "200000");
    copy(&format!("{name}:/work/renamed"), &at("back"));
    assert!(fs::read(at("back")).unwrap() == bytes);
    copy(&format!("{name}:/work/renamed"), &at(""));
    assert!(fs::read(at("renamed")).unwrap() == bytes);

    copy(&at("tree"), &format!("{name}:/work"));
    copy(&at("tree"), &format!("{name}:/work/new"));
    copy(&format!("{}/.", at("tree")), &format!("{name}:/work"));
    assert_eq!(
        inside("cat /work/tree/sub/leaf /work/new/sub/leaf /work/sub/leaf"),
        "leafleafleaf"
    );
    copy(&format!("{name}:/work/tree"), &at("out"));
    assert_eq!(fs::read_to_string(at("out/sub/leaf")).unwrap(), "leaf");
    copy(&format!("{name}:/work/tree/."), &at("out"));
    assert_eq!(fs::read_dir(at("out")).unwrap().count(), 1);
}

#[test]
fn tar_streams_go_in_and_out() {
    let Some(engine) = Engine::open("tar") else { return };
    let name = engine.idle(&["--read-only=false"]);
    let archive = engine
        .command()
        .args(["cp", &format!("{name}:/etc/passwd"), "-"])
        .output()
        .unwrap();
    assert_eq!(archive.status.code(), Some(0), "{archive:?}");
    let into = ran(engine
        .command()
        .args(["cp", "-", &format!("{name}:/work")])
        .write_stdin(archive.stdout));
    assert_eq!(into.code, 0, "{into:?}");
    assert!(
        engine
            .run(&["exec", &name, "cat", "/work/passwd"])
            .stdout
            .starts_with("root:")
    );
}

#[test]
fn mistakes_are_told() {
    let Some(engine) = Engine::open("cperr") else {
        return;
    };
    let name = engine.idle(&[]);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("x").display().to_string();
    let missing = engine.run(&["--format", "json", "cp", &format!("{name}:/no/such"), &target]);
    assert_eq!((missing.code, missing.error().code()), (1, "FILE_SYSTEM_ERROR"));
    let read_only = engine.run(&["--format", "json", "cp", "/etc/hostname", &format!("{name}:/etc")]);
    assert_eq!(
        (read_only.code, read_only.error().code()),
        (1, "FILE_SYSTEM_ERROR")
    );
    let no_source = engine.run(&["--format", "json", "cp", "/no/such", &format!("{name}:/work")]);
    assert_eq!(
        (no_source.code, no_source.error().code()),
        (1, "FILE_SYSTEM_ERROR")
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left of a failed copy"
    );
}
