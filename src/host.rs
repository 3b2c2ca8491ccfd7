//! What the configuration is checked against: the devices, addresses, cores and port settings of this
//! machine, read once from /proc and /sys. Plain data, so that tests can describe other machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::{fs, io};

/// Name servers of the machine that are asked: what is beyond answers no more than these.
const MOST_NAME_SERVERS: usize = 8;

/// The machine, or the network namespace that the process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// By the kernel's name.
    pub(crate) devices: BTreeMap<String, HostDevice>,
    /// Every address of every device.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Which devices an address is reached through, where the kernel tells: by its network (IPv4), or as it
    /// was given (IPv6).
    pub(crate) holders: BTreeMap<IpAddr, BTreeSet<String>>,
    /// The cores that this process may run on.
    pub(crate) cores: BTreeSet<usize>,
    /// The NUMA node of each core of the machine; empty where the kernel knows none.
    pub(crate) core_nodes: BTreeMap<usize, u32>,
    /// The machine's name servers (resolv.conf(5)), in the order of asking.
    pub(crate) name_servers: Vec<SocketAddr>,
    /// Ports that the kernel may give to sockets that ask for none.
    pub(crate) ephemeral: EphemeralPorts,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// How many receive queues it has.
    pub(crate) queues: u32,
    /// Whether its frames may come from a kernel that leaves checksums to hardware which is not there:
    /// a device without hardware (veth, bridge), or one between a guest and its host.
    pub(crate) unfinished_checksums: bool,
    /// The NUMA node of its hardware, if it has any and the firmware says.
    pub(crate) numa_node: Option<u32>,
}

/// `net.ipv4.ip_local_port_range` less `net.ipv4.ip_local_reserved_ports`; both hold for IPv6 too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EphemeralPorts {
    /// First and last, inclusive; `None` when unknown.
    pub(crate) range: Option<(u16, u16)>,
    /// Left out of it: first and last, inclusive.
    pub(crate) reserved: Vec<(u16, u16)>,
}

impl EphemeralPorts {
    /// The first port of `range` that the kernel may hand out.
    pub(crate) fn first_in(&self, (first, last): (u16, u16)) -> Option<u16> {
        let (low, high) = self.range?;
        let mut port = first.max(low);
        let end = last.min(high);
        while port <= end {
            let holds = |&&(from, to): &&(u16, u16)| (from..=to).contains(&port);
            match self.reserved.iter().find(holds) {
                Some(&(_, to)) => port = to.checked_add(1)?,
                None => return Some(port),
            }
        }
        None
    }
}

impl Host {
    /// Reads the machine's facts.
    pub(crate) fn read() -> io::Result<Self> {
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        let trie = read_or_empty("/proc/net/fib_trie")?;
        addresses.extend(local_v4(&trie).map(IpAddr::V4));
        let inet6 = read_or_empty("/proc/net/if_inet6")?;
        addresses.extend(local_v6(&inet6).map(IpAddr::V6));
        let routes = read_or_empty("/proc/net/route")?;
        let mut holders: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
        for (address, device) in holders_v4(&routes, local_v4(&trie)).chain(holders_v6(&inet6)) {
            holders.entry(address).or_default().insert(device);
        }
        let status = fs::read_to_string("/proc/self/status")?;
        let range = read_or_empty("/proc/sys/net/ipv4/ip_local_port_range")?;
        let reserved = read_or_empty("/proc/sys/net/ipv4/ip_local_reserved_ports")?;
        let resolv_conf = read_or_empty("/etc/resolv.conf")?;
        Ok(Self {
            name_servers: name_servers(&resolv_conf),
            devices: devices(Path::new("/sys/class/net"))?,
            addresses,
            holders,
            cores: allowed_cores(&status),
            core_nodes: core_nodes(Path::new("/sys/devices/system/node")),
            ephemeral: EphemeralPorts {
                range: two_ports(&range),
                reserved: reserved.split(',').filter_map(span_of_ports).collect(),
            },
        })
    }
}

/// A file of /proc that a kernel built without the feature does not have.
fn read_or_empty(path: &str) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// The lines `nameserver ADDRESS`; those with a zone, which only a link knows, are left out.
fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, 53))
    });
    servers.take(MOST_NAME_SERVERS).collect()
}

/// The columns of the address and the device (net/ipv6/addrconf.c, `if6_seq_show`).
fn holders_v6(inet6: &str) -> impl Iterator<Item = (IpAddr, String)> {
    inet6.lines().filter_map(|line| {
        let address = local_v6(line).next()?;
        let device = line.split_whitespace().last()?;
        Some((IpAddr::V6(address), device.to_owned()))
    })
}

