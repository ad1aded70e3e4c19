//! The image of the cases: the workload program with the files that cases look at, some of them hostile.

use std::io;

use bytes::Bytes;
use driver_types::ImportOptions;
use tar::{Builder, EntryType, Header};

use super::build;

/// Where the program is.
pub(crate) const PROGRAM: &str = "/workload";

/// What stands for the program where containers are simulated.
const PLACEHOLDER: &[u8] = b"\x7fELF simulated workload\n\0\0\0\0\0\0\0";

const PASSWD: &str = "root:x:0:0:root:/root:/workload\n\
    user:x:1000:1000:user:/home/user:/workload\n\
    other:x:2000:2000:other:/:/workload\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nother:x:2000:\nextra:x:3000:user\n";

/// Path, owner, mode.
const DIRECTORIES: [(&str, u64, u32); 13] = [
    ("bin", 0, 0o755),
    ("data", 0, 0o1777),
    ("dev", 0, 0o755),
    ("dir", 0, 0o755),
    ("dir/b", 0, 0o755),
    ("etc", 0, 0o755),
    ("home/user", 1000, 0o755),
    ("proc", 0, 0o755),
    ("root", 0, 0o700),
    ("sys", 0, 0o755),
    ("tmp", 0, 0o1777),
    ("var", 0, 0o755),
    ("work", 0, 0o1777),
];

/// Path, mode, content.
const FILES: [(&str, u32, &str); 9] = [
    ("bad-format", 0o755, "neither a script nor a program\n"),
    ("dir/a", 0o644, "a\n"),
    ("dir/b/c", 0o644, "c\n"),
    ("etc/group", 0o644, GROUP),
    ("etc/image-marker", 0o644, "inside\n"),
    ("etc/passwd", 0o644, PASSWD),
    ("not-executable", 0o644, "not a program\n"),
    ("readable", 0o644, "readable\n"),
    ("secret", 0o600, "secret\n"),
];

/// Path, target.
const LINKS: [(&str, &str); 6] = [
    ("bin/workload", "/workload"),
    ("dir/link", "a"),
    ("escape", "../../../../../../../../etc"),
    ("link-etc", "/etc"),
    ("link-file", "/readable"),
    ("loop", "/loop"),
];

/// How the archive is imported: as an image that no other reference stands for, whatever other cases import meanwhile.
pub(crate) fn import_options(reference: &str) -> ImportOptions {
    let mut options = ImportOptions::new(reference);
    options.entrypoint = vec![PROGRAM.to_owned()];
    options.command = ["out", "default command"].map(str::to_owned).to_vec();
    options.env = [("PATH", "/bin"), ("IMAGE_ENV", "from the image")]
        .into_iter()
        .collect();
    options.working_dir = Some("/work".to_owned());
    let labels = [("conformance", "workload"), ("reference", reference)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    options.labels.extend(labels);
    options
}

/// The root file system as a tar.
///
/// # Errors
///
/// The program cannot be compiled.
pub(crate) fn image_archive(simulated: bool) -> Result<Bytes, String> {
    let program = if simulated {
        PLACEHOLDER.to_vec()
    } else {
        build::program()?
    };
    archive(&program, &[])
        .map(Bytes::from)
        .map_err(|error| format!("cannot pack the image: {error}"))
}

/// The root file system without a path and what is below it, and with more entries instead.
///
/// # Errors
///
/// The program cannot be compiled.
pub(crate) fn hostile_archive(simulated: bool, without: &[&str], more: &[Vec<u8>]) -> Result<Bytes, String> {
    let program = if simulated {
        PLACEHOLDER.to_vec()
    } else {
        build::program()?
    };
    let mut archive =
        archive(&program, without).map_err(|error| format!("cannot pack the image: {error}"))?;
    // The two blocks that end the archive go to the new end.
    archive.truncate(archive.len() - 1024);
    archive.extend(more.concat());
    archive.resize(archive.len() + 1024, 0);
    Ok(Bytes::from(archive))
}

fn archive(program: &[u8], without: &[&str]) -> io::Result<Vec<u8>> {
    let kept = |path: &str| {
        !without.iter().any(|gone| {
            path.strip_prefix(gone)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut tar = Builder::new(Vec::new());
    let mut home = header(EntryType::Directory, 0o755, 0);
    tar.append_data(&mut home, "home", io::empty())?;
    for (path, owner, mode) in DIRECTORIES.into_iter().filter(|(path, ..)| kept(path)) {
        tar.append_data(&mut header(EntryType::Directory, mode, owner), path, io::empty())?;
    }
    for (path, mode, content) in FILES.into_iter().filter(|(path, ..)| kept(path)) {
        append_file(&mut tar, path, mode, content.as_bytes())?;
    }
    append_file(&mut tar, "workload", 0o755, program)?;
    append_file(&mut tar, "suid", 0o4755, program)?;
    for (path, target) in LINKS {
        tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?;
    }
    tar.into_inner()
}

fn append_file(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode, 0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

fn header(kind: EntryType, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header
}
