//! Published ports `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, and host names `NAME:ADDRESS`.

use driver_types::{PortMapping, PortProtocol};

/// Reads `[[IP:]HOST:]CONTAINER[/tcp|udp]`; an IPv6 address stands in brackets.
pub(crate) fn port(text: &str) -> Result<PortMapping, String> {
    let (address, protocol) = match text.split_once('/') {
        None => (text, None),
        Some((address, "tcp")) => (address, Some(PortProtocol::Tcp)),
        Some((address, "udp")) => (address, Some(PortProtocol::Udp)),
        Some((_, other)) => return Err(format!("unknown protocol `{other}`; it can be tcp or udp")),
    };
    let (host, container) = address
        .rsplit_once(':')
        .map_or((None, address), |(host, port)| (Some(host), port));
    let (ip, host_port) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            Some((ip, port)) => (Some(ip), Some(port)),
            None => (None, Some(host)),
        },
    };
    let host_port = match host_port {
        None | Some("") => None,
        Some(port) => Some(number(port)?),
    };
    let container_port = number(container)?;
    if container_port == 0 {
        return Err("the port of the container is a number from 1 to 65535".to_owned());
    }
    let host_ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']').to_owned());
    if host_ip
        .as_ref()
        .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_err())
    {
        return Err("write [[IP:]HOST_PORT:]CONTAINER_PORT[/tcp|udp], as in 127.0.0.1:8080:80".to_owned());
    }
    Ok(PortMapping {
        container_port,
        host_port,
        host_ip,
        protocol,
    })
}

fn number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        if text.contains('-') {
            format!("`{text}` is a range; publish each port by itself")
        } else {
            format!("`{text}` is not a port; it is a number from 0 to 65535")
        }
    })
}

/// Reads `NAME:ADDRESS` or `NAME=ADDRESS`.
pub(crate) fn extra_host(text: &str) -> Result<(String, String), String> {
    match text.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => Ok((
            name.to_owned(),
            address.trim_start_matches('[').trim_end_matches(']').to_owned(),
        )),
        _ => Err("write NAME:ADDRESS, as in db:10.0.0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mapping(host_ip: Option<&str>, host_port: Option<u16>, container_port: u16) -> PortMapping {
        PortMapping {
            container_port,
            host_port,
            host_ip: host_ip.map(str::to_owned),
            protocol: None,
        }
    }

    #[rstest]
    #[case("80", Some(mapping(None, None, 80)))]
    #[case("8080:80", Some(mapping(None, Some(8080), 80)))]
    #[case("0:80", Some(mapping(None, Some(0), 80)))]
    #[case("0.0.0.0:8080:80", Some(mapping(Some("0.0.0.0"), Some(8080), 80)))]
    #[case("127.0.0.1::80", Some(mapping(Some("127.0.0.1"), None, 80)))]
    #[case("[::1]:8080:80", Some(mapping(Some("::1"), Some(8080), 80)))]
    #[case("53:53/udp", Some(PortMapping { protocol: Some(PortProtocol::Udp), ..mapping(None, Some(53), 53) }))]
    #[case("80/tcp", Some(PortMapping { protocol: Some(PortProtocol::Tcp), ..mapping(None, None, 80) }))]
    #[case("0", None)]
    #[case("", None)]
    #[case("x", None)]
    #[case("70000:80", None)]
    #[case("80-90:80-90", None)]
    #[case("host:80:80", None)]
    #[case("80/sctp", None)]
    fn ports(#[case] text: &str, #[case] expected: Option<PortMapping>) {
        assert_eq!(port(text).ok(), expected);
    }

    #[rstest]
    #[case("db:10.0.0.5", Some(("db", "10.0.0.5")))]
    #[case("db=10.0.0.5", Some(("db", "10.0.0.5")))]
    #[case("db:fd00::1", Some(("db", "fd00::1")))]
    #[case("db:[fd00::1]", Some(("db", "fd00::1")))]
    #[case("db", None)]
    #[case(":1", None)]
    fn extra_hosts(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
        let host = extra_host(text).ok();
        assert_eq!(
            host.as_ref().map(|(name, ip)| (name.as_str(), ip.as_str())),
            expected
        );
    }
}
