//! The simulated host: its files, for bind mounts, and its side of published ports.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use driver_state::Scope;
use driver_types::{Capabilities, Capability, PortProtocol, Support};

use super::{Inner, Namespace, Server, World, locked};
use crate::fs::{Credentials, Errno, FsType, Kind, Mount, ROOT, Sys, View};
use crate::script::Lie;

impl World {
    /// Makes a directory of the simulated host, and those above it; anybody may write to it.
    pub fn make_host_dir(&self, path: &str) {
        let mut host = locked(&self.0.host);
        if let Ok(dir) = host.make_dirs(path)
            && let Ok(dir) = host.get_mut(dir)
        {
            dir.mode = 0o777;
        }
    }

    /// Writes a file of the simulated host, with the directories above it.
    ///
    /// # Errors
    ///
    /// Where a directory is in the way.
    pub fn write_host_file(&self, path: &str, content: impl Into<Bytes>) -> io::Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            let _ = locked(&self.0.host).make_dirs(above);
        }
        let content = content.into();
        self.on_host(|view| {
            let file = view.open_write(path, true)?;
            view.append(file, content.into())
        })
    }

    /// Reads a file of the simulated host.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn read_host_file(&self, path: &str) -> io::Result<Vec<u8>> {
        self.on_host(|view| view.read(path).map(|content| content.to_vec()))
    }

    fn on_host<R>(&self, work: impl FnOnce(&View<'_>) -> Sys<R>) -> io::Result<R> {
        let mounts = [Mount {
            target: "/".into(),
            tree: Arc::clone(&self.0.host),
            root: ROOT,
            read_only: false,
            fs_type: FsType::Ext4,
        }];
        let who = Credentials::engine();
        let view = View {
            mounts: &mounts,
            who: &who,
            cwd: "/",
            umask: 0o022,
            now: self.0.clock.now_ms() / 1000,
        };
        work(&view).map_err(|errno| io::Error::other(errno.to_string()))
    }

    /// Connects from the simulated host to an address, sends a payload, ends the sending direction and returns all that
    /// comes back: how a published port is reached.
    ///
    /// # Errors
    ///
    /// As of a socket: refused, timed out, unreachable.
    pub async fn dial(
        &self,
        protocol: PortProtocol,
        address: SocketAddr,
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        let IpAddr::V4(ip) = address.ip() else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let reply = self
            .0
            .talk(&Namespace::Host, "host", protocol, (ip, address.port()), payload)
            .await;
        reply.map_err(|errno| match errno.0 {
            "ECONNREFUSED" => io::ErrorKind::ConnectionRefused.into(),
            "ETIMEDOUT" => io::ErrorKind::TimedOut.into(),
            _ => io::Error::other(errno.to_string()),
        })
    }
}

/// How long a client waits, in milliseconds.
const PATIENCE_MS: u64 = 2_000;

impl Inner {
    /// A conversation with an echo server: what it says to a payload.
    pub(crate) async fn talk(
        &self,
        from: &Namespace,
        sender: &str,
        protocol: PortProtocol,
        (ip, port): (std::net::Ipv4Addr, u16),
        payload: &[u8],
    ) -> Sys<Vec<u8>> {
        let server =
            match self
                .switchboard
                .reach(from, ip, protocol, port, self.lies(Lie::IgnoreNetworkIsolation))
            {
                Ok(server) => server,
                // Nobody answers a datagram that nobody got.
                Err(Errno("ETIMEDOUT")) => return self.time_out().await,
                Err(errno) => return Err(errno),
            };
        // A frozen server accepts nothing until it goes on.
        let mut waited = 0;
        while self.is_frozen(&server) {
            if waited >= PATIENCE_MS {
                return Err(Errno("ETIMEDOUT"));
            }
            self.clock.sleep(std::time::Duration::from_millis(10)).await;
            waited += 10;
        }
        let bytes = payload.len() as u64;
        self.switchboard.count_traffic(sender, &server.container, bytes);
        self.switchboard.count_traffic(&server.container, sender, bytes);
        Ok(payload.to_vec())
    }

    async fn time_out<R>(&self) -> Sys<R> {
        self.clock
            .sleep(std::time::Duration::from_millis(PATIENCE_MS))
            .await;
        Err(Errno("ETIMEDOUT"))
    }

    fn is_frozen(&self, server: &Server) -> bool {
        let container = self
            .containers
            .read(Scope::All, &server.container, |record| Arc::clone(&record.data));
        container.is_some_and(|container| {
            let kernel = locked(&container.kernel);
            kernel.frozen
                || kernel
                    .processes
                    .get(&server.pid)
                    .is_some_and(|process| process.stopped)
        })
    }

    /// What the engine can do, with what the script adds.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let capabilities = self.profile.capabilities();
        if self.script.host_files {
            let support = Support::emulated("binds show files of the simulated host");
            return capabilities.with(Capability::BindMounts, support);
        }
        capabilities
    }

    /// A directory or file of the host that a bind mount shows.
    pub(crate) fn bind(&self, source: &str) -> Option<(crate::fs::SharedTree, u64)> {
        let host = locked(&self.host);
        let ino = source
            .split('/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |dir, name| host.lookup(dir, name))
            .ok()?;
        matches!(host.get(ino).ok()?.kind, Kind::Dir(_) | Kind::File(_))
            .then(|| (Arc::clone(&self.host), ino))
    }
}
