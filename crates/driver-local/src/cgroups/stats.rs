//! The texts of counters.

use driver_types::{BlockIoStats, NetworkStats};

/// `blkio.throttle.io_service_bytes`: lines of `MAJOR:MINOR Read BYTES`.
pub(super) fn block_io_v1(text: &str) -> BlockIoStats {
    let sum = |operation: &str| {
        let counts = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (_, found, count) = (fields.next()?, fields.next()?, fields.next()?);
            (found == operation).then(|| count.parse::<u64>().ok()).flatten()
        });
        Some(counts.sum())
    };
    BlockIoStats {
        read_bytes: sum("Read"),
        write_bytes: sum("Write"),
    }
}

/// `io.stat`: lines of `MAJOR:MINOR rbytes=N wbytes=N ...`.
pub(super) fn block_io_v2(text: &str) -> BlockIoStats {
    let sum = |key: &str| {
        let fields = text.split_whitespace();
        let counts =
            fields.filter_map(|field| field.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok());
        Some(counts.sum())
    };
    BlockIoStats {
        read_bytes: sum("rbytes"),
        write_bytes: sum("wbytes"),
    }
}

/// `/proc/PID/net/dev` without the loopback interface.
pub(super) fn network(text: &str) -> NetworkStats {
    let mut sum = NetworkStats::default();
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else {
            continue;
        };
        let counters: Vec<u64> = counters
            .split_whitespace()
            .filter_map(|count| count.parse().ok())
            .collect();
        if name.trim() == "lo" || counters.len() < 10 {
            continue;
        }
        sum.rx_bytes += counters[0];
        sum.rx_packets += counters[1];
        sum.tx_bytes += counters[8];
        sum.tx_packets += counters[9];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_devices_are_added() {
        let v1 = block_io_v1("254:0 Read 4096\n254:0 Write 10\n254:0 Sync 4106\n8:0 Read 4\nTotal 4110\n");
        assert_eq!((v1.read_bytes, v1.write_bytes), (Some(4100), Some(10)));
        let v2 = block_io_v2("254:0 rbytes=4096 wbytes=10 rios=1\n8:0 rbytes=4 wbytes=0\n");
        assert_eq!((v2.read_bytes, v2.write_bytes), (Some(4100), Some(10)));
        assert_eq!(block_io_v2("").read_bytes, Some(0));
    }

    #[test]
    fn interfaces_but_loopback_are_added() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0:100 2 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n";
        let stats = network(text);
        assert_eq!(
            (stats.rx_bytes, stats.rx_packets, stats.tx_bytes, stats.tx_packets),
            (100, 2, 50, 1)
        );
    }
}
