//! A vector with holes that are used again.

#[derive(Debug)]
pub(super) struct Slots<E> {
    entries: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Default for Slots<E> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<E> Slots<E> {
    /// The slot that the next `insert` takes.
    pub(super) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.entries.len())
    }

    pub(super) fn insert(&mut self, entry: E) {
        match self.free.pop() {
            Some(slot) => self.entries[slot] = Some(entry),
            None => self.entries.push(Some(entry)),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&E> {
        self.entries.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut E> {
        self.entries.get_mut(slot)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<E> {
        let entry = self.entries.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(entry)
    }
}
