//! Names and request ids of containers: symlinks `names/OWNER/{n,r}-KEY` -> id, made with `O_EXCL` semantics, so that of two
//! racing creates, in whichever processes, exactly one wins.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::layout::Layout;
use crate::lock::FileLock;

/// What a claim of a key came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the caller's.
    Won,
    /// A container has it.
    Taken(String),
    /// A container that is being made has it.
    Pending(String),
}

/// The keys of an owner's containers.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    layout: Layout,
    directory: PathBuf,
}

impl Names {
    pub(crate) fn new(layout: &Layout, owner: &str) -> Self {
        Self {
            layout: layout.clone(),
            directory: layout.root().join("names").join(owner),
        }
    }

    fn path(&self, kind: char, key: &str) -> PathBuf {
        self.directory.join(format!("{kind}-{key}"))
    }

    /// Claims a name for a container that is being made: its unfinished directory exists and its lock is held.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) fn claim_name(&self, name: &str, id: &str) -> io::Result<Claim> {
        self.claim(&self.path('n', name), id)
    }

    /// Likewise for a request id.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) fn claim_request(&self, request_id: &str, id: &str) -> io::Result<Claim> {
        self.claim(&self.path('r', &hex(request_id)), id)
    }

    /// Lets the keys of a container go, if they are its own.
    pub(crate) fn release(&self, name: Option<&str>, request_id: Option<&str>, id: &str) {
        let name = name.map(|name| self.path('n', name));
        let request = request_id.map(|request_id| self.path('r', &hex(request_id)));
        for path in name.into_iter().chain(request) {
            if fs::read_link(&path).is_ok_and(|target| target.as_os_str() == id) {
                // Somebody else may have swept it meanwhile.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn claim(&self, path: &PathBuf, id: &str) -> io::Result<Claim> {
        loop {
            match symlink(id, path) {
                Ok(()) => return Ok(Claim::Won),
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(&self.directory)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let holder = match fs::read_link(path) {
                        Ok(holder) => holder.to_string_lossy().into_owned(),
                        // Let go between the two calls.
                        Err(error) if error.kind() == ErrorKind::NotFound => continue,
                        Err(error) => return Err(error),
                    };
                    match self.holder(&holder)? {
                        Some(claim) => return Ok(claim),
                        // Its container is gone, or its maker died. Only this very link may go.
                        None => self.sweep(path, &holder)?,
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn holder(&self, id: &str) -> io::Result<Option<Claim>> {
        let is_finished = || self.layout.container(id).path().exists();
        if is_finished() {
            return Ok(Some(Claim::Taken(id.to_owned())));
        }
        match FileLock::try_acquire(&self.layout.unfinished(id).lock()) {
            Ok(None) => Ok(Some(Claim::Pending(id.to_owned()))),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            // Gone, or finished just now: perhaps after the file of its lock was opened.
            _ => Ok(is_finished().then(|| Claim::Taken(id.to_owned()))),
        }
    }

    /// Removes a link of a container that is not. Two sweepers must not remove the link that a third made in between, so
    /// the sweep goes through a name of its own.
    fn sweep(&self, path: &PathBuf, holder: &str) -> io::Result<()> {
        let aside = self.directory.join(format!("s-{}", crate::id::random()?));
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let moved = fs::read_link(&aside)?;
        if moved.as_os_str() != holder {
            // Another one's, made in between: put it back unless it has been claimed again.
            let _ = fs::hard_link(&aside, path);
        }
        fs::remove_file(aside)
    }
}

/// Any text as a file name.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Also one who has opened the lock of a container that is being made, and gets it when that is finished.
    #[test]
    fn of_many_who_claim_a_key_at_once_one_has_it() {
        const ROUNDS: usize = 200;
        const MAKERS: usize = 4;
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let names = Names::new(&layout, "owner");
        for round in 0..ROUNDS {
            let (begin, won) = (Barrier::new(MAKERS), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for maker in 0..MAKERS {
                    let (layout, names, begin, won) = (&layout, &names, &begin, &won);
                    scope.spawn(move || {
                        let id = format!("{:064x}", round * MAKERS + maker);
                        fs::create_dir_all(layout.unfinished(&id).path()).unwrap();
                        let lock = FileLock::try_acquire(&layout.unfinished(&id).lock()).unwrap();
                        begin.wait();
                        if names.claim_name(&format!("web-{round}"), &id).unwrap() == Claim::Won {
                            won.fetch_add(1, Ordering::Relaxed);
                            fs::rename(layout.unfinished(&id).path(), layout.container(&id).path()).unwrap();
                        }
                        drop(lock);
                    });
                }
            });
            assert_eq!(won.into_inner(), 1, "round {round}");
        }
    }

    #[test]
    fn a_key_is_claimed_once_and_freed_by_its_holder_or_a_crash() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let names = Names::new(&layout, "owner");
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        fs::create_dir_all(layout.unfinished(&a).path()).unwrap();
        let lock = FileLock::try_acquire(&layout.unfinished(&a).lock()).unwrap();
        assert_eq!(names.claim_name("web", &a).unwrap(), Claim::Won);
        assert_eq!(names.claim_name("web", &b).unwrap(), Claim::Pending(a.clone()));
        fs::rename(layout.unfinished(&a).path(), layout.container(&a).path()).unwrap();
        assert_eq!(names.claim_name("web", &b).unwrap(), Claim::Taken(a.clone()));
        names.release(Some("web"), None, &b);
        assert_eq!(names.claim_name("web", &b).unwrap(), Claim::Taken(a.clone()));
        names.release(Some("web"), None, &a);
        assert_eq!(names.claim_name("web", &b).unwrap(), Claim::Won);
        // The maker of b died before it had a directory.
        drop(lock);
        assert_eq!(names.claim_name("web", &a).unwrap(), Claim::Won);
        assert_eq!(names.claim_request("any/text", &a).unwrap(), Claim::Won);
    }
}
