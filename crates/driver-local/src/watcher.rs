//! Watches journals and the directory of containers, so that waiters and listeners hear of what other processes (shims,
//! other drivers) write.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::containers::{Containers, Wanted};
use crate::layout::Layout;
use crate::ready;

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
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let directory = inotify::add_watch(&inotify, layout.containers(), flags)?;
        let watch = Watch {
            containers: Arc::downgrade(containers),
            layout,
            inotify: ready::register(inotify, Interest::READABLE)?,
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
    inotify: AsyncFd<OwnedFd>,
    directory: i32,
    /// The ids of containers by the watches of their journals and logs.
    journals: HashMap<i32, String>,
    logs: HashMap<i32, String>,
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
        let flags = WatchFlags::MODIFY;
        if let Ok(descriptor) = inotify::add_watch(self.inotify.get_ref(), &journal, flags) {
            self.journals.insert(descriptor, id.clone());
        }
        // What was written before the watch was there.
        self.look(&id);
    }

    fn add_log(&mut self, id: String) {
        let log = self.layout.container(&id).log();
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        if let Ok(descriptor) = inotify::add_watch(self.inotify.get_ref(), &log, flags) {
            self.logs.insert(descriptor, id.clone());
        }
        self.grew(&id);
    }

    fn grew(&self, id: &str) {
        if let Some(containers) = self.containers.upgrade() {
            containers.log_grew(id);
        }
    }

    /// Hears all events that wait: readiness is told once.
    fn hear(&mut self) {
        for heard in self.events() {
            match heard {
                Heard::Overflow => {
                    if let Some(containers) = self.containers.upgrade() {
                        containers.look_at_all();
                    }
                }
                Heard::Gone(watch) => {
                    self.journals.remove(&watch);
                    self.logs.remove(&watch);
                }
                Heard::Renamed(id) => self.look(&id),
                Heard::Changed(watch) => {
                    if let Some(id) = self.logs.get(&watch) {
                        self.grew(id);
                    } else if let Some(id) = self.journals.get(&watch) {
                        self.look(id);
                    }
                }
            }
        }
    }

    fn events(&self) -> Vec<Heard> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut heard = Vec::new();
        // The error at the end is that there is nothing more.
        while let Ok(event) = reader.next() {
            let flags = event.events();
            heard.push(if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                Heard::Overflow
            } else if flags.contains(ReadFlags::IGNORED) {
                Heard::Gone(event.wd())
            } else if event.wd() == self.directory {
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                Heard::Renamed(name.unwrap_or_default())
            } else {
                Heard::Changed(event.wd())
            });
        }
        heard
    }

    fn look(&self, id: &str) {
        if let Some(containers) = self.containers.upgrade() {
            // What cannot be read now is read, and told, by whoever asks for it.
            let _ = containers.look(id);
        }
    }
}

/// An event of the kernel.
enum Heard {
    /// Some were lost.
    Overflow,
    /// A watch ended with its file.
    Gone(i32),
    /// A name appeared in, or vanished from, the directory of containers.
    Renamed(String),
    /// A watched file changed.
    Changed(i32),
}
