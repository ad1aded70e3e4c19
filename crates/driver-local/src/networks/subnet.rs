//! IPv4 subnets.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A subnet; the bits of the host part are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    fn new(base: Ipv4Addr, prefix: u8) -> Self {
        let base = Ipv4Addr::from_bits(base.to_bits() & mask(prefix));
        Self { base, prefix }
    }

    pub(crate) fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The first address is the bridge's.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 1)
    }

    /// The addresses of members: all but the first two and the last.
    pub(crate) fn members(&self) -> impl Iterator<Item = Ipv4Addr> {
        let last = self.base.to_bits() | !mask(self.prefix);
        (self.base.to_bits() + 2..last).map(Ipv4Addr::from_bits)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let wide = mask(self.prefix.min(other.prefix));
        self.base.to_bits() & wide == other.base.to_bits() & wide
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("subnet `{text}` is not an IPv4 subnet of /8 to /29 like 10.89.0.0/24");
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base = base.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().map_err(|_| wrong())?;
        if !(8..=29).contains(&prefix) {
            return Err(wrong());
        }
        Ok(Self::new(base, prefix))
    }
}

/// The subnets to choose from.
pub(crate) fn pool() -> impl Iterator<Item = Subnet> {
    (89..=99)
        .flat_map(|second| (0..=255).map(move |third| Subnet::new(Ipv4Addr::new(10, second, third, 0), 24)))
}

/// The subnets that the host has routes to, but for the default route.
pub(crate) fn routed() -> io::Result<Vec<Subnet>> {
    Ok(routes(&fs::read_to_string("/proc/net/route")?))
}

/// Lines of `/proc/net/route`: numbers in the machine's byte order, as the kernel keeps addresses in memory.
fn routes(text: &str) -> Vec<Subnet> {
    let number = |field: &str| u32::from_str_radix(field, 16).ok();
    let subnet = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let base = Ipv4Addr::from(number(fields.get(1)?)?.to_ne_bytes());
        let mask = number(fields.get(7)?)?.count_ones();
        (mask > 0).then(|| Subnet::new(base, u8::try_from(mask).unwrap_or(32)))
    };
    text.lines().skip(1).filter_map(subnet).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.89.0.0/24", "10.89.0.0/24", true)]
    #[case("10.89.0.0/16", "10.89.7.0/24", true)]
    #[case("10.89.0.0/24", "10.89.1.0/24", false)]
    fn overlap(#[case] one: Subnet, #[case] other: Subnet, #[case] expected: bool) {
        assert_eq!(one.overlaps(&other), expected);
        assert_eq!(other.overlaps(&one), expected);
    }

    #[test]
    fn addresses() {
        let subnet: Subnet = "10.89.3.9/29".parse().expect("a subnet");
        assert_eq!(subnet.to_string(), "10.89.3.8/29");
        assert_eq!(subnet.gateway().to_string(), "10.89.3.9");
        let members: Vec<String> = subnet.members().map(|address| address.to_string()).collect();
        assert_eq!(
            members,
            [
                "10.89.3.10",
                "10.89.3.11",
                "10.89.3.12",
                "10.89.3.13",
                "10.89.3.14"
            ]
        );
    }

    #[rstest]
    #[case("10.89.0.0")]
    #[case("10.89.0.0/31")]
    #[case("fd00::/64")]
    fn refused(#[case] text: &str) {
        assert!(text.parse::<Subnet>().expect_err("no subnet").contains(text));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn routes_of_the_kernel() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
                    eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        assert_eq!(routes(text), ["192.0.2.0/24".parse().expect("a subnet")]);
    }
}
