//! `copy_into` and `copy_from`: where paths lead, and what is refused.

use driver_types::{Capability, ContainerDriverExt, DriverError};

use super::files::{COPY, SEEN, archive, bytes, entry, file, put_new, writable};
use super::inside::{NOTHING, binary};
use crate::Context;
use crate::case::{CaseResult, Failure, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("symlink_does_not_escape", symlink_does_not_escape)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("read_through_symlinks_stays_inside", read_stays_inside)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("symlink_of_the_archive_does_not_escape", archive_symlink)
        .needs(COPY)
        .proves(ROOT);
    group.case("symlink_loop", symlink_loop).needs(COPY).proves(ROOT);
    group
        .case("entry_with_dot_dot", entry_with_dot_dot)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("missing_directory", missing_directory)
        .needs(COPY)
        .proves(ROOT);
    group.case("missing_path", missing_path).needs(COPY).proves(ROOT);
    group
        .case("target_is_a_file", target_is_a_file)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("read_only_root", read_only_root)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("tmpfs_is_written_or_refused", tmpfs)
        .needs(SEEN)
        .proves(ROOT);
    group
        .case("relative_path_is_refused", relative_path)
        .needs(COPY)
        .proves(ROOT);
    group
        .case("broken_archive", broken_archive)
        .needs(COPY)
        .proves(ROOT);
}

const ROOT: &[&str] = &["3.copy.root"];

/// A path or an archive is refused for what it is.
#[track_caller]
fn refusal(error: DriverError) -> CaseResult {
    let codes = ["FILE_SYSTEM_ERROR", "CONFIGURATION_ERROR"];
    expect::that(
        format!("a refusal with one of {codes:?}"),
        codes.contains(&error.code()),
        error,
    )
}

async fn symlink_does_not_escape(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let name = cx.name("copied");
    for link in ["/escape", "/link-etc"] {
        match cx
            .driver()
            .copy_into(&id, link, bytes(archive(&[file(&name, b"inside")])))
            .await
        {
            Ok(()) => {
                let path = format!("/etc/{name}");
                expect::equal(
                    "the container's own /etc",
                    &cx.driver().read_file(&id, &path).await?[..],
                    &b"inside"[..],
                )?;
            }
            Err(error) => refusal(error)?,
        }
        let host = std::path::Path::new("/etc").join(&name);
        expect::that("nothing in the host's /etc", !host.exists(), &host)?;
    }
    Ok(())
}

async fn read_stays_inside(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    for path in [
        "/escape/image-marker",
        "/link-etc/image-marker",
        "/dir/../../../etc/image-marker",
    ] {
        match cx.driver().read_file(&id, path).await {
            Ok(content) => expect::equal(
                format!("the container's own {path}"),
                &content[..],
                &b"inside\n"[..],
            )?,
            Err(error) => refusal(error)?,
        }
    }
    Ok(())
}

async fn archive_symlink(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let name = cx.name("linked");
    let link = entry("evil", tar::EntryType::Symlink, "/etc", 0o777, b"");
    let through = file(&format!("evil/{name}"), b"inside");
    if let Err(error) = cx
        .driver()
        .copy_into(&id, "/work", bytes(archive(&[link, through])))
        .await
    {
        refusal(error)?;
    }
    let host = std::path::Path::new("/etc").join(&name);
    expect::that("nothing in the host's /etc", !host.exists(), &host)
}

async fn symlink_loop(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let copied = put_new(&cx, &id, "/loop", b"1").await;
    expect::permanent(copied, "FILE_SYSTEM_ERROR")?;
    expect::permanent(cx.driver().read_file(&id, "/loop/new").await, "FILE_SYSTEM_ERROR")?;
    Ok(())
}

async fn entry_with_dot_dot(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    for name in [
        "../escaped",
        "a/../../escaped",
        "../../../../../../../../tmp/escaped",
    ] {
        let evil = archive(&[file("harmless", b"1"), file(name, b"evil")]);
        expect::permanent(
            cx.driver().copy_into(&id, "/work", bytes(evil)).await,
            "FILE_SYSTEM_ERROR",
        )?;
    }
    expect::permanent(cx.driver().read_file(&id, "/escaped").await, "FILE_SYSTEM_ERROR")?;
    Ok(())
}

async fn missing_directory(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let copied = put_new(&cx, &id, "/nowhere", b"1").await;
    expect::contains(
        "a message",
        &expect::permanent(copied, "FILE_SYSTEM_ERROR")?.to_string(),
        "/nowhere",
    )
}

async fn missing_path(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    for path in ["/nowhere", "/readable/below-a-file", "/dir/nothing"] {
        let error = expect::permanent(
            cx.driver().copy_from(&id, path).await.map(drop),
            "FILE_SYSTEM_ERROR",
        )?;
        expect::contains("a message", &error.to_string(), path)?;
    }
    Ok(())
}

async fn target_is_a_file(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let copied = put_new(&cx, &id, "/readable", b"1").await;
    expect::permanent(copied, "FILE_SYSTEM_ERROR")?;
    expect::equal(
        "the file",
        &cx.driver().read_file(&id, "/readable").await?[..],
        &b"readable\n"[..],
    )
}

async fn read_only_root(cx: Context) -> CaseResult {
    if !cx.supports(Capability::ReadOnlyRoot) {
        return expect::skip("no capability readOnlyRoot");
    }
    let id = cx.run(&cx.config(["forever"])).await?.id;
    let copied = put_new(&cx, &id, "/work", b"1").await;
    expect::permanent(copied, "FILE_SYSTEM_ERROR")?;
    expect::permanent(cx.driver().read_file(&id, "/work/new").await, "FILE_SYSTEM_ERROR")?;
    Ok(())
}

/// What is copied to a tmpfs of a running container is seen inside, or refused; never put underneath it.
async fn tmpfs(cx: Context) -> CaseResult {
    let id = cx.run(&writable(&cx, ["forever"]).tmpfs("/tmp", 8)).await?.id;
    match put_new(&cx, &id, "/tmp", b"hello").await {
        Ok(()) => cx
            .exec_lines(&id, ["read", "/tmp/new"])
            .await?
            .expect("read", "hello"),
        Err(error) => refusal(error),
    }
}

async fn relative_path(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let copied = put_new(&cx, &id, "work", b"1").await;
    expect::permanent(copied, "CONFIGURATION_ERROR")?;
    expect::permanent(
        cx.driver().copy_from(&id, "readable").await.map(drop),
        "CONFIGURATION_ERROR",
    )?;
    Ok(())
}

async fn broken_archive(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let cut = archive(&[file("cut", &binary(5000))])[..2048].to_vec();
    for content in [b"this is no archive".repeat(100), cut] {
        match cx.driver().copy_into(&id, "/work", bytes(content)).await {
            Err(error) => refusal(error)?,
            Ok(()) => return Err(Failure::new("a refusal of a broken archive", "success").into()),
        }
    }
    Ok(())
}
