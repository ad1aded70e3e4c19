//! Paths through mounted trees, as a process with certain rights sees them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::MutexGuard;

use super::mount::{CAP_CHOWN, Credentials, Mount, Stat};
use super::walk::{Step, Walk, parts};
use super::{Content, Errno, Ino, Inode, Kind, Sys, Tree};

/// Where a path leads.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    mount: usize,
    dir: Ino,
    name: String,
    ino: Option<Ino>,
    /// Without symbolic links.
    pub(crate) path: String,
    is_mount: bool,
}

/// Mounts as somebody sees them. The first mount is the root.
pub(crate) struct View<'a> {
    pub(crate) mounts: &'a [Mount],
    pub(crate) who: &'a Credentials,
    pub(crate) cwd: &'a str,
    pub(crate) umask: u32,
    /// The time of changes, in seconds.
    pub(crate) now: u64,
}

const MAX_LINKS: u32 = 40;

impl View<'_> {
    /// Follows a path; the last part need not exist.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Sys<Place> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let must_be_dir = path.ends_with('/');
        let start = if path.starts_with('/') { "" } else { self.cwd };
        let mut left: VecDeque<Cow<'_, str>> = parts(start).chain(parts(path)).map(Cow::Borrowed).collect();
        let root = self.mounts.first().ok_or(Errno::ENOENT)?;
        let mut walk = Walk::new(root.root);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            let Step { mount, ino: dir, .. } = walk.here();
            {
                let tree = self.mounts[mount].lock();
                let inode = tree.get(dir)?;
                if !inode.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                if !self.who.may(inode, 1) {
                    return Err(Errno::EACCES);
                }
            }
            if name == ".." {
                walk.up();
                continue;
            }
            let parent = walk.path.len();
            walk.path.push('/');
            walk.path.push_str(&name);
            if let Some(index) = self.mounts.iter().rposition(|mount| mount.target == walk.path) {
                walk.down(index, self.mounts[index].root, parent);
                continue;
            }
            let tree = self.mounts[mount].lock();
            let ino = match tree.lookup(dir, &name) {
                Ok(ino) => ino,
                Err(Errno::ENOENT) if left.is_empty() => {
                    return Ok(Place {
                        mount,
                        dir,
                        name: name.into_owned(),
                        ino: None,
                        path: walk.path,
                        is_mount: false,
                    });
                }
                Err(errno) => return Err(errno),
            };
            match &tree.get(ino)?.kind {
                Kind::Symlink(target) if follow || !left.is_empty() || must_be_dir => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    for part in parts(target).rev() {
                        left.push_front(Cow::Owned(part.to_owned()));
                    }
                    walk.path.truncate(parent);
                    if target.starts_with('/') {
                        walk.restart();
                    }
                }
                _ => walk.down(mount, ino, parent),
            }
        }
        Ok(self.place_of(walk))
    }

    fn place_of(&self, walk: Walk) -> Place {
        let here = walk.here();
        let (mount, ino) = (here.mount, here.ino);
        let Some(above) = walk.above() else {
            return Place {
                mount,
                dir: ino,
                name: String::new(),
                ino: Some(ino),
                path: "/".to_owned(),
                is_mount: true,
            };
        };
        let is_mount = above.mount != mount || self.mounts.iter().any(|mount| mount.target == walk.path);
        Place {
            mount,
            dir: above.ino,
            name: walk.path[here.parent + 1..].to_owned(),
            ino: Some(ino),
            is_mount,
            path: walk.path,
        }
    }

    /// Follows a path that must lead somewhere.
    pub(crate) fn existing(&self, path: &str, follow: bool) -> Sys<(Place, Ino)> {
        let place = self.find(path, follow)?;
        let ino = place.ino.ok_or(Errno::ENOENT)?;
        Ok((place, ino))
    }

    pub(crate) fn mount_of(&self, place: &Place) -> &Mount {
        &self.mounts[place.mount]
    }

    pub(crate) fn stat(&self, path: &str, follow: bool) -> Sys<Stat> {
        let (place, ino) = self.existing(path, follow)?;
        let tree = self.mount_of(&place).lock();
        Ok(stat_of(tree.get(ino)?))
    }

    pub(crate) fn read(&self, path: &str) -> Sys<Content> {
        let (place, ino) = self.existing(path, true)?;
        let tree = self.mount_of(&place).lock();
        let inode = tree.get(ino)?;
        if !self.who.may(inode, 4) {
            return Err(Errno::EACCES);
        }
        match &inode.kind {
            Kind::File(content) => Ok(content.clone()),
            Kind::Dir(_) => Err(Errno::EISDIR),
            _ => Ok(Content::default()),
        }
    }

    /// The content of a file that the caller may execute, with its stat.
    pub(crate) fn program(&self, path: &str) -> Sys<(Content, Stat)> {
        let (place, ino) = self.existing(path, true)?;
        let tree = self.mount_of(&place).lock();
        let inode = tree.get(ino)?;
        let stat = stat_of(inode);
        match &inode.kind {
            Kind::File(content) if self.who.may(inode, 1) && inode.mode & 0o111 != 0 => {
                Ok((content.clone(), stat))
            }
            _ => Err(Errno::EACCES),
        }
    }

    pub(crate) fn list(&self, path: &str) -> Sys<Vec<String>> {
        let (place, ino) = self.existing(path, true)?;
        let tree = self.mount_of(&place).lock();
        if !self.who.may(tree.get(ino)?, 4) {
            return Err(Errno::EACCES);
        }
        Ok(tree.names(ino)?.into_iter().map(|(name, _)| name).collect())
    }

    pub(crate) fn read_link(&self, path: &str) -> Sys<String> {
        let (place, ino) = self.existing(path, false)?;
        match &self.mount_of(&place).lock().get(ino)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Opens for writing: makes the file where there is none. Gives its mount and inode.
    pub(crate) fn open_write(&self, path: &str, truncate: bool) -> Sys<(usize, Ino)> {
        let place = self.find(path, true)?;
        let mount = self.mount_of(&place);
        match place.ino {
            Some(ino) => {
                let mut tree = mount.lock();
                let inode = tree.get(ino)?;
                if inode.is_dir() {
                    return Err(Errno::EISDIR);
                }
                if !self.who.may(inode, 2) {
                    return Err(Errno::EACCES);
                }
                // A device takes what is written to it, wherever it is mounted.
                let device = matches!(inode.kind, Kind::Char(..) | Kind::Fifo);
                if mount.read_only && !device {
                    return Err(Errno::EROFS);
                }
                if truncate && !device {
                    tree.set_content(ino, Content::default())?;
                }
                Ok((place.mount, ino))
            }
            None => {
                let inode = Inode::file("", 0o666 & !self.umask);
                let ino = self.make(&place, inode)?;
                Ok((place.mount, ino))
            }
        }
    }

    /// Appends to a file that [`open_write`](Self::open_write) gave.
    pub(crate) fn append(&self, (mount, ino): (usize, Ino), content: Content) -> Sys<()> {
        let mut tree = self.mounts[mount].lock();
        if matches!(tree.get(ino)?.kind, Kind::Char(..) | Kind::Fifo) {
            return Ok(());
        }
        tree.append(ino, content)?;
        tree.get_mut(ino)?.mtime = self.now;
        Ok(())
    }

    /// Makes an object under a name that must be free.
    pub(crate) fn create(&self, path: &str, inode: Inode) -> Sys<()> {
        let place = self.find(path.trim_end_matches('/'), false)?;
        if place.ino.is_some() {
            return Err(Errno::EEXIST);
        }
        self.make(&place, inode).map(drop)
    }

    fn make(&self, place: &Place, mut inode: Inode) -> Sys<Ino> {
        let mut tree = self.writable_dir(place)?;
        inode.uid = self.who.uid;
        inode.gid = self.who.gid;
        inode.mtime = self.now;
        tree.add(place.dir, &place.name, inode)
    }

    /// The tree of a place whose directory may be changed.
    fn writable_dir(&self, place: &Place) -> Sys<MutexGuard<'_, Tree>> {
        let mount = self.mount_of(place);
        let tree = mount.lock();
        if mount.read_only {
            return Err(Errno::EROFS);
        }
        if !self.who.may(tree.get(place.dir)?, 3) {
            return Err(Errno::EACCES);
        }
        Ok(tree)
    }

    pub(crate) fn remove(&self, path: &str) -> Sys<()> {
        let (place, ino) = self.existing(path, false)?;
        if place.is_mount {
            return Err(Errno::EBUSY);
        }
        let mut tree = self.writable_dir(&place)?;
        self.check_sticky(&tree, place.dir, ino)?;
        tree.unlink(place.dir, &place.name)
    }

    fn check_sticky(&self, tree: &Tree, dir: Ino, ino: Ino) -> Sys<()> {
        let dir = tree.get(dir)?;
        if dir.mode & 0o1000 != 0 && !self.who.owns(dir) && !self.who.owns(tree.get(ino)?) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> Sys<()> {
        let (from, ino) = self.existing(old, false)?;
        let to = self.find(new, false)?;
        if from.is_mount || to.is_mount {
            return Err(Errno::EBUSY);
        }
        if from.mount != to.mount {
            return Err(Errno::EXDEV);
        }
        if to.path.starts_with(&format!("{}/", from.path)) {
            return Err(Errno::EINVAL);
        }
        if to.ino == Some(ino) {
            return Ok(());
        }
        drop(self.writable_dir(&from)?);
        let mut tree = self.writable_dir(&to)?;
        self.check_sticky(&tree, from.dir, ino)?;
        if let Some(target) = to.ino {
            match (tree.get(ino)?.is_dir(), tree.get(target)?.is_dir()) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => tree.unlink(to.dir, &to.name)?,
            }
        }
        tree.link(to.dir, &to.name, ino)?;
        tree.take_name(from.dir, &from.name, ino)
    }

    pub(crate) fn link(&self, old: &str, new: &str) -> Sys<()> {
        let (from, ino) = self.existing(old, false)?;
        let to = self.find(new, false)?;
        if to.ino.is_some() {
            return Err(Errno::EEXIST);
        }
        if from.mount != to.mount {
            return Err(Errno::EXDEV);
        }
        let mut tree = self.writable_dir(&to)?;
        if tree.get(ino)?.is_dir() {
            return Err(Errno::EPERM);
        }
        tree.link(to.dir, &to.name, ino)
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) -> Sys<()> {
        self.change(path, |who, inode| {
            if !who.owns(inode) {
                return Err(Errno::EPERM);
            }
            inode.mode = mode & 0o7777;
            Ok(())
        })
    }

    pub(crate) fn chown(&self, path: &str, uid: u32, gid: u32) -> Sys<()> {
        self.change(path, |who, inode| {
            let to_own_group =
                inode.uid == uid && inode.uid == who.uid && (who.gid == gid || who.groups.contains(&gid));
            if !who.has(CAP_CHOWN) && !to_own_group {
                return Err(Errno::EPERM);
            }
            inode.uid = uid;
            inode.gid = gid;
            Ok(())
        })
    }

    fn change(&self, path: &str, change: impl Fn(&Credentials, &mut Inode) -> Sys<()>) -> Sys<()> {
        let (place, ino) = self.existing(path, true)?;
        let mount = self.mount_of(&place);
        let mut tree = mount.lock();
        change(self.who, &mut tree.get(ino)?.clone())?;
        if mount.read_only {
            return Err(Errno::EROFS);
        }
        change(self.who, tree.get_mut(ino)?)
    }
}

