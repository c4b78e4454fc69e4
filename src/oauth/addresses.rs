//! Where a connection may go, checked on the addresses that it goes to.
//!
//! What this protects: the hosts of an issuer are those that the configuration writes out (DISC-04), and those are
//! trusted at whatever address they have, a private one included (decisions 19). A wildcard in `allowed_hosts` lets
//! the metadata choose the name, and with it, through DNS, the address; so the addresses of such a host must be public.
//! A name is resolved once for each connection, and the addresses that were checked are the ones connected to: a
//! second answer of DNS is never asked for.

use super::names::Names;
use crate::config::Reach;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::TcpStream;

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unconnected {
    /// The host has an address that is out of reach for it. No packet was sent.
    OutOfReach,
    /// The system's answer.
    Failed(io::ErrorKind),
}

/// Resolves a host and connects to it.
///
/// # Errors
/// [`Unconnected`]
pub(super) async fn connect(host: &str, port: u16, reach: Reach, names: &Names) -> Result<TcpStream, Unconnected> {
    let found = names.addresses(host, port).await.map_err(|error| Unconnected::Failed(error.kind()))?;
    let admitted = admit(found, reach).ok_or(Unconnected::OutOfReach)?;
    let mut last = io::ErrorKind::NotFound;
    for address in admitted {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.kind(),
        }
    }
    Err(Unconnected::Failed(last))
}

/// The addresses to try, in order. One that is out of reach refuses them all: a name that has both a public and a
/// private address is not the name it claims to be.
fn admit(mut found: Vec<SocketAddr>, reach: Reach) -> Option<Vec<SocketAddr>> {
    if reach == Reach::PublicOnly && !found.iter().all(|address| is_public(address.ip())) {
        return None;
    }
    found.truncate(ADDRESSES_MAX);
    Some(found)
}

/// Whether an address is globally reachable unicast (RFC 6890, and the IANA registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network; private; shared (RFC 6598); loopback; link-local.
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        // IETF protocol assignments, documentation, 6to4 relays, benchmarking.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [first, ..] => first >= 224,
    };
    !special
}

/// Global unicast is 2000::/3 alone. Outside of it are the unspecified address, loopback, mapped IPv4, NAT64 (both
/// prefixes), discard, unique local, link-local, site-local and multicast.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Teredo, ORCHID, benchmarking and what else is assigned to protocols: 2001::/23.
        [0x2001, second, ..] if second < 0x200 => false,
        // Documentation; 6to4, which carries an IPv4 address inside.
        [0x2001, 0xdb8, ..] | [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: [&str; 46] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:2::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    const ADMITTED: [&str; 10] = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
    ];

    fn found(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect()
    }

    // rows: SSRF-03
    #[test]
    fn only_global_unicast_is_public() {
        for address in REFUSED {
            assert!(admit(found(&[address]), Reach::PublicOnly).is_none(), "{address}");
            // Written in the configuration, the same host is trusted at that address.
            assert!(admit(found(&[address]), Reach::Anywhere).is_some(), "{address}");
        }
        for address in ADMITTED {
            assert!(admit(found(&[address]), Reach::PublicOnly).is_some(), "{address}");
        }
    }

    // rows: SSRF-03
    #[test]
    fn one_address_out_of_reach_refuses_the_name() {
        for list in [["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["2606:4700::1111", "::ffff:127.0.0.1"]] {
            assert!(admit(found(&list), Reach::PublicOnly).is_none(), "{list:?}");
        }
        let many = found(&["8.8.8.8"; 20]);
        assert_eq!(admit(many, Reach::PublicOnly).unwrap().len(), ADDRESSES_MAX);
    }

    // rows: SSRF-03
    #[tokio::test]
    async fn the_checked_address_is_the_one_connected_to() {
        // A second look-up, after the check, could be answered otherwise. There is none: what `admit` returns is
        // dialled. So a name of a loopback address reaches nobody, by whatever form it is written.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in
            ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "::ffff:127.0.0.1", "::1", "0"]
        {
            let connected = connect(host, port, Reach::PublicOnly, &Names::new()).await;
            // Resolvers differ in the numeric forms they know; none of them may lead here.
            assert!(connected.is_err(), "{host}");
        }
        assert!(listener.accept().is_err(), "somebody connected");
        assert!(matches!(
            connect("127.0.0.1", port, Reach::PublicOnly, &Names::new()).await,
            Err(Unconnected::OutOfReach)
        ));
        connect("localhost", port, Reach::Anywhere, &Names::new()).await.unwrap();
        listener.accept().unwrap();
    }
}
