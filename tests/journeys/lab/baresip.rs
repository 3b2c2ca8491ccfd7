//! baresip as a user: Debian's own, driven through its control socket. It sends a tone, and keeps what it hears.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::network::{Host, at};
use super::tone;

const PATIENCE: Duration = Duration::from_secs(10);
const CONTROL: u16 = 4444;

/// How one is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User<'a> {
    /// Who it is, and is called as.
    pub(crate) name: &'a str,
    /// Its host's address.
    pub(crate) address: &'a str,
    /// Where its requests go: `sip:10.1.0.1:5060`.
    pub(crate) proxy: &'a str,
    /// `auto` answers each call, `manual` does not.
    pub(crate) answers: &'a str,
    /// More parameters of its account: `;auth_user=...`.
    pub(crate) account: &'a str,
    /// What it plays, in Hz.
    pub(crate) tone: u32,
    /// More lines for its configuration.
    pub(crate) config: &'a str,
}

/// A running baresip; killed when dropped.
#[derive(Debug)]
pub(crate) struct Baresip {
    process: Child,
    control: TcpStream,
    unread: Vec<u8>,
    said: VecDeque<Value>,
    directory: TempDir,
}

impl Baresip {
    /// Starts one at port 5060 of its address, and waits until it can be told what to do.
    #[track_caller]
    pub(crate) fn start(host: &Host, user: &User<'_>) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        user.write(directory.path());
        let log = File::create(directory.path().join("log")).expect("the directory is new");
        let errors = log.try_clone().expect("file descriptors are left");
        let mut process = host
            .command("baresip")
            .arg("-f")
            .arg(directory.path())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("ip netns exec starts");
        let end = Instant::now() + PATIENCE;
        let address = at(user.address, CONTROL);
        let control = loop {
            if let Ok(control) = host.within(|| TcpStream::connect(address)) {
                break control;
            }
            let ended = process.try_wait().ok().flatten();
            let log = || std::fs::read_to_string(directory.path().join("log"));
            assert!(
                ended.is_none() && Instant::now() < end,
                "baresip (scripts/test installs it) does not listen: {ended:?}\n{}",
                log().unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            process,
            control,
            unread: Vec::new(),
            said: VecDeque::new(),
            directory,
        }
    }

    /// Has it do something: `dial`, `hold`, `resume`, `hangup`, ... It must have understood.
    #[track_caller]
    pub(crate) fn does(&mut self, command: &str, parameters: &str) {
        self.tell(command, parameters);
        let answer = self.expect(command, |said| said["token"] == command);
        assert_eq!(answer["ok"], true, "{command}: {answer}");
    }

    #[track_caller]
    fn tell(&mut self, command: &str, parameters: &str) {
        let text = json!({ "command": command, "params": parameters, "token": command });
        let text = text.to_string();
        let framed = format!("{}:{text},", text.len());
        self.control
            .write_all(framed.as_bytes())
            .expect("baresip listens");
    }

    /// The next event of a type, such as `CALL_ESTABLISHED`; those before it are forgotten.
    #[track_caller]
    pub(crate) fn expect_event(&mut self, kind: &str) -> Value {
        self.expect(kind, |said| said["type"] == kind)
    }

    #[track_caller]
    fn expect(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.said.iter().position(&fits) {
                self.said.drain(..place);
                return self.said.pop_front().expect("position found it");
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} of baresip:\n{}", self.log());
            self.read(left);
        }
    }

    /// Netstrings of JSON: `LENGTH:TEXT,`.
    #[track_caller]
    fn read(&mut self, patience: Duration) {
        self.control
            .set_read_timeout(Some(patience.max(Duration::from_millis(1))))
            .expect("the patience is not zero");
        let mut buffer = [0; 4096];
        let Ok(count) = self.control.read(&mut buffer) else {
            return;
        };
        assert!(count > 0, "baresip has ended:\n{}", self.log());
        self.unread.extend(&buffer[..count]);
        while let Some(colon) = self.unread.iter().position(|byte| *byte == b':') {
            let length = std::str::from_utf8(&self.unread[..colon]).ok();
            let length: usize = length
                .and_then(|text| text.parse().ok())
                .expect("a netstring");
            let end = colon + 1 + length;
            if self.unread.len() <= end {
                return;
            }
            let text = &self.unread[colon + 1..end];
            self.said
                .push_back(serde_json::from_slice(text).expect("JSON"));
            self.unread.drain(..=end);
        }
    }

    /// Ends it. What it has heard, at 8 kHz.
    #[track_caller]
    pub(crate) fn heard(mut self) -> Vec<i16> {
        self.tell("quit", "");
        let end = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            assert!(Instant::now() < end, "baresip goes on:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        let files = std::fs::read_dir(self.directory.path()).expect("a directory of ours");
        let kept = files
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with("-dec.wav"));
        let kept = kept.unwrap_or_else(|| panic!("baresip has heard nothing:\n{}", self.log()));
        tone::read_wav(&kept)
    }

    /// What it wrote.
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- baresip's log ---\n{}", self.log());
        }
    }
}

impl User<'_> {
    /// Its configuration, its account and its tone. Without a jitter buffer nothing that came is kept back.
    fn write(&self, directory: &Path) {
        let place = directory.display();
        let address = self.address;
        let host = match address.parse() {
            Ok(IpAddr::V6(_)) => format!("[{address}]"),
            _ => address.to_owned(),
        };
        let write = |name: &str, text: String| {
            std::fs::write(directory.join(name), text).expect("the directory can be written to");
        };
        let sip = match self.config.contains("sip_listen") {
            true => String::new(),
            false => format!("sip_listen {host}:5060\n"),
        };
        write(
            "config",
            format!(
                "poll_method epoll\n{sip}net_interface up0\n\
                 audio_source aufile,{place}/tone.wav\naudio_alert nil,nil\nausrc_srate 8000\nausrc_channels 1\n\
                 jitter_buffer_type off\nsnd_path {place}\nctrl_tcp_listen {host}:{CONTROL}\n\
                 module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\nmodule sndfile.so\n\
                 module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n{}\n",
                self.config
            ),
        );
        write(
            "accounts",
            format!(
                "<sip:{}@{host}>;outbound=\"{}\";regint=0;audio_codecs=PCMA/8000/1;answermode={}{}\n",
                self.name, self.proxy, self.answers, self.account
            ),
        );
        tone::write_wav(&directory.join("tone.wav"), self.tone, 30);
    }
}
