//! Escapes by programs and libraries of an image in the place of the runtime's own.

use driver_types::{Capability, ContainerDriverExt, ExecSpec, SecurityOptions};
use tar::EntryType;

use super::escape::{ESCAPE, needs_a_kernel, programs};
use super::escape_images::{import, of_image, try_run};
use super::files::{entry, put_new};
use super::security::root;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;
use crate::workload::library;

const IMPORT: &[Capability] = &[Capability::ImportImage, Capability::Images];

pub(super) fn register(group: &mut Group) {
    group
        .case("a_program_of_proc_self_exe", runtime_again)
        .needs(IMPORT)
        .needs(&[Capability::User])
        .proves(ESCAPE);
    group
        .case("a_program_of_proc_self_exe_by_exec", runtime_again_by_exec)
        .needs(IMPORT)
        .needs(&[Capability::User, Capability::Exec])
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("libraries_of_an_image_are_not_loaded", libraries)
        .needs(IMPORT)
        .needs(&[Capability::Copy, Capability::User])
        .proves(&["7.escape", "3.copy.root"]);
}

/// The kernel loads these for a program that is not static, from the root of the container.
const LOADERS: [&str; 3] = [
    "lib64/ld-linux-x86-64.so.2",
    "lib/ld-linux-aarch64.so.1",
    "lib/ld-musl-x86_64.so.1",
];

/// A program that makes the kernel run again what started it, which then loads the hostile library.
fn again() -> Result<Vec<Vec<u8>>, CaseError> {
    let library = hostile()?;
    let loaders = LOADERS.map(|path| entry(path, EntryType::Regular, "", 0o755, &library));
    let script = entry("again", EntryType::Regular, "", 0o755, b"#!/proc/self/exe\n");
    Ok([loaders.to_vec(), vec![script]].concat())
}

/// Who cannot build it cannot attack with it.
fn hostile() -> Result<Vec<u8>, CaseError> {
    library().or_else(expect::skip)
}

/// The second way of CVE-2019-5736: the runtime is run by the container, which then holds its program open.
async fn runtime_again(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let before = programs();
    import(&cx, "i", &[], &again()?).await??;
    for init in [false, true] {
        let mut config = of_image(&cx, "i", ["forever"]).security(root());
        config.entrypoint = Some(vec!["/again".to_owned()]);
        config.init = init;
        let text = try_run(&cx, &config).await?;
        expect::that(
            "a program that is not written",
            !text.contains("overwrite=ok"),
            &text,
        )?;
    }
    expect::equal("programs of the host", programs(), before)
}

/// The same, while a neighbour in the container looks who comes by.
async fn runtime_again_by_exec(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let before = programs();
    import(&cx, "i", &[], &again()?).await??;
    let spy = of_image(&cx, "i", ["spy", "/tmp/end"]).security(root());
    let id = cx.run(&spy).await?.id;
    for _ in 0..20 {
        // That it fails is no matter: what there is to see, is seen before.
        if let Ok(result) = cx.driver().exec(&id, &ExecSpec::new(["/again"])).await {
            let text = result.stdout.to_text();
            expect::that(
                "a program that is not written",
                !text.contains("overwrite=ok"),
                &text,
            )?;
        }
    }
    cx.exec_lines(&id, ["write", "/tmp/end", "1"]).await?;
    cx.wait_exit(&id).await?;
    cx.lines(&id).await?.expect("spy", "0")?;
    expect::equal("programs of the host", programs(), before)
}

/// What looks up names and users loads these: by the place of the library, and by its name.
const DIRECTORIES: [&str; 6] = [
    "lib",
    "lib64",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
];
const LIBRARIES: [&str; 4] = [
    "libnss_files.so.2",
    "libnss_compat.so.2",
    "libnss_dns.so.2",
    "libnss_systemd.so.2",
];

/// CVE-2019-14271: who works on the files of a container has changed into its root, and looks up the names of their owners.
async fn libraries(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let library = hostile()?;
    let names = b"passwd: files compat systemd\ngroup: files compat systemd\nhosts: files dns\n";
    let mut entries = vec![
        entry("loaded", EntryType::Directory, "", 0o1777, b""),
        entry("etc/nsswitch.conf", EntryType::Regular, "", 0o644, names),
    ];
    for directory in DIRECTORIES {
        let at = |name| {
            entry(
                &format!("{directory}/{name}"),
                EntryType::Regular,
                "",
                0o755,
                &library,
            )
        };
        entries.extend(LIBRARIES.map(at));
    }
    import(&cx, "i", &[], &entries).await??;
    let security = SecurityOptions::default().read_only(false).user("other");
    let config = of_image(&cx, "i", ["uid"]).security(security);
    let id = cx.create(&config).await?.id;
    put_new(&cx, &id, "/work", b"1").await?;
    cx.driver().read_file(&id, "/readable").await?;
    cx.driver().start_container(&id).await?;
    cx.wait_exit(&id).await?;
    cx.lines(&id).await?.expect("uid", "2000")?;
    put_new(&cx, &id, "/work", b"1").await?;
    if cx.supports(Capability::Snapshot) {
        cx.driver()
            .snapshot_container(&id, &cx.image_name("snapshot"))
            .await?;
    }
    let mark = cx.driver().read_file(&id, "/loaded/mark").await;
    expect::permanent(mark, "FILE_SYSTEM_ERROR").map(drop)
}
