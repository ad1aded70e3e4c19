//! The images of a world, and the registry that it can pull from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_types::{Env, Image, Labels};
use driver_validation::ImageReference;

use crate::driver::Prepared;
use crate::fs::{Inode, ROOT, Tree};
use crate::kernel::add_mount_points;
use crate::script::RegistryImage;

/// An image.
#[derive(Debug)]
pub(crate) struct ImageData {
    pub(crate) id: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Env,
    pub(crate) working_dir: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) created_at: u64,
    pub(crate) size_bytes: u64,
    /// Frozen.
    pub(crate) root: Tree,
    /// How the last container that began with an untouched root found its program.
    pub(crate) prepared: Mutex<Option<Arc<Prepared>>>,
}

/// The images that a world has.
#[derive(Debug, Default)]
pub(crate) struct Images {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_id: BTreeMap<String, Arc<ImageData>>,
    /// Ids by reference in Docker's full form, with the reference as it was written.
    references: BTreeMap<String, (String, String)>,
    /// The full form of each reference that an image was added under, as it was written: the usual spelling is not parsed
    /// for each container.
    spellings: BTreeMap<String, String>,
}

/// A reference in Docker's full form; text that is none stays as it is.
fn normalized(reference: &str) -> String {
    reference
        .parse::<ImageReference>()
        .map_or_else(|_| reference.to_owned(), |reference| reference.normalized())
}

/// The short form with its tag, as engines list it.
fn with_tag(reference: &str) -> String {
    match reference.parse::<ImageReference>() {
        Ok(parsed) if parsed.tag().is_none() && parsed.digest().is_none() => format!("{reference}:latest"),
        _ => reference.to_owned(),
    }
}

impl Images {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By reference or id.
    pub(crate) fn find(&self, reference: &str) -> Option<Arc<ImageData>> {
        let state = self.lock();
        let found = match state.spellings.get(reference) {
            Some(full) => state.references.get(full),
            None => state.references.get(&normalized(reference)),
        };
        match found {
            Some((id, _)) => state.by_id.get(id).cloned(),
            None if reference.starts_with("sha256:") => state.by_id.get(reference).cloned(),
            None => state.by_id.get(&format!("sha256:{reference}")).cloned(),
        }
    }

    /// Adds an image under a reference, which it takes from the image that had it; one that has none left goes, unless
    /// `used` says that a container is made of it.
    pub(crate) fn add(&self, reference: &str, image: Arc<ImageData>, used: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let id = image.id.clone();
        let full = normalized(reference);
        state.spellings.insert(reference.to_owned(), full.clone());
        let old = state.references.insert(full, (id.clone(), with_tag(reference)));
        state.by_id.insert(id.clone(), image);
        if let Some((old, _)) = old
            && old != id
            && !used(&old)
        {
            state.drop_unreferenced(&old);
        }
    }

    /// Removes a reference, or an image with all its references by its id. The references that are gone.
    pub(crate) fn remove(&self, reference: &str) -> Vec<String> {
        let mut state = self.lock();
        if let Some((id, written)) = state.references.remove(&normalized(reference)) {
            state.drop_unreferenced(&id);
            return vec![written];
        }
        let id = match reference.strip_prefix("sha256:") {
            Some(_) => reference.to_owned(),
            None => format!("sha256:{reference}"),
        };
        let gone = state.references_of(&id);
        state.references.retain(|_, (other, _)| *other != id);
        state.by_id.remove(&id);
        gone
    }

    pub(crate) fn info(&self, image: &ImageData) -> Image {
        Image {
            id: image.id.clone(),
            references: self.lock().references_of(&image.id),
            size_bytes: image.size_bytes,
            created_at: image.created_at,
            labels: image.labels.clone(),
        }
    }

    pub(crate) fn list(&self) -> Vec<Arc<ImageData>> {
        self.lock().by_id.values().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }
}

impl State {
    fn references_of(&self, id: &str) -> Vec<String> {
        let own = self.references.values().filter(|(other, _)| other == id);
        own.map(|(_, written)| written.clone()).collect()
    }

    fn drop_unreferenced(&mut self, id: &str) {
        if self.references.values().all(|(other, _)| other != id) {
            self.by_id.remove(id);
        }
    }
}

/// Programs that every image of the registry has.
const COMMON_PROGRAMS: [&str; 6] = ["cat", "echo", "env", "false", "sleep", "true"];

/// What a simulated program begins with.
pub(crate) const SCRIPTED: &[u8] = b"#!mock\n";

/// What a simulated workload program begins with: an ELF file.
pub(crate) const ELF: &[u8] = b"\x7fELF";

/// The content of an image of the registry: its programs, and the directories and users of a small distribution.
pub(crate) fn registry_root(image: &RegistryImage) -> Tree {
    let mut tree = Tree::new(0o755);
    for dir in ["/bin", "/tmp", "/root", "/var"] {
        let _ = tree.make_dirs(dir);
    }
    add_mount_points(&mut tree);
    if let Some(tmp) = tree
        .lookup(ROOT, "tmp")
        .ok()
        .and_then(|tmp| tree.get_mut(tmp).ok())
    {
        tmp.mode = 0o1777;
    }
    if let Ok(etc) = tree.lookup(ROOT, "etc") {
        let _ = tree.add(
            etc,
            "passwd",
            Inode::file("root:x:0:0:root:/root:/bin/sh\n", 0o644),
        );
        let _ = tree.add(etc, "group", Inode::file("root:x:0:\n", 0o644));
    }
    let Ok(bin) = tree.lookup(ROOT, "bin") else {
        return tree.freeze();
    };
    let own = image.programs.iter().map(String::as_str);
    for program in COMMON_PROGRAMS.into_iter().chain(own) {
        // A program may be given by its path.
        let (dir, name) = program.rsplit_once('/').unwrap_or(("", program));
        let dir = if dir.is_empty() {
            Ok(bin)
        } else {
            tree.make_dirs(dir)
        };
        if let Ok(dir) = dir {
            let _ = tree.add(dir, name, Inode::file(SCRIPTED, 0o755));
        }
    }
    tree.freeze()
}
