//! One file system: inodes over a shared, unchanging base, as an image layer and the writable layer above it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Content, Errno, Sys};

/// The number of an inode.
pub(crate) type Ino = u64;

/// The root directory of every tree.
pub(crate) const ROOT: Ino = 1;

/// A tree that several mounts or containers may share.
pub(crate) type SharedTree = Arc<Mutex<Tree>>;

/// What an inode is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Dir(BTreeMap<String, Ino>),
    File(Content),
    Symlink(String),
    Fifo,
    Char(u32, u32),
}

/// A file, directory or other object.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// In seconds.
    pub(crate) mtime: u64,
    /// Names that refer to it.
    links: u32,
}

impl Inode {
    pub(crate) fn new(kind: Kind, mode: u32, uid: u32, gid: u32) -> Self {
        Self {
            kind,
            mode,
            uid,
            gid,
            mtime: 0,
            links: 0,
        }
    }

    pub(crate) fn dir(mode: u32) -> Self {
        Self::new(Kind::Dir(BTreeMap::new()), mode, 0, 0)
    }

    pub(crate) fn file(content: impl Into<Content>, mode: u32) -> Self {
        Self::new(Kind::File(content.into()), mode, 0, 0)
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.len(),
            _ => 0,
        }
    }
}

/// A file system.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    base: Arc<BTreeMap<Ino, Inode>>,
    upper: BTreeMap<Ino, Inode>,
    next: Ino,
    used: u64,
    limit: Option<u64>,
}

impl Tree {
    /// Empty, with a root of this mode.
    pub(crate) fn new(mode: u32) -> Self {
        Self {
            base: Arc::default(),
            upper: BTreeMap::from([(ROOT, Inode::dir(mode))]),
            next: ROOT + 1,
            used: 0,
            limit: None,
        }
    }

    /// A writable layer over the same base. Cheap if `self` has been [frozen](Self::freeze).
    pub(crate) fn layer(&self, limit: Option<u64>) -> Self {
        Self {
            used: 0,
            limit,
            ..self.clone()
        }
    }

    /// Makes everything so far the base of later layers.
    pub(crate) fn freeze(mut self) -> Self {
        let mut base = Arc::unwrap_or_clone(self.base);
        base.append(&mut self.upper);
        base.retain(|ino, inode| *ino == ROOT || inode.links > 0);
        Self {
            base: Arc::new(base),
            used: 0,
            ..self
        }
    }

    pub(crate) fn shared(self) -> SharedTree {
        Arc::new(Mutex::new(self))
    }

    pub(crate) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Bytes of files written to this layer.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Bytes of all files.
    pub(crate) fn total_size(&self) -> u64 {
        let below = self.base.iter().filter(|(ino, _)| !self.upper.contains_key(ino));
        below
            .chain(&self.upper)
            .filter(|(_, inode)| inode.links > 0)
            .map(|(_, inode)| inode.size())
            .sum()
    }

    pub(crate) fn get(&self, ino: Ino) -> Sys<&Inode> {
        self.upper
            .get(&ino)
            .or_else(|| self.base.get(&ino))
            .ok_or(Errno::ENOENT)
    }