/// For each address the devices with the narrowest network around it (net/ipv4/fib_trie.c,
/// `fib_route_seq_show`: device, destination, gateway and, as the eighth, mask, as they lie in memory).
fn holders_v4(
    routes: &str,
    addresses: impl Iterator<Item = Ipv4Addr>,
) -> impl Iterator<Item = (IpAddr, String)> {
    let hexadecimal = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.swap_bytes());
    let networks: Vec<_> = routes
        .lines()
        .filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let &[device, destination, gateway, _, _, _, _, mask, ..] = columns.as_slice() else {
                return None;
            };
            let (destination, mask) = (hexadecimal(destination)?, hexadecimal(mask)?);
            (hexadecimal(gateway)? == 0 && mask != 0)
                .then(|| (device.to_owned(), destination, mask))
        })
        .collect();
    addresses.flat_map(move |address| {
        let around = |&&(_, destination, mask): &&(String, u32, u32)| {
            address.to_bits() & mask == destination
        };
        let narrowest = networks.iter().filter(around).map(|n| n.2).max();
        let devices = networks.iter().filter(around);
        devices
            .filter(|network| Some(network.2) == narrowest)
            .map(|network| (IpAddr::V4(address), network.0.clone()))
            .collect::<Vec<_>>()
    })
}

fn devices(class: &Path) -> io::Result<BTreeMap<String, HostDevice>> {
    let mut devices = BTreeMap::new();
    for entry in fs::read_dir(class)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue; // No name that the configuration could spell.
        };
        let path = entry.path();
        let queues = match fs::read_dir(path.join("queues")) {
            Ok(queues) => queues,
            Err(_) => continue, // A file beside the devices (bonding_masters), or just gone.
        };
        let is_rx = |queue: &io::Result<fs::DirEntry>| {
            let queue = queue.as_ref().map(fs::DirEntry::file_name);
            queue.is_ok_and(|name| name.to_string_lossy().starts_with("rx-"))
        };
        let device = HostDevice {
            queues: u32::try_from(queues.filter(is_rx).count()).unwrap_or(u32::MAX),
            unfinished_checksums: may_be_unfinished(driver(&path).as_deref()),
            numa_node: numa_node(&path),
        };
        devices.insert(name, device);
    }
    Ok(devices)
}

/// -1 stands for "not known".
fn numa_node(device: &Path) -> Option<u32> {
    let node = fs::read_to_string(device.join("device/numa_node")).ok()?;
    u32::try_from(node.trim().parse::<i64>().ok()?).ok()
}

/// By `nodeN/cpulist`.
fn core_nodes(nodes: &Path) -> BTreeMap<usize, u32> {
    let entries = fs::read_dir(nodes).into_iter().flatten().flatten();
    let cores = entries.filter_map(|entry| {
        let name = entry.file_name();
        let node = name.to_str()?.strip_prefix("node")?.parse::<u32>().ok()?;
        let list = fs::read_to_string(entry.path().join("cpulist")).ok()?;
        Some(
            core_list(&list)
                .map(move |core| (core, node))
                .collect::<Vec<_>>(),
        )
    });
    cores.flatten().collect()
}

/// The driver of a device's hardware; `None` for one without hardware.
fn driver(device: &Path) -> Option<String> {
    let link = fs::read_link(device.join("device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

fn may_be_unfinished(driver: Option<&str>) -> bool {
    const TO_ANOTHER_KERNEL: [&str; 5] = [
        "virtio_net",
        "vif", // Xen's netfront.
        "xen_netfront",
        "hv_netvsc",
        "vmxnet3",
    ];
    driver.is_none_or(|driver| TO_ANOTHER_KERNEL.contains(&driver))
}

/// The leaves of the routing tables that are `host LOCAL` (net/ipv4/fib_trie.c, `fib_trie_seq_show`).
fn local_v4(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
            return None;
        }
        if line.starts_with("/32 host LOCAL") {
            leaf
        } else {
            None
        }
    })
}

/// The first column: 32 hexadecimal digits (net/ipv6/addrconf.c, `if6_seq_show`).
fn local_v6(inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    inet6.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        let whole = (digits.len() == 32).then_some(digits)?;
        u128::from_str_radix(whole, 16).ok().map(Ipv6Addr::from)
    })
}

/// `Cpus_allowed_list` of /proc/PID/status: `0-3,8`.
fn allowed_cores(status: &str) -> BTreeSet<usize> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    core_list(list).collect()
}

/// `0-3,8`, as the kernel spells sets of cores.
fn core_list(list: &str) -> impl Iterator<Item = usize> {
    let range = |part: &str| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten()
}

