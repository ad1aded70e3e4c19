//! The world outside of a driver: what an engine and its host keep when the program that used them is gone.

mod calls;
mod events;
mod host;
mod images;
mod logs;
mod network;
mod sandbox;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_state::{ContainerStore, KeyedMutex, NamedStore, Scope};
use driver_types::{ContainerFilter, Network, Operation, Signal, Volume};
use tokio::sync::watch;

pub(crate) use calls::{Calls, Outcome, unreachable_engine};
pub(crate) use images::{ELF, ImageData, Images, SCRIPTED, registry_root};
pub(crate) use logs::{Entry, MainOutput};
pub(crate) use network::{HOST_ADDRESS, Join, Namespace, Server, Switchboard};
pub(crate) use sandbox::{Console, Container, DEFAULT_PATH, Ending, Sandbox};

use crate::fs::{SharedTree, Tree};
use crate::script::{Fault, Lie, Script};
use crate::{Clock, Profile};

/// An engine with its containers, images, volumes, networks and clock. A clone is the same world.
///
/// It lives on when a driver is dropped, as a real engine does: open another [`MockDriver`](crate::MockDriver) on it to
/// rehearse a restart. Several drivers may share it. It needs a tokio runtime for processes that do something by
/// themselves, and they live as long as that runtime.
#[derive(Clone)]
pub struct World(pub(crate) Arc<Inner>);

/// What a world consists of.
pub(crate) struct Inner {
    pub(crate) profile: Profile,
    pub(crate) script: Script,
    pub(crate) clock: Clock,
    pub(crate) calls: Calls,
    pub(crate) containers: ContainerStore<Arc<Container>>,
    /// Containers that died half-way through their creation, by id.
    pub(crate) partial: Mutex<HashMap<String, Arc<Container>>>,
    pub(crate) volumes: NamedStore<Volume>,
    /// The content of volumes by id.
    pub(crate) volume_trees: Mutex<HashMap<String, SharedTree>>,
    pub(crate) networks: NamedStore<Network>,
    pub(crate) switchboard: Switchboard,
    pub(crate) images: Images,
    /// The order of creations of one request, and of pulls of one image.
    pub(crate) order: KeyedMutex,
    pub(crate) events: events::Listeners,
    /// Whether the engine cannot be reached, for streams that are open.
    pub(crate) down: watch::Sender<bool>,
    /// The file system of the host, for bind mounts.
    pub(crate) host: SharedTree,
    /// Every owner that ever opened a driver.
    pub(crate) owners: Mutex<std::collections::BTreeSet<Arc<str>>>,
    /// How many drivers of an owner are open.
    pub(crate) open_drivers: Mutex<HashMap<String, usize>>,
    /// How often each image was read from the registry.
    pub(crate) registry_reads: Mutex<HashMap<String, u64>>,
}

