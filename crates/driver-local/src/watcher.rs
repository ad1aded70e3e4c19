//! Watches journals and the directory of containers, so that waiters and listeners hear of what other processes (shims,
//! other drivers) write.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::containers::{Containers, Wanted};
use crate::layout::Layout;

/// A running watcher; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watcher {
    /// Begins to watch. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The kernel gives no inotify instance (`fs.inotify.max_user_instances`).
    pub(crate) fn begin(
        containers: &Arc<Containers>,
        layout: Layout,
        wanted: UnboundedReceiver<Wanted>,
    ) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_ONLYDIR;
        let directory = inotify.add_watch(&layout.containers(), flags)?;
        let watch = Watch {
            containers: Arc::downgrade(containers),
            layout,
            inotify: AsyncFd::register(inotify)?,
            directory,
            journals: HashMap::new(),
            logs: HashMap::new(),
        };
        Ok(Self(tokio::spawn(watch.run(wanted))))
    }
}

struct Watch {
    containers: Weak<Containers>,
    layout: Layout,
    inotify: AsyncFd<Inotify>,
    directory: WatchDescriptor,
    /// The ids of containers by the watches of their journals and logs.
    journals: HashMap<WatchDescriptor, String>,
    logs: HashMap<WatchDescriptor, String>,
}

impl Watch {
    async fn run(mut self, mut wanted: UnboundedReceiver<Wanted>) {
        loop {
            tokio::select! {
                file = wanted.recv() => match file {
                    Some(Wanted::Journal(id)) => self.add_journal(id),
                    Some(Wanted::Log(id)) => self.add_log(id),
                    None => return,
                },
                ready = self.inotify.readable() => {
                    let Ok(mut ready) = ready else { return };
                    ready.clear_ready();
                    drop(ready);
                    self.hear();
                }
            }
        }
    }

    fn add_journal(&mut self, id: String) {
        let journal = self.layout.container(&id).journal();
        let flags = AddWatchFlags::IN_MODIFY;
        if let Ok(descriptor) = self.inotify.get_ref().add_watch(&journal, flags) {
            self.journals.insert(descriptor, id.clone());
        }
        // What was written before the watch was there.
        self.look(&id);
    }

    fn add_log(&mut self, id: String) {
        let log = self.layout.container(&id).log();
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR;
        if let Ok(descriptor) = self.inotify.get_ref().add_watch(&log, flags) {
            self.logs.insert(descriptor, id.clone());
        }
        self.grew(&id);
    }

    fn grew(&self, id: &str) {
        if let Some(containers) = self.containers.upgrade() {
            containers.log_grew(id);
        }
    }

    fn hear(&mut self) {
        // Until the queue is empty: readiness is told once.
        while let Ok(events) = self.inotify.get_ref().read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    if let Some(containers) = self.containers.upgrade() {
                        containers.look_at_all();
                    }
                } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.journals.remove(&event.wd);
                    self.logs.remove(&event.wd);
                } else if event.wd == self.directory {
                    if let Some(id) = event.name.and_then(|name| name.into_string().ok()) {
                        self.look(&id);
                    }
                } else if let Some(id) = self.logs.get(&event.wd) {
                    self.grew(id);
                } else if let Some(id) = self.journals.get(&event.wd).cloned() {
                    self.look(&id);
                }
            }
        }
    }

    fn look(&self, id: &str) {
        if let Some(containers) = self.containers.upgrade() {
            // What cannot be read now is read, and told, by whoever asks for it.
            let _ = containers.look(id);
        }
    }
}
