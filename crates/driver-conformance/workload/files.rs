//! Commands on files.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::system::{self, escape};
use crate::{Answer, Trouble, number, pause, text};

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("read", [path]) => read(path),
        ("size", [path]) => File::open(at(path)).map_err(Trouble::Io).and_then(checksum),
        ("write", [path, content]) => write(path, content, false),
        ("write-hex", [path, hex]) => from_hex(hex).and_then(|content| write(path, &content, false)),
        ("append", [path, content]) => write(path, content, true),
        ("mkdir", [path]) => ok(fs::create_dir(at(path))),
        ("rm", [path]) => ok(remove(at(path))),
        ("rename", [old, new]) => ok(fs::rename(at(old), at(new))),
        ("link", [old, new]) => ok(fs::hard_link(at(old), at(new))),
        ("symlink", [target, path]) => ok(std::os::unix::fs::symlink(at(target), at(path))),
        ("chmod", [mode, path]) => chmod(mode, path),
        ("chown", [uid, gid, path]) => chown(uid, gid, path),
        ("mkfifo", [path]) => ok(system::make_fifo(path)),
        ("ls", [path]) => list(path),
        ("stat", [path]) => stat(path),
        ("readlink", [path]) => fs::read_link(at(path))
            .map(|target| Some(escape(target.as_os_str().as_bytes())))
            .map_err(Trouble::Io),
        ("exists", [path]) => std::process::exit(i32::from(!at(path).exists())),
        ("wait-file", [path]) => {
            while !at(path).exists() {
                pause(10);
            }
            Ok(None)
        }
        ("fill", [path, mib]) => fill(path, mib),
        ("mounts", []) => mounts(),
        ("mount-at", [path]) => mount_at(path),
        _ => return None,
    })
}

pub fn from_hex(hex: &[u8]) -> Result<Vec<u8>, Trouble> {
    let hex = text(hex);
    let pair = |index| {
        hex.get(index..index + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    (0..hex.len())
        .step_by(2)
        .map(|index| pair(index).ok_or(Trouble::Usage))
        .collect()
}

/// Size and FNV-1a checksum of all that comes.
pub fn checksum(mut source: impl Read) -> Answer {
    let (mut size, mut hash) = (0_u64, 0xcbf2_9ce4_8422_2325_u64);
    let mut buffer = [0; 65_536];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return Ok(Some(format!("{size} {hash:016x}")));
        }
        size += length as u64;
        for byte in &buffer[..length] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

fn at(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn ok(result: std::io::Result<()>) -> Answer {
    Ok(result.map(|()| Some("ok".to_owned()))?)
}

fn read(path: &[u8]) -> Answer {
    let mut content = Vec::new();
    File::open(at(path))?.take(65_536).read_to_end(&mut content)?;
    Ok(Some(escape(&content)))
}

fn write(path: &[u8], content: &[u8], append: bool) -> Answer {
    let mut file = OpenOptions::new()
        .create(true)
        .append(append)
        .write(true)
        .truncate(!append)
        .open(at(path))?;
    file.write_all(content)?;
    Ok(Some(content.len().to_string()))
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    }
}

fn chmod(mode: &[u8], path: &[u8]) -> Answer {
    let mode = u32::from_str_radix(&text(mode), 8).map_err(|_| Trouble::Usage)?;
    ok(fs::set_permissions(at(path), Permissions::from_mode(mode)))
}

fn chown(uid: &[u8], gid: &[u8], path: &[u8]) -> Answer {
    ok(std::os::unix::fs::lchown(
        at(path),
        Some(number(uid)?),
        Some(number(gid)?),
    ))
}

fn list(path: &[u8]) -> Answer {
    let mut names = Vec::new();
    for entry in fs::read_dir(at(path))? {
        names.push(entry?.file_name().as_bytes().to_vec());
    }
    names.sort();
    let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
    Ok(Some(names.join(",")))
}

fn stat(path: &[u8]) -> Answer {
    let meta = fs::symlink_metadata(at(path))?;
    let kind = meta.file_type();
    let name = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "symlink",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () => "socket",
    };
    let size = if meta.is_dir() { 0 } else { meta.len() };
    Ok(Some(format!(
        "{name} {:04o} {} {} {size}",
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid()
    )))
}

fn fill(path: &[u8], mib: &[u8]) -> Answer {
    let mib: u64 = number(mib)?;
    let mut file = File::create(at(path))?;
    let piece = vec![0x5a; 1 << 20];
    for done in 0..mib {
        if let Err(error) = file.write_all(&piece) {
            crate::fail("fill", error.into());
            crate::print(&format!("filled={done}"));
            return Ok(None);
        }
    }
    Ok(Some(mib.to_string()))
}

/// Mount point, file system type and `rw` or `ro` of each line of mountinfo.
fn mount_table() -> Result<Vec<(Vec<u8>, String, &'static str)>, Trouble> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let parse = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let fields: Vec<_> = mount.split(' ').collect();
        let point = unescape_octal(fields.get(4)?);
        let mut source = source.split(' ');
        let (kind, super_options) = (source.next()?.to_owned(), source.next_back()?);
        let read_only = [fields.get(5)?, super_options]
            .iter()
            .any(|options| options.split(',').any(|o| o == "ro"));
        Some((point, kind, if read_only { "ro" } else { "rw" }))
    };
    Ok(table.lines().filter_map(parse).collect())
}

/// The kernel writes blanks in mount points as `\040`.
fn unescape_octal(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .and_then(|digits| u8::from_str_radix(&text(digits), 8).ok());
        match code {
            Some(code) if *first == b'\\' => {
                bytes.push(code);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn mounts() -> Answer {
    let table = mount_table()?;
    crate::print(&format!("mounts={}", table.len()));
    for (point, kind, mode) in table {
        crate::print(&format!("mount={} {kind} {mode}", escape(&point)));
    }
    Ok(None)
}

fn mount_at(path: &[u8]) -> Answer {
    match mount_table()?.into_iter().rfind(|(point, ..)| point == path) {
        Some((_, kind, mode)) => Ok(Some(format!("{kind} {mode}"))),
        None => Err(Trouble::Word("ENOENT")),
    }
}