/// The first port of the range from which engines choose.
const FIRST_PORT: u16 = 49_153;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A fast and faultless world on tokio's clock.
    pub fn new(profile: Profile) -> Self {
        Self::with_script(profile, Script::default(), Clock::tokio())
    }

    /// A world with a script and a clock.
    pub fn with_script(profile: Profile, script: Script, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            profile,
            calls: Calls::new(script.seed, &script.faults),
            clock,
            containers: ContainerStore::new(),
            partial: Mutex::default(),
            volumes: NamedStore::new(),
            volume_trees: Mutex::default(),
            networks: NamedStore::new(),
            switchboard: Switchboard::new(script.first_port.unwrap_or(FIRST_PORT)),
            images: Images::default(),
            order: KeyedMutex::new(),
            events: events::Listeners::new(script.event_buffer),
            down: watch::Sender::new(false),
            host: Tree::new(0o755).shared(),
            owners: Mutex::default(),
            open_drivers: Mutex::default(),
            registry_reads: Mutex::default(),
            script,
        }))
    }

    /// Which engine it behaves like.
    pub fn profile(&self) -> Profile {
        self.0.profile
    }

    /// Its script.
    pub fn script(&self) -> &Script {
        &self.0.script
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Puts it back to how the script made it: no container, image, volume or network, no call counted, no injected
    /// fault, the engine up. Drivers that are open stay so.
    pub fn reset(&self) {
        let inner = &self.0;
        let all = ContainerFilter {
            all_owners: true,
            ..ContainerFilter::default()
        };
        for container in inner
            .containers
            .read_all(Scope::All, &all, |record| Arc::clone(&record.data))
        {
            let sandbox = inner_sandbox(inner, container);
            sandbox.with_kernel(|kernel, now| {
                kernel.stopping = Ending::Removal;
                kernel.signal_main(now, Signal::KILL);
            });
            inner.volumes.release(&sandbox.container.id);
            inner.networks.release(&sandbox.container.id);
            sandbox.container.output.removed();
            sandbox.container.changed.notify_waiters();
        }
        inner.containers.clear();
        locked(&inner.partial).clear();
        for volume in inner.volumes.list(Scope::All) {
            let _ = inner.volumes.remove(Scope::All, &volume.id);
        }
        for network in inner.networks.list(Scope::All) {
            let _ = inner.networks.remove(Scope::All, &network.id);
        }
        locked(&inner.volume_trees).clear();
        locked(&inner.registry_reads).clear();
        inner.switchboard.clear();
        inner.images.clear();
        inner.calls.reset(inner.script.seed, &inner.script.faults);
        inner.down.send_replace(false);
    }

    /// Makes the engine unreachable: calls fail with NETWORK_ERROR and event streams break; containers run on.
    pub fn engine_down(&self) {
        self.0.calls.set_down(true);
        self.0.down.send_replace(true);
    }

    /// Makes the engine reachable again.
    pub fn engine_up(&self) {
        self.0.calls.set_down(false);
        self.0.down.send_replace(false);
    }

    /// Adds a fault to those of the script. Calls that came before count for its `nth`.
    pub fn inject(&self, fault: Fault) {
        self.0.calls.add_fault(fault);
    }

    /// Takes all faults away, those of the script too.
    pub fn clear_faults(&self) {
        self.0.calls.set_faults(Vec::new());
    }

    /// How often an operation was called since the world was made or reset.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.0.calls.count(operation)
    }

    /// How often an image was read from the registry, to the end.
    pub fn registry_reads(&self, reference: &str) -> u64 {
        locked(&self.0.registry_reads)
            .get(reference)
            .copied()
            .unwrap_or(0)
    }

    /// What is there of an owner beyond what the lists of its drivers say: half-made containers; and addresses, ports
    /// and servers of containers that do not exist. One line each.
    pub fn leftovers(&self, owner: &str) -> Vec<String> {
        let partial = locked(&self.0.partial);
        let half_made = partial.values().filter(|container| &*container.owner == owner);
        let half_made = half_made.map(|container| format!("half-made container {}", container.id));
        let connected = self.0.switchboard.connected().into_iter();
        let lost = connected.filter(|id| self.0.containers.get(Scope::All, id).is_none());
        half_made
            .chain(lost.map(|id| format!("network of container {id}")))
            .collect()
    }
}

pub(crate) fn inner_sandbox(world: &Arc<Inner>, container: Arc<Container>) -> Sandbox {
    Sandbox {
        world: Arc::clone(world),
        container,
    }
}

impl Inner {
    pub(crate) fn lies(&self, lie: Lie) -> bool {
        self.calls.lies(lie)
    }

    /// A new id: 64 hexadecimal digits, never the same again with one seed.
    pub(crate) fn new_id(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = String::with_capacity(64);
        for _ in 0..4 {
            for byte in self.calls.random().to_be_bytes() {
                id.push(char::from(DIGITS[usize::from(byte >> 4)]));
                id.push(char::from(DIGITS[usize::from(byte & 0xf)]));
            }
        }
        id
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("profile", &self.profile)
            .field("containers", &self.containers.count(Scope::All))
            .finish_non_exhaustive()
    }
}

/// A time as RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(epoch_ms: u64) -> String {
    let (days, ms) = (epoch_ms / 86_400_000, epoch_ms % 86_400_000);
    // Days to a date, after Howard Hinnant's civil_from_days; the era begins on 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "1970-01-01T00:00:00.000Z")]
    #[case(951_782_400_000, "2000-02-29T00:00:00.000Z")]
    #[case(1_795_478_399_999, "2026-11-23T23:59:59.999Z")]
    fn times_are_dates(#[case] epoch_ms: u64, #[case] text: &str) {
        assert_eq!(rfc3339(epoch_ms), text);
    }

    #[test]
    fn equal_seeds_give_equal_ids() {
        let id = |seed| {
            let script = Script {
                seed,
                ..Script::default()
            };
            World::with_script(Profile::Docker, script, Clock::manual(0))
                .0
                .new_id()
        };
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        assert_eq!(id(1).len(), 64);
    }
}
