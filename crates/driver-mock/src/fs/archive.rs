//! Tar archives into and out of a tree.

use std::io::Read;

use super::{Content, Credentials, Errno, Ino, Inode, Kind, Mount, Sys, Tree, View};

/// Why an archive was not unpacked: a message that names the entry.
pub(crate) type Refusal = String;

/// Unpacks an archive under a directory of the mounts, with the engine's rights. Entries keep their owners and modes.
/// Links inside the archive are followed inside the mounts only; an entry that would lead out is refused before
/// anything is written, unless `allow_escape` (a lie) is set.
pub(crate) fn unpack(
    mounts: &[Mount],
    directory: &str,
    archive: &[u8],
    now: u64,
    allow_escape: bool,
) -> Result<(), Refusal> {
    let who = Credentials::engine();
    let view = View {
        mounts,
        who: &who,
        cwd: "/",
        umask: 0,
        now,
    };
    let at = |name: &str, errno: Errno| format!("cannot unpack {name}: {errno}");
    let (place, _) = view
        .existing(directory, true)
        .map_err(|errno| at(directory, errno))?;
    if view.list(directory).is_err() {
        return Err(at(directory, Errno::ENOTDIR));
    }
    let base = place.path;
    if view
        .mount_of(&view.existing(&base, true).map_err(|errno| at(&base, errno))?.0)
        .read_only
    {
        return Err(at(directory, Errno::EROFS));
    }
    let broken = |error: std::io::Error| format!("the archive is broken: {error}");
    for entry in tar::Archive::new(archive).entries().map_err(broken)? {
        let name = String::from_utf8_lossy(&entry.map_err(broken)?.path_bytes()).into_owned();
        if name.split('/').any(|part| part == "..") && !allow_escape {
            return Err(format!(
                "entry {} leads outside of {directory}",
                name.escape_debug()
            ));
        }
    }
    for entry in tar::Archive::new(archive).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = format!("{base}/{}", name.trim_start_matches('/').trim_end_matches('/'));
        unpack_entry(&view, &base, &path, &mut entry)
            .map_err(broken)?
            .map_err(|errno| at(&name, errno))?;
    }
    Ok(())
}

fn unpack_entry(
    view: &View<'_>,
    base: &str,
    path: &str,
    entry: &mut tar::Entry<'_, &[u8]>,
) -> std::io::Result<Sys<()>> {
    let header = entry.header().clone();
    let link = entry
        .link_name_bytes()
        .map(|name| String::from_utf8_lossy(&name).into_owned());
    // Owners and times that are not given are root's and the beginning of time.
    let kind = match header.entry_type() {
        tar::EntryType::Directory => Kind::Dir(Default::default()),
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Kind::File(Content::from(bytes))
        }
        tar::EntryType::Symlink => Kind::Symlink(link.unwrap_or_default()),
        tar::EntryType::Link => {
            let target = format!("{base}/{}", link.unwrap_or_default().trim_start_matches('/'));
            let _ = view.remove(path);
            return Ok(view.link(&target, path));
        }
        tar::EntryType::Fifo => Kind::Fifo,
        tar::EntryType::Char | tar::EntryType::Block => {
            let number = |field: Option<u32>| field.unwrap_or(0);
            Kind::Char(number(header.device_major()?), number(header.device_minor()?))
        }
        _ => return Ok(Ok(())),
    };
    let mut inode = Inode::new(
        kind,
        header.mode()? & 0o7777,
        header.uid().unwrap_or(0) as u32,
        header.gid().unwrap_or(0) as u32,
    );
    inode.mtime = header.mtime().unwrap_or(0);
    Ok(place(view, path, inode))
}

/// Puts an inode at a path, making the directories above it and replacing what is there; a directory that is there
/// gets the new owner and mode and keeps its entries.
fn place(view: &View<'_>, path: &str, inode: Inode) -> Sys<()> {
    if let Some((above, _)) = path.rsplit_once('/')
        && !above.is_empty()
        && view.stat(above, true).is_err_and(|errno| errno == Errno::ENOENT)
    {
        place(view, above, Inode::dir(0o755))?;
    }
    if path.trim_matches('/').is_empty() {
        return Ok(());
    }
    let (uid, gid, mode) = (inode.uid, inode.gid, inode.mode);
    match view.stat(path, false) {
        Ok(stat) if stat.kind == "dir" && inode.is_dir() => {}
        Ok(stat) if stat.kind == "symlink" && inode.is_dir() && view.list(path).is_ok() => return Ok(()),
        Ok(_) => {
            view.remove(path)?;
            view.create(path, inode)?;
        }
        Err(_) => view.create(path, inode)?,
    }
    if view.stat(path, false)?.kind != "symlink" {
        view.chown(path, uid, gid)?;
        view.chmod(path, mode)?;
    }
    Ok(())
}

