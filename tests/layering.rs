//! What must never be: the rules of `docs/architecture.md` that a compiler does not know, enforced over
//! the text of sources and manifests. A rule that is broken names the file and the line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "layering/code.rs"]
mod code;

use code::{Code, modules_used};

/// A file of the repository: its path from the root, with `/`, and its bytes.
struct Source {
    path: String,
    bytes: Vec<u8>,
}

impl Source {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The file is `prefix`, or below the directory of that name, or the module of it.
    fn is_within(&self, prefix: &str) -> bool {
        self.path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
    }

    fn is_test(&self) -> bool {
        let named = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        named || self.path.starts_with("tests/") || self.path.contains("benches/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that is not made by a build.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    assert!(found.len() > 50, "the repository is found");
    found
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<Source>) {
    let entries = fs::read_dir(directory).expect("a directory of the repository");
    for entry in entries {
        let entry = entry.expect("an entry of it");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() && name != "target" && name != ".git" {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if kind.is_file() && name != ".git" {
            let bytes = fs::read(entry.path()).expect("a file of the repository");
            found.push(Source { path, bytes });
        }
    }
}

fn rust_sources() -> Vec<Source> {
    let mut found = sources();
    found.retain(|source| source.path.ends_with(".rs"));
    found
}

/// Fails with every offence, one a line.
fn must_be_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

/// Where files that `wanted` picks name one of `words` in code, tests apart.
fn naming(words: &[&str], wanted: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut offences = Vec::new();
    for source in rust_sources().iter().filter(|source| wanted(source)) {
        for (number, word) in Code::without_tests(&source.text()).words() {
            if words.contains(&word.as_str()) {
                offences.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    offences
}

fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).expect("a manifest");
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            found.insert(line.get(..end).unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn the_planes_meet_in_the_contract_only() {
    let rules: [(&str, &[&str]); 4] = [
        (
            "contract",
            &["af-xdp", "dataplane", "controlplane", "tandem"],
        ),
        (
            "dataplane/af-xdp",
            &["contract", "dataplane", "controlplane"],
        ),
        ("dataplane", &["controlplane"]),
        ("controlplane", &["dataplane", "af-xdp"]),
    ];
    for (package, never) in rules {
        let found = dependencies(&format!("{package}/Cargo.toml"));
        for name in never {
            assert!(!found.contains(*name), "{package} depends on {name}");
        }
    }
    assert!(
        dependencies("controlplane/Cargo.toml").contains("contract"),
        "manifests are read"
    );
}

#[test]
fn the_packet_path_is_pure() {
    // What a heap, a clock, a lock, a socket or a system call is reached by. `Box<[T]>` as the type of
    // a table is none: it was allocated elsewhere, at the start.
    const NEVER: &[&str] = &[
        "libc",
        "nix",
        "rustix",
        "af_xdp",
        "fs",
        "io",
        "thread",
        "env",
        "UdpSocket",
        "TcpStream",
        "UnixStream",
        "Instant",
        "SystemTime",
        "Clock",
        "Mutex",
        "RwLock",
        "Condvar",
        "mpsc",
        "OnceLock",
        "LazyLock",
        "crossbeam",
        "Arc",
        "Rc",
        "Vec",
        "vec",
        "String",
        "format",
        "VecDeque",
        "HashMap",
        "BTreeMap",
        "collect",
        "to_vec",
        "to_owned",
        "to_string",
        "into_boxed_slice",
    ];
    const PURE: &[&str] = &[
        "pipeline",
        "classify",
        "flow_table",
        "latch",
        "rewrite",
        "wire",
    ];
    let is_pure = |source: &Source| {
        PURE.iter()
            .any(|module| source.is_within(&format!("dataplane/src/{module}")))
    };
    assert!(rust_sources().iter().filter(|each| is_pure(each)).count() >= PURE.len());
    let mut offences = naming(NEVER, is_pure);
    for source in rust_sources().iter().filter(|source| is_pure(source)) {
        let code = Code::without_tests(&source.text());
        for (number, line) in code.lines() {
            if line.contains("Box::new") {
                offences.push(format!("{}:{number}: Box::new", source.path));
            }
        }
    }
    must_be_none(
        "the packet path names no heap, clock, lock or kernel",
        &offences,
    );
}

#[test]
fn unsafe_has_one_address() {
    let mut offences = Vec::new();
    for source in rust_sources() {
        if source.is_within("dataplane/af-xdp") {
            continue;
        }
        for (number, word) in Code::new(&source.text()).words() {
            if word == "unsafe" {
                offences.push(format!("{}:{number}", source.path));
            }
        }
    }
    must_be_none("unsafe code stands in dataplane/af-xdp only", &offences);
    for crate_root in [
        "src/main.rs",
        "contract/src/lib.rs",
        "dataplane/src/lib.rs",
        "controlplane/src/lib.rs",
    ] {
        let text = fs::read_to_string(root().join(crate_root)).expect("a crate's root");
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{crate_root} forbids unsafe code"
        );
    }
}

#[test]
fn sockets_are_touched_at_the_edge_only() {
    const SOCKETS: &[&str] = &[
        "UdpSocket",
        "TcpListener",
        "TcpStream",
        "UnixListener",
        "UnixStream",
        "UnixDatagram",
        "socket2",
        "mio",
        "nix",
        "libc",
        "rustix",
    ];
    const EDGE: &[&str] = &[
        "controlplane/src/server",
        "controlplane/src/transport",
        "controlplane/src/netlink",
        "src/admin",
        "src/hep",
        "src/media/forwarder",
        "src/cli/client",
        "src/cli/ng/datagrams",
        "dataplane/af-xdp",
    ];
    let offences = naming(SOCKETS, |source| {
        !source.is_test() && !EDGE.iter().any(|edge| source.is_within(edge))
    });
    must_be_none("only the edge touches sockets", &offences);
}

#[test]
fn clocks_are_read_by_the_loops_only() {
    const LOOPS: &[&str] = &[
        "controlplane/src/server",
        "dataplane/src/worker",
        "dataplane/src/clock",
        "dataplane/src/dataplane",
        "src",
    ];
    let offences = naming(&["Instant", "SystemTime"], |source| {
        !source.is_test()
            && !source.is_within("dataplane/af-xdp")
            && !LOOPS.iter().any(|each| source.is_within(each))
    });
    must_be_none("time is an argument below the event loops", &offences);
}

#[test]
fn modules_of_the_control_plane_know_only_their_neighbours() {
    // A module, and the modules of its crate that it must not name.
    let edge = ["server", "transport", "netlink", "agent", "b2bua"];
    let rules: &[(&str, &[&str])] = &[
        ("sip", &["sdp", "session", "transaction", "neighbours"]),
        (
            "sdp",
            &["sip", "session", "transaction", "dialog", "neighbours"],
        ),
        ("transaction", &["sdp", "session", "dialog", "neighbours"]),
        (
            "session",
            &["sip", "transaction", "dialog", "routing", "ng"],
        ),
        (
            "installer",
            &["sip", "sdp", "session", "transaction", "dialog"],
        ),
        ("relay_ports", &["sip", "sdp", "session", "transaction"]),
        (
            "resolver",
            &["sip", "sdp", "session", "transaction", "dialog", "routing"],
        ),
        ("neighbours", &["sip", "sdp", "session", "transaction"]),
        ("netlink", &["sip", "sdp", "session", "transaction"]),
        (
            "transport",
            &["sip", "sdp", "session", "transaction", "neighbours"],
        ),
    ];
    let mut offences = Vec::new();
    for source in rust_sources() {
        for (module, never) in rules {
            if !source.is_within(&format!("controlplane/src/{module}")) {
                continue;
            }
            for (number, used) in modules_used(&Code::without_tests(&source.text())) {
                let outward = edge.contains(&used.as_str()) && used != *module;
                if outward || never.contains(&used.as_str()) {
                    offences.push(format!("{}:{number}: crate::{used}", source.path));
                }
            }
        }
    }
    must_be_none("modules know their neighbours only", &offences);
}

#[test]
fn there_is_no_async_runtime() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for runtime in ["tokio", "async-std", "smol"] {
        let line = format!("name = \"{runtime}\"");
        assert!(
            !lock.lines().any(|each| each == line),
            "{runtime} is in Cargo.lock"
        );
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    const MOST_LINES: usize = 900;
    let mut offences = Vec::new();
    for source in rust_sources() {
        let text = source.text();
        if !text.starts_with("//! ") {
            offences.push(format!("{}: does not open with a //! doc", source.path));
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            offences.push(format!("{}: {lines} lines", source.path));
        }
    }
    must_be_none("a file holds one idea, and says which", &offences);
}

#[test]
fn nothing_names_the_tools_and_places_of_its_making() {
    // FNV-1a of lower-case words, so that this list is not among the offenders.
    const TOOLS: &[u64] = &[
        0x2391_9480_3edf_98f7,
        0x2524_b426_1996_11b3,
        0x8a1b_8f4a_0a91_3503,
        0x7f7a_7547_86a6_64b8,
        0xa113_d274_5d70_6ce3,
        0x2ffb_778d_fae5_4384,
        0x125b_6919_1db9_4ab8,
        0xea9e_60ad_81da_16f1,
        0xd523_5518_fae1_f922,
        0x04dc_2554_6038_2976,
        0x7a3c_735f_7f6d_b37f,
    ];
    // First directories of absolute paths that exist on the author's machine only.
    const PLACES: [&str; 4] = ["root", "home", "Users", "work"];
    let places = PLACES.map(|place| format!("/{place}/"));
    let mut offences = Vec::new();
    for source in sources() {
        if source.path == "Cargo.lock" || source.path.starts_with("LICENSE") {
            continue;
        }
        for (index, line) in source.text().lines().enumerate() {
            let number = index + 1;
            for word in line.split(|c: char| !c.is_ascii_alphanumeric()) {
                if TOOLS.contains(&fnv1a(&word.to_ascii_lowercase())) {
                    offences.push(format!("{}:{number}: {word}", source.path));
                }
            }
            for place in &places {
                let absolute = line.match_indices(place.as_str()).any(|(at, _)| {
                    let before = line.get(..at).and_then(|text| text.chars().next_back());
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}$~/".contains(c))
                });
                if absolute {
                    offences.push(format!("{}:{number}: {place}", source.path));
                }
            }
        }
    }
    must_be_none("the product says nothing of how it was made", &offences);
}

fn fnv1a(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