fn two_ports(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn span_of_ports(text: &str) -> Option<(u16, u16)> {
    let text = text.trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 universe UNICAST
Local:
  +-- 127.0.0.0/8 2 0 2
     +-- 127.0.0.0/31 1 0 0
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 127.255.255.255
        /32 link BROADCAST
  |-- 192.0.2.2
     /32 host LOCAL
";

    #[test]
    fn name_servers_are_read_in_their_order() {
        let text = "# a comment\nsearch example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # b\n\
                    nameserver fe80::1%eth0\nnameserver\nnameservers 192.0.2.1\n";
        let spelt: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(spelt, ["192.0.2.53:53", "[2001:db8::53]:53"]);
    }

    #[test]
    fn ipv4_addresses_are_the_local_hosts_of_the_trie() {
        let found: Vec<_> = local_v4(TRIE).map(|address| address.to_string()).collect();
        assert_eq!(found, ["127.0.0.1", "192.0.2.2"]);
        assert_eq!(local_v4("").count(), 0);
    }

    #[test]
    fn ipv6_addresses_are_the_first_column() {
        let text = "\
fd000000000000000000000000000002 02 40 00 80     eth0
nonsense
00000000000000000000000000000001 01 80 10 80       lo
";
        let found: Vec<_> = local_v6(text).map(|address| address.to_string()).collect();
        assert_eq!(found, ["fd00::2", "::1"]);
        let devices: Vec<_> = holders_v6(text).map(|(_, device)| device).collect();
        assert_eq!(devices, ["eth0", "lo"]);
    }

    #[test]
    fn ipv4_addresses_are_reached_through_the_narrowest_network() {
        let routes = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
up0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
in0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
out0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
        let holders = |address: Ipv4Addr| -> Vec<_> {
            holders_v4(routes, std::iter::once(address))
                .map(|(_, device)| device)
                .collect()
        };
        assert_eq!(holders(Ipv4Addr::new(10, 0, 2, 1)), ["out0"]);
        assert_eq!(holders(Ipv4Addr::new(10, 0, 3, 1)), ["in0"]);
        assert_eq!(holders(Ipv4Addr::new(192, 0, 2, 1)), [""; 0]);
    }

    #[test]
    fn core_lists() {
        let cores = |list: &str| {
            let status = format!("Name:\tx\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\n");
            allowed_cores(&status).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(cores("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cores("3"), [3]);
        assert_eq!(cores(""), [0_usize; 0]);
    }

    #[test]
    fn nodes_of_cores_and_devices_are_read_from_sys() {
        let sys = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("in the tree")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write("node/node0/cpulist", "0-1,4\n");
        write("node/node1/cpulist", "2-3\n");
        write("node/node2/cpulist", "\n"); // Memory without cores.
        write("node/possible", "0-2\n");
        let cores = core_nodes(&sys.path().join("node"));
        assert_eq!(cores, [(0, 0), (1, 0), (2, 1), (3, 1), (4, 0)].into());
        assert!(core_nodes(&sys.path().join("absent")).is_empty());
        write("net/far/queues/rx-0/rps_cpus", "");
        write("net/far/device/numa_node", "1\n");
        write("net/unsaid/queues/rx-0/rps_cpus", "");
        write("net/unsaid/device/numa_node", "-1\n");
        write("net/virtual/queues/rx-0/rps_cpus", "");
        let devices = devices(&sys.path().join("net")).expect("a tree");
        let node = |name: &str| devices[name].numa_node;
        assert_eq!(
            (node("far"), node("unsaid"), node("virtual")),
            (Some(1), None, None)
        );
    }

    #[test]
    fn reserved_ports_are_not_ephemeral() {
        let ports = EphemeralPorts {
            range: two_ports("32768\t60999\n"),
            reserved: "40000-49999,50000"
                .split(',')
                .filter_map(span_of_ports)
                .collect(),
        };
        assert_eq!(ports.first_in((20_000, 29_999)), None);
        assert_eq!(ports.first_in((30_000, 39_999)), Some(32_768));
        assert_eq!(ports.first_in((40_000, 49_999)), None);
        assert_eq!(ports.first_in((40_000, 50_001)), Some(50_001));
        assert_eq!(ports.first_in((61_000, 65_535)), None);
        assert_eq!(EphemeralPorts::default().first_in((1024, 65_535)), None);
    }

    #[test]
    fn this_machine_has_a_loopback_device_with_its_address() {
        let host = Host::read().expect("/proc and /sys are there");
        assert!(host.devices.contains_key("lo"));
        assert!(host.devices["lo"].unfinished_checksums);
        assert!(!host.cores.is_empty());
    }

    #[test]
    fn drivers_to_another_kernel_may_leave_checksums_unfinished() {
        assert!(may_be_unfinished(None));
        assert!(may_be_unfinished(Some("virtio_net")));
        assert!(!may_be_unfinished(Some("i40e")));
    }
}
