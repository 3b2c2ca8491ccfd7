//! A real name server in a namespace: dnsmasq, which knows what its command line says and nothing else.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::network::Host;

/// A running dnsmasq at port 53 of an address; killed when dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    process: Child,
}

impl NameServer {
    /// Starts one that knows these records, in dnsmasq's own options, such as
    /// `srv-host=_sip._udp.carrier.example,gw.carrier.example,5060,10,0`.
    #[track_caller]
    pub(crate) fn start(host: &Host, address: &str, records: &[&str]) -> Self {
        let mut command = host.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file",
            ])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
                "--user=root",
            ])
            .args([
                "--local-ttl=2",
                "--local=/example/",
                "--log-facility=/dev/null",
            ])
            .arg(format!("--listen-address={address}"))
            .args(records.iter().map(|record| format!("--{record}")));
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self {
            process: started.expect("scripts/test installs dnsmasq-base"),
        };
        server.wait_until_heard(host, address);
        server
    }

    /// It takes queries and does not answer them.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It answers again.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("dnsmasq runs");
    }

    #[track_caller]
    fn wait_until_heard(&self, host: &Host, address: &str) {
        let end = Instant::now() + Duration::from_secs(5);
        let bound = format!("{address}:53");
        while !host.run("ss -Hlun").contains(&bound) {
            assert!(Instant::now() < end, "dnsmasq does not listen at {bound}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