/// Packs what is at a path, symbolic links as links; names begin with the last part of the path.
pub(crate) fn pack(mounts: &[Mount], path: &str) -> Result<Vec<u8>, Refusal> {
    let who = Credentials::engine();
    let view = View {
        mounts,
        who: &who,
        cwd: "/",
        umask: 0,
        now: 0,
    };
    let refused = |errno: Errno| format!("cannot read {path}: {errno}");
    let (place, ino) = view.existing(path, false).map_err(refused)?;
    let name = match place.path.rsplit('/').next() {
        Some("") | None => ".",
        Some(name) => name,
    };
    let mut archive = tar::Builder::new(Vec::new());
    {
        let tree = view.mount_of(&place).lock();
        append(&view, &tree, &place.path, ino, name, &mut archive)
            .map_err(|error| format!("cannot read {path}: {error}"))?;
    }
    archive.into_inner().map_err(|error| error.to_string())
}

fn append(
    view: &View<'_>,
    tree: &Tree,
    path: &str,
    ino: Ino,
    name: &str,
    archive: &mut tar::Builder<Vec<u8>>,
) -> std::io::Result<()> {
    let lost = |errno: Errno| std::io::Error::other(errno.to_string());
    let inode = tree.get(ino).map_err(lost)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(inode.mode);
    header.set_uid(inode.uid.into());
    header.set_gid(inode.gid.into());
    header.set_mtime(inode.mtime);
    header.set_size(0);
    match &inode.kind {
        Kind::File(content) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len());
            archive.append_data(&mut header, name, content.to_vec().as_slice())?;
        }
        Kind::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, name, target)?;
        }
        Kind::Fifo => {
            header.set_entry_type(tar::EntryType::Fifo);
            archive.append_data(&mut header, name, [].as_slice())?;
        }
        Kind::Char(major, minor) => {
            header.set_entry_type(tar::EntryType::Char);
            header.set_device_major(*major)?;
            header.set_device_minor(*minor)?;
            archive.append_data(&mut header, name, [].as_slice())?;
        }
        Kind::Dir(entries) => {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, format!("{name}/"), [].as_slice())?;
            for (child, ino) in entries {
                let below = format!("{}/{child}", path.trim_end_matches('/'));
                let inner = format!("{name}/{child}");
                match view.mounts.iter().skip(1).find(|mount| mount.target == below) {
                    Some(mount) => append(view, &mount.lock(), &below, mount.root, &inner, archive)?,
                    None => append(view, tree, &below, *ino, &inner, archive)?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{FsType, ROOT};
    use super::*;

    fn mounts() -> Vec<Mount> {
        let mut root = Tree::new(0o755);
        root.make_dirs("/etc").unwrap();
        let link = Inode::new(Kind::Symlink("../../../etc".into()), 0o777, 0, 0);
        root.add(ROOT, "escape", link).unwrap();
        vec![Mount {
            target: "/".into(),
            tree: root.shared(),
            root: ROOT,
            read_only: false,
            fs_type: FsType::Overlay,
        }]
    }

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o640);
            header.set_uid(7);
            // `append_data` refuses `..`; a hostile archive does not.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mounts = mounts();
        unpack(&mounts, "/escape", &archive(&[("a/b", "text")]), 0, false).unwrap();
        let packed = pack(&mounts, "/etc").unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            seen.push((
                entry.path().unwrap().display().to_string(),
                entry.header().uid().unwrap(),
                entry.header().mode().unwrap(),
            ));
        }
        assert_eq!(
            seen,
            [
                ("etc/".into(), 0, 0o755),
                ("etc/a/".into(), 0, 0o755),
                ("etc/a/b".into(), 7, 0o640)
            ]
        );
    }

    #[test]
    fn entries_that_lead_out_are_refused_before_anything_is_written() {
        let mounts = mounts();
        let hostile = archive(&[("good", "1"), ("../bad", "2")]);
        let refusal = unpack(&mounts, "/etc", &hostile, 0, false).unwrap_err();
        assert!(refusal.contains("../bad"), "{refusal}");
        assert!(pack(&mounts, "/etc/good").is_err());
        assert!(unpack(&mounts, "/nowhere", &hostile, 0, false).is_err());
        assert!(unpack(&mounts, "/etc", b"not a tar at all, but long enough?", 0, false).is_err());
    }
}