fn stat_of(inode: &Inode) -> Stat {
    let (kind, size) = match &inode.kind {
        Kind::Dir(_) => ("dir", 0),
        Kind::File(content) => ("file", content.len()),
        Kind::Symlink(target) => ("symlink", target.len() as u64),
        Kind::Fifo => ("fifo", 0),
        Kind::Char(..) => ("char", 0),
    };
    Stat {
        kind,
        mode: if kind == "symlink" { 0o777 } else { inode.mode },
        uid: inode.uid,
        gid: inode.gid,
        size,
    }
}

#[cfg(test)]
mod tests {
    use super::super::FsType;
    use super::*;

    fn mounts() -> Vec<Mount> {
        let mut root = Tree::new(0o755);
        root.make_dirs("/etc").unwrap();
        root.make_dirs("/data").unwrap();
        let file = |text: &'static str, mode| Inode::file(text, mode);
        let etc = root.lookup(super::super::ROOT, "etc").unwrap();
        root.add(etc, "marker", file("inside", 0o644)).unwrap();
        root.add(etc, "secret", file("secret", 0o600)).unwrap();
        let symlink = |target: &str| Inode::new(Kind::Symlink(target.into()), 0o777, 0, 0);
        root.add(super::super::ROOT, "escape", symlink("../../../../etc"))
            .unwrap();
        root.add(super::super::ROOT, "loop", symlink("/loop")).unwrap();
        let mount = |target, tree: Tree, read_only, fs_type| Mount {
            target,
            tree: tree.shared(),
            root: super::super::ROOT,
            read_only,
            fs_type,
        };
        vec![
            mount("/".into(), root, true, FsType::Overlay),
            mount("/data".into(), Tree::new(0o1777), false, FsType::Tmpfs),
        ]
    }

