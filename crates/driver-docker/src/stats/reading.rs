//! The engine's readings, of cgroup v1 and v2, as the contract's counters. What is not there stays absent.

use std::collections::BTreeMap;

use driver_types::{BlockIoStats, ContainerStats, CpuStats, MemoryStats, NetworkStats, PidsStats};
use serde::Deserialize;

/// `GET /containers/{id}/stats`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reading {
    read: String,
    cpu_stats: Cpu,
    memory_stats: Memory,
    pids_stats: Pids,
    blkio_stats: Blkio,
    networks: Option<BTreeMap<String, Interface>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    throttling_data: Option<Throttling>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Throttling {
    throttled_periods: Option<u64>,
    throttled_time: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: Option<u64>,
    /// cgroup v1 only.
    max_usage: Option<u64>,
    limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: Option<u64>,
    limit: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blkio {
    io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlkioEntry {
    /// `Read` with cgroup v1, `read` with v2.
    op: String,
    value: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    rx_bytes: u64,
    tx_bytes: u64,
    rx_packets: u64,
    tx_packets: u64,
}

impl Reading {
    /// The counters; `None` for the empty reading of a container that does not run.
    pub(super) fn stats(&self) -> Option<ContainerStats> {
        let time = crate::time::parse_ms(&self.read)?;
        let throttling = self.cpu_stats.throttling_data.unwrap_or_default();
        // A container that runs has used the processor, and has a process.
        let used = self.cpu_stats.cpu_usage.total_usage.filter(|nanos| *nanos > 0);
        if used.is_none() && self.pids_stats.current.is_none() && self.memory_stats.usage.is_none() {
            return None;
        }
        Some(ContainerStats {
            time,
            cpu: CpuStats {
                usage_nanos: used,
                throttled_nanos: throttling.throttled_time,
                throttled_periods: throttling.throttled_periods,
            },
            memory: MemoryStats {
                current_bytes: self.memory_stats.usage,
                peak_bytes: self.memory_stats.max_usage.filter(|bytes| *bytes > 0),
                limit_bytes: self.memory_stats.limit.filter(|bytes| *bytes > 0),
                // The engine has no count: `failcnt` counts reclaims.
                oom_kills: None,
            },
            pids: PidsStats {
                current: self.pids_stats.current,
                // 0 and the largest number stand for none.
                limit: self
                    .pids_stats
                    .limit
                    .filter(|limit| (1..u64::MAX).contains(limit)),
            },
            block_io: BlockIoStats {
                read_bytes: self.block_bytes("read"),
                write_bytes: self.block_bytes("write"),
            },
            network: self.network(),
            disk_used_bytes: None,
        })
    }

    /// Summed up over devices. Without any entry the engine does not count (or nothing was ever moved).
    fn block_bytes(&self, operation: &str) -> Option<u64> {
        let entries = self.blkio_stats.io_service_bytes_recursive.as_deref()?;
        let matching = entries
            .iter()
            .filter(|entry| entry.op.eq_ignore_ascii_case(operation));
        matching.map(|entry| entry.value).reduce(u64::saturating_add)
    }

    /// Summed up over interfaces; the engine leaves loopback out.
    fn network(&self) -> Option<NetworkStats> {
        let interfaces = self
            .networks
            .as_ref()
            .filter(|interfaces| !interfaces.is_empty())?;
        let sum = |count: fn(&Interface) -> u64| interfaces.values().map(count).fold(0, u64::saturating_add);
        Some(NetworkStats {
            rx_bytes: sum(|interface| interface.rx_bytes),
            tx_bytes: sum(|interface| interface.tx_bytes),
            rx_packets: sum(|interface| interface.rx_packets),
            tx_packets: sum(|interface| interface.tx_packets),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stats(text: &str) -> Option<ContainerStats> {
        serde_json::from_str::<Reading>(text).unwrap().stats()
    }

    #[test]
    fn cgroup_v1_is_read() {
        let stats = stats(
            r#"{"read":"2026-11-23T21:08:07.08Z","pids_stats":{"current":1,"limit":100},
            "blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"Read","value":5},
                {"major":8,"minor":16,"op":"Read","value":7},{"major":8,"minor":0,"op":"Write","value":1},
                {"major":8,"minor":0,"op":"Total","value":13}]},
            "cpu_stats":{"cpu_usage":{"total_usage":24253466},
                "throttling_data":{"periods":3,"throttled_periods":2,"throttled_time":9}},
            "memory_stats":{"usage":647168,"max_usage":3559424,"limit":536870912},
            "networks":{"eth0":{"rx_bytes":1,"tx_bytes":2,"rx_packets":3,"tx_packets":4},"eth1":{"rx_bytes":10}}}"#,
        )
        .unwrap();
        assert_eq!(stats.cpu.usage_nanos, Some(24_253_466));
        assert_eq!(
            (stats.cpu.throttled_periods, stats.cpu.throttled_nanos),
            (Some(2), Some(9))
        );
        assert_eq!(stats.memory.peak_bytes, Some(3_559_424));
        assert_eq!((stats.pids.current, stats.pids.limit), (Some(1), Some(100)));
        assert_eq!(
            (stats.block_io.read_bytes, stats.block_io.write_bytes),
            (Some(12), Some(1))
        );
        assert_eq!(stats.network.unwrap().rx_bytes, 11);
    }

    #[test]
    fn cgroup_v2_is_read_and_what_it_lacks_is_absent() {
        let stats = stats(
            r#"{"read":"2026-11-23T21:08:07Z","pids_stats":{"current":2,"limit":18446744073709551615},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"read","value":3}]},
            "cpu_stats":{"cpu_usage":{"total_usage":5}},"memory_stats":{"usage":10,"limit":20},"networks":null}"#,
        )
        .unwrap();
        assert_eq!(stats.memory.peak_bytes, None);
        assert_eq!(stats.memory.oom_kills, None);
        assert_eq!(
            (stats.block_io.read_bytes, stats.block_io.write_bytes),
            (Some(3), None)
        );
        assert_eq!(
            (stats.cpu.throttled_nanos, stats.pids.limit, stats.network),
            (None, None, None)
        );
    }

    #[test]
    fn a_stopped_container_gives_no_reading() {
        assert_eq!(
            stats(r#"{"read":"0001-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{"total_usage":0}}}"#),
            None
        );
        assert_eq!(
            stats(
                r#"{"read":"2026-11-23T21:08:07Z","pids_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0}},
                "memory_stats":{},"blkio_stats":{"io_service_bytes_recursive":null}}"#
            ),
            None
        );
    }
}