    /// For a change of everything but the size: copies it up first.
    pub(crate) fn get_mut(&mut self, ino: Ino) -> Sys<&mut Inode> {
        if !self.upper.contains_key(&ino) {
            let inode = self.base.get(&ino).ok_or(Errno::ENOENT)?.clone();
            self.charge(inode.size())?;
            self.upper.insert(ino, inode);
        }
        self.upper.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn lookup(&self, dir: Ino, name: &str) -> Sys<Ino> {
        match &self.get(dir)?.kind {
            Kind::Dir(entries) => entries.get(name).copied().ok_or(Errno::ENOENT),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn names(&self, dir: Ino) -> Sys<Vec<(String, Ino)>> {
        match &self.get(dir)?.kind {
            Kind::Dir(entries) => Ok(entries.iter().map(|(name, ino)| (name.clone(), *ino)).collect()),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Adds a new inode under a name that is free.
    pub(crate) fn add(&mut self, dir: Ino, name: &str, inode: Inode) -> Sys<Ino> {
        self.charge(inode.size())?;
        let ino = self.next;
        let size = inode.size();
        self.upper.insert(ino, inode);
        match self.link(dir, name, ino) {
            Ok(()) => {
                self.next += 1;
                Ok(ino)
            }
            Err(errno) => {
                self.upper.remove(&ino);
                self.used -= size;
                Err(errno)
            }
        }
    }

    /// Gives an inode a further name.
    pub(crate) fn link(&mut self, dir: Ino, name: &str, ino: Ino) -> Sys<()> {
        match &mut self.get_mut(dir)?.kind {
            Kind::Dir(entries) if entries.contains_key(name) => return Err(Errno::EEXIST),
            Kind::Dir(entries) => entries.insert(name.to_owned(), ino),
            _ => return Err(Errno::ENOTDIR),
        };
        self.get_mut(ino)?.links += 1;
        Ok(())
    }

    /// Takes a name away; the inode goes with its last name. A directory must be empty.
    pub(crate) fn unlink(&mut self, dir: Ino, name: &str) -> Sys<()> {
        let ino = self.lookup(dir, name)?;
        if matches!(&self.get(ino)?.kind, Kind::Dir(entries) if !entries.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        if let Kind::Dir(entries) = &mut self.get_mut(dir)?.kind {
            entries.remove(name);
        }
        // A file that is only in the base need not be copied up to die.
        match self.upper.get_mut(&ino) {
            Some(inode) => {
                inode.links -= 1;
                if inode.links == 0 {
                    self.used -= inode.size();
                    self.upper.remove(&ino);
                    if self.base.contains_key(&ino) {
                        let mut gone = Inode::dir(0);
                        gone.links = 0;
                        self.upper.insert(ino, gone);
                    }
                }
            }
            None => {
                let mut gone = self.get(ino)?.clone();
                gone.links -= 1;
                if gone.links == 0 {
                    gone = Inode::dir(0);
                    self.upper.insert(ino, gone);
                } else {
                    self.used += gone.size();
                    self.upper.insert(ino, gone);
                }
            }
        }
        Ok(())
    }

    /// Takes one of several names away, for a rename: the inode stays.
    pub(crate) fn take_name(&mut self, dir: Ino, name: &str, ino: Ino) -> Sys<()> {
        if let Kind::Dir(entries) = &mut self.get_mut(dir)?.kind {
            entries.remove(name);
        }
        self.get_mut(ino)?.links -= 1;
        Ok(())
    }

    /// Replaces the content of a file.
    pub(crate) fn set_content(&mut self, ino: Ino, content: Content) -> Sys<()> {
        let old = self.upper.get(&ino).map_or(0, Inode::size);
        self.recharge(old, content.len())?;
        if !self.upper.contains_key(&ino) {
            let inode = self.base.get(&ino).ok_or(Errno::ENOENT)?.clone();
            self.upper.insert(ino, inode);
        }
        match self.upper.get_mut(&ino) {
            Some(Inode {
                kind: Kind::File(target),
                ..
            }) => {
                *target = content;
                Ok(())
            }
            _ => Err(Errno::EISDIR),
        }
    }

    /// Appends to a file.
    pub(crate) fn append(&mut self, ino: Ino, more: Content) -> Sys<()> {
        self.get_mut(ino)?;
        self.charge(more.len())?;
        match self.upper.get_mut(&ino).map(|inode| &mut inode.kind) {
            Some(Kind::File(content)) => {
                content.join(more);
                Ok(())
            }
            _ => Err(Errno::EISDIR),
        }
    }

    fn charge(&mut self, bytes: u64) -> Sys<()> {
        self.recharge(0, bytes)
    }

    fn recharge(&mut self, old: u64, new: u64) -> Sys<()> {
        let used = self.used - old + new;
        if new > old && self.limit.is_some_and(|limit| used > limit) {
            return Err(Errno::ENOSPC);
        }
        self.used = used;
        Ok(())
    }

    /// Makes the directories of a normalised absolute path, owned by root; for images and mount points.
    pub(crate) fn make_dirs(&mut self, path: &str) -> Sys<Ino> {
        let mut dir = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            dir = match self.lookup(dir, name) {
                Ok(ino) => ino,
                Err(Errno::ENOENT) => self.add(dir, name, Inode::dir(0o755))?,
                Err(errno) => return Err(errno),
            };
        }
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(tree: &Tree, ino: Ino) -> Vec<u8> {
        match &tree.get(ino).unwrap().kind {
            Kind::File(content) => content.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn layers_do_not_change_their_base() {
        let mut image = Tree::new(0o755);
        let file = image.add(ROOT, "a", Inode::file("base", 0o644)).unwrap();
        let image = image.freeze();
        let mut layer = image.layer(None);
        layer.append(file, Content::from("+more")).unwrap();
        assert_eq!(content(&layer, file), b"base+more");
        assert_eq!(content(&image, file), b"base");
        assert_eq!(
            layer.used(),
            9,
            "a file of the base is copied up before it is changed"
        );
        layer.unlink(ROOT, "a").unwrap();
        assert_eq!(layer.used(), 0);
        assert_eq!(layer.lookup(ROOT, "a"), Err(Errno::ENOENT));
        assert_eq!(image.lookup(ROOT, "a"), Ok(file));
        assert_eq!(layer.freeze().total_size(), 0);
    }

    #[test]
    fn the_limit_counts_what_is_there() {
        let mut tree = Tree::new(0o755).layer(Some(10));
        let file = tree.add(ROOT, "a", Inode::file("12345678", 0o644)).unwrap();
        assert_eq!(tree.append(file, Content::from("123")), Err(Errno::ENOSPC));
        assert_eq!(tree.add(ROOT, "b", Inode::file("123", 0o644)), Err(Errno::ENOSPC));
        tree.set_content(file, Content::from("1")).unwrap();
        tree.add(ROOT, "b", Inode::file("123", 0o644)).unwrap();
        assert_eq!(tree.used(), 4);
        assert_eq!(tree.names(ROOT).unwrap().len(), 2);
    }

    #[test]
    fn hard_links_share_one_content() {
        let mut tree = Tree::new(0o755);
        let file = tree.add(ROOT, "a", Inode::file("1", 0o644)).unwrap();
        tree.link(ROOT, "b", file).unwrap();
        tree.append(file, Content::from("2")).unwrap();
        tree.unlink(ROOT, "a").unwrap();
        assert_eq!(content(&tree, tree.lookup(ROOT, "b").unwrap()), b"12");
        assert_eq!(tree.used(), 2);
    }

    #[test]
    fn only_empty_directories_go() {
        let mut tree = Tree::new(0o755);
        tree.make_dirs("/a/b").unwrap();
        assert_eq!(tree.unlink(ROOT, "a"), Err(Errno::ENOTEMPTY));
        let a = tree.lookup(ROOT, "a").unwrap();
        tree.unlink(a, "b").unwrap();
        tree.unlink(ROOT, "a").unwrap();
        assert!(tree.names(ROOT).unwrap().is_empty());
    }
}
