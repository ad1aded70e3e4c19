//! Commands on the network.

use std::net::Ipv4Addr;

use driver_types::{ContainerConfig, PortProtocol};

use super::text::escape;
use super::{Answer, Workload, usage};
use crate::fs::{Errno, Sys};
use crate::world::Server;

impl Workload {
    pub(super) async fn network(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let answer = match (name, arguments) {
            ("interfaces", []) => {
                let mut names: Vec<String> = self.interfaces().into_iter().map(|(name, _)| name).collect();
                names.push("lo".to_owned());
                names.sort_unstable();
                Answer::Value(names.join(","))
            }
            ("addresses", []) => {
                let mut addresses: Vec<String> = self
                    .interfaces()
                    .into_iter()
                    .map(|(_, address)| address)
                    .collect();
                addresses.push("127.0.0.1".to_owned());
                addresses.sort_unstable();
                Answer::Value(addresses.join(","))
            }
            ("tcp-listen", [port]) => self.listen(name, PortProtocol::Tcp, port),
            ("udp-listen", [port]) => self.listen(name, PortProtocol::Udp, port),
            ("tcp-connect", [host, port, text]) => self.talk(name, PortProtocol::Tcp, host, port, text).await,
            ("udp-send", [host, port, text]) => self.talk(name, PortProtocol::Udp, host, port, text).await,
            ("resolve", [host]) => match self.resolve(host) {
                Ok(found) => {
                    let mut texts: Vec<String> = found.iter().map(Ipv4Addr::to_string).collect();
                    texts.sort_unstable();
                    texts.dedup();
                    Answer::Value(texts.join(","))
                }
                Err(errno) => Answer::Failed(errno),
            },
            _ => return None,
        };
        Some(answer)
    }

    fn interfaces(&self) -> Vec<(String, String)> {
        self.context.kernel(|kernel, _| kernel.interfaces.clone())
    }

    fn listen(&self, name: &str, protocol: PortProtocol, port: &str) -> Answer {
        let Ok(port) = port.parse::<u16>() else {
            return usage(name);
        };
        let container = &self.context.sandbox.container;
        let server = Server {
            container: container.id.to_string(),
            pid: self.context.pid,
        };
        let switchboard = &self.context.sandbox.world.switchboard;
        let bound = switchboard.listen(container.namespace(), protocol, port, server);
        bound.map(|()| port.to_string()).into()
    }

    /// /etc/hosts, then the name server of the networks.
    fn resolve(&self, host: &str) -> Sys<Vec<Ipv4Addr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let hosts = self.sys(|view| view.read("/etc/hosts")).unwrap_or_default();
        let hosts = String::from_utf8_lossy(&hosts.to_vec()).into_owned();
        let known = |line: &str| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse::<Ipv4Addr>().ok()?;
            words.any(|name| name == host).then_some(address)
        };
        let mut found: Vec<Ipv4Addr> = hosts.lines().filter_map(known).collect();
        let container = &self.context.sandbox.container;
        if found.is_empty() && container.config.network != ContainerConfig::NETWORK_NONE {
            found = self
                .context
                .sandbox
                .world
                .switchboard
                .resolve(&container.id, host);
        }
        if found.is_empty() {
            Err(Errno("ENONAME"))
        } else {
            Ok(found)
        }
    }

    async fn talk(&self, name: &str, protocol: PortProtocol, host: &str, port: &str, text: &str) -> Answer {
        let Ok(port) = port.parse::<u16>() else {
            return usage(name);
        };
        let address = match self.resolve(host).map(|found| found.first().copied()) {
            Ok(Some(address)) => address,
            Ok(None) => return Answer::Failed(Errno("ENONAME")),
            Err(errno) => return Answer::Failed(errno),
        };
        let sandbox = &self.context.sandbox;
        let from = sandbox.container.namespace();
        let peer = (address, port);
        let reply = sandbox
            .world
            .talk(&from, &sandbox.container.id, protocol, peer, text.as_bytes())
            .await;
        reply.map(|reply| escape(&reply)).into()
    }
}