    fn user() -> Credentials {
        Credentials {
            uid: 1000,
            gid: 1000,
            ..Credentials::default()
        }
    }

    macro_rules! view {
        ($mounts:expr, $who:expr) => {
            View {
                mounts: &$mounts,
                who: &$who,
                cwd: "/",
                umask: 0o022,
                now: 0,
            }
        };
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (mounts, who) = (mounts(), user());
        let view = view!(mounts, who);
        assert_eq!(view.read("/escape/marker").unwrap().to_vec(), b"inside");
        assert_eq!(view.read("/../../etc/marker").unwrap().to_vec(), b"inside");
        assert_eq!(view.read("/loop").unwrap_err(), Errno::ELOOP);
        assert_eq!(view.read("/etc/secret").unwrap_err(), Errno::EACCES);
        assert_eq!(view.read("/etc/marker/x").unwrap_err(), Errno::ENOTDIR);
    }

    #[test]
    fn a_read_only_root_has_writable_mounts() {
        let (mounts, who) = (mounts(), user());
        let view = view!(mounts, who);
        let engine = Credentials::engine();
        assert_eq!(view!(mounts, engine).open_write("/x", true), Err(Errno::EROFS));
        let file = view.open_write("/data/x", true).unwrap();
        view.append(file, Content::from("hello")).unwrap();
        assert_eq!(view.read("/data/../data/x").unwrap().to_vec(), b"hello");
        assert_eq!(view.rename("/data/x", "/x"), Err(Errno::EXDEV));
        view.rename("/data/x", "/data/y").unwrap();
        assert_eq!(view.list("/data").unwrap(), ["y"]);
        assert_eq!(view.stat("/data/y", true).unwrap().uid, 1000);
        assert_eq!(view.remove("/data"), Err(Errno::EBUSY));
        view.remove("/data/y").unwrap();
        assert!(view.list("/data").unwrap().is_empty());
    }

    #[test]
    fn owners_and_modes_count() {
        let (mounts, who) = (mounts(), user());
        let view = view!(mounts, who);
        view.create("/data/mine", Inode::dir(0o700)).unwrap();
        let other = Credentials {
            uid: 2000,
            gid: 2000,
            ..user()
        };
        assert_eq!(
            view!(mounts, other).list("/data/mine").unwrap_err(),
            Errno::EACCES
        );
        assert_eq!(
            view!(mounts, other).remove("/data/mine"),
            Err(Errno::EPERM),
            "sticky"
        );
        assert_eq!(view!(mounts, other).chmod("/data/mine", 0o777), Err(Errno::EPERM));
        assert_eq!(view.chown("/data/mine", 0, 0), Err(Errno::EPERM));
        view.chmod("/data/mine", 0o755).unwrap();
        assert!(view!(mounts, other).list("/data/mine").unwrap().is_empty());
    }
}
