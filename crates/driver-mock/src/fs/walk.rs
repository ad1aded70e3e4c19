//! The way of a path through directories.

use super::Ino;

/// The parts of a path that lead somewhere.
pub(super) fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// The directories on the way from the root.
pub(super) struct Walk {
    steps: Vec<Step>,
    /// Without symbolic links; empty at the root.
    pub(super) path: String,
}

#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) mount: usize,
    pub(super) ino: Ino,
    /// The length of the path of the directory that it is in.
    pub(super) parent: usize,
}

impl Walk {
    pub(super) fn new(root: Ino) -> Self {
        let mut steps = Vec::with_capacity(8);
        steps.push(Step {
            mount: 0,
            ino: root,
            parent: 0,
        });
        Self {
            steps,
            path: String::with_capacity(64),
        }
    }

    pub(super) fn here(&self) -> Step {
        self.steps[self.steps.len() - 1]
    }

    pub(super) fn above(&self) -> Option<Step> {
        self.steps.len().checked_sub(2).map(|index| self.steps[index])
    }

    /// Goes where the path leads already.
    pub(super) fn down(&mut self, mount: usize, ino: Ino, parent: usize) {
        self.steps.push(Step { mount, ino, parent });
    }

    /// The root is its own parent.
    pub(super) fn up(&mut self) {
        if self.steps.len() > 1 {
            self.path.truncate(self.here().parent);
            self.steps.pop();
        }
    }

    pub(super) fn restart(&mut self) {
        self.steps.truncate(1);
        self.path.clear();
    }
}
