//! The files that can be played by their names, and how they become audio. Reads files, so that it has a thread of its
//! own: a slow disk must not hold up what is being played.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use contract::{PlayFormat, PlaySource, Playing, ServiceEvent, ServiceOrder};

use super::counts::Counts;
use super::g711::Law;
use super::player::{Prepared, ToPlayer};
use super::said::Said;
use super::wav::Audio;

/// No file is longer, in bytes: half an hour of 16-bit PCM.
const LARGEST: u64 = 32 << 20;
/// Bytes of all audio that is being played.
const ROOM: usize = 512 << 20;

/// What is remembered of a file: when it was written, its length, and its audio while somebody plays it.
type Remembered = (SystemTime, u64, Weak<[u8]>);

/// Finds audio.
pub(crate) struct Announcements {
    root: Option<PathBuf>,
    files: HashMap<(PathBuf, Law), Remembered>,
    /// Audio that may still be played.
    audio: Vec<Weak<[u8]>>,
}

impl Announcements {
    /// With the files below this directory; `None`: with none.
    pub(crate) fn open(root: Option<&Path>) -> std::io::Result<Self> {
        Ok(Self {
            root: root.map(Path::canonicalize).transpose()?,
            files: HashMap::new(),
            audio: Vec::new(),
        })
    }

    /// Until the other end is gone.
    pub(super) fn run(
        mut self,
        inbox: &Receiver<ServiceOrder>,
        player: &SyncSender<ToPlayer>,
        said: &Said,
        counts: &Counts,
    ) {
        while let Ok(order) = inbox.recv() {
            let message = match order {
                ServiceOrder::StopPlaying(play) => ToPlayer::Stop(play),
                ServiceOrder::Play(playing) => match self.prepare(&playing) {
                    Ok(prepared) => ToPlayer::Play(Box::new(prepared)),
                    Err(reason) => {
                        counts.plays_failed.add(1);
                        let play = playing.play;
                        said.say(ServiceEvent::NotPlaying { play, reason });
                        continue;
                    }
                },
                _ => continue,
            };
            if player.send(message).is_err() {
                break;
            }
        }
    }

    /// Reads and converts what is to be played; or says why not.
    pub(crate) fn prepare(&mut self, playing: &Playing) -> Result<Prepared, String> {
        let (law, payload_type) = match playing.formats.first() {
            Some(PlayFormat::Pcmu(payload_type)) => (Law::Mu, *payload_type),
            Some(PlayFormat::Pcma(payload_type)) => (Law::A, *payload_type),
            None => return Err("the party understands neither PCMU nor PCMA".to_owned()),
        };
        let audio = match &playing.source {
            PlaySource::File(name) => self.of_file(name, law)?,
            PlaySource::Blob(bytes) if bytes.len() as u64 > LARGEST => return Err(too_large()),
            PlaySource::Blob(bytes) => self.convert(bytes, law)?,
        };
        Prepared::new(playing, audio, law, payload_type)
            .ok_or_else(|| "there is no audio from where it is to begin".to_owned())
    }

    fn of_file(&mut self, name: &str, law: Law) -> Result<Arc<[u8]>, String> {
        let path = self.find(name)?;
        let failed = |error: std::io::Error| format!("cannot read {name:?}: {error}");
        let meta = path.metadata().map_err(failed)?;
        // What is no file may wait for ever to be opened.
        if !meta.is_file() {
            return Err(format!("{name:?} is no file"));
        }
        if meta.len() > LARGEST {
            return Err(too_large());
        }
        let written = meta.modified().map_err(failed)?;
        let known = self.files.get(&(path.clone(), law));
        let known = known.filter(|(at, length, _)| (*at, *length) == (written, meta.len()));
        if let Some(audio) = known.and_then(|(_, _, audio)| audio.upgrade()) {
            return Ok(audio);
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(failed)?;
        file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
        let audio = self.convert(&bytes, law)?;
        self.files
            .retain(|_, (_, _, audio)| audio.strong_count() > 0);
        let remembered = (written, meta.len(), Arc::downgrade(&audio));
        self.files.insert((path, law), remembered);
        Ok(audio)
    }

    /// The file that a name means, which is below the directory, whatever links say.
    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let root = self.root.as_ref();
        let root = root.ok_or("no directory of announcements is configured")?;
        let path = root.join(name).canonicalize();
        let path = path.map_err(|error| format!("cannot find {name:?}: {error}"))?;
        match path.starts_with(root) {
            true => Ok(path),
            false => Err(format!(
                "{name:?} is outside the directory of announcements"
            )),
        }
    }

    fn convert(&mut self, bytes: &[u8], law: Law) -> Result<Arc<[u8]>, String> {
        let read = Audio::read(bytes).map_err(|error| error.to_string())?;
        self.audio.retain(|audio| audio.strong_count() > 0);
        let others = self.audio.iter().filter_map(Weak::upgrade);
        let in_use: usize = others.map(|audio| audio.len()).sum();
        if in_use + read.samples() > ROOM {
            return Err(format!(
                "{in_use} bytes of audio are being played: no more is taken"
            ));
        }
        let audio: Arc<[u8]> = read.encode(law).into();
        self.audio.push(Arc::downgrade(&audio));
        Ok(audio)
    }
}

fn too_large() -> String {
    format!("it is longer than {LARGEST} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::wav::tests::mu_law_file;
    use contract::PlayId;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    fn playing(source: PlaySource, formats: &[PlayFormat]) -> Playing {
        Playing {
            play: PlayId(1),
            keys: Vec::new(),
            source,
            formats: formats.to_vec(),
            ptime: Duration::from_millis(20),
            times: 1,
            longest: None,
            start: Duration::ZERO,
        }
    }

    fn file(name: &str) -> Playing {
        playing(PlaySource::File(name.to_owned()), &[PlayFormat::Pcma(8)])
    }

    #[test]
    fn files_are_found_below_their_directory_alone() {
        let outside = tempfile::tempdir().expect("a directory");
        let secret = outside.path().join("secret.wav");
        fs::write(&secret, mu_law_file(&[0xff; 9])).expect("it is ours");
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("below")).expect("it is ours");
        let inside = root.join("below/one.wav");
        fs::write(&inside, mu_law_file(&[0x80; 9])).expect("it is ours");
        symlink(&secret, root.join("out.wav")).expect("it is ours");
        symlink(&inside, root.join("in.wav")).expect("it is ours");
        let mut announcements = Announcements::open(Some(&root)).expect("it is there");
        let inside = inside.to_str().expect("text");
        for name in ["below/one.wav", "in.wav", "below/../in.wav", inside] {
            let prepared = announcements.prepare(&file(name)).expect(name);
            assert_eq!(prepared.audio[..], [0xaa; 9]);
        }
        let secret = secret.to_str().expect("text");
        for (name, reason) in [
            ("out.wav", "is outside"),
            ("../secret.wav", "is outside"),
            (secret, "is outside"),
            ("/dev/zero", "is outside"),
            ("below", "is no file"),
            ("none.wav", "No such file"),
            ("in.wav\0", "cannot find"),
        ] {
            let refused = announcements.prepare(&file(name)).expect_err(name);
            assert!(refused.contains(reason), "{refused}");
        }
        let mut none = Announcements::open(None).expect("nothing is opened");
        assert!(none.prepare(&file(inside)).is_err());
    }

    #[test]
    fn a_file_is_read_once_while_it_is_played_and_again_when_it_was_changed() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a.wav");
        fs::write(&path, mu_law_file(&[0x80; 9])).expect("it is ours");
        let mut announcements = Announcements::open(Some(root.path())).expect("it is there");
        let mut prepare = || announcements.prepare(&file("a.wav")).expect("a file").audio;
        let (first, second) = (prepare(), prepare());
        assert!(Arc::ptr_eq(&first, &second));
        fs::write(&path, mu_law_file(&[0x00; 3])).expect("it is ours");
        assert_eq!(prepare()[..], [0x2a; 3]);
    }

    #[test]
    fn blobs_and_formats() {
        let mut announcements = Announcements::open(None).expect("nothing is opened");
        let blob = || PlaySource::Blob(mu_law_file(&[0x80; 4]));
        let formats = [PlayFormat::Pcmu(96), PlayFormat::Pcma(8)];
        let prepared = announcements.prepare(&playing(blob(), &formats));
        let prepared = prepared.expect("it can be played");
        assert_eq!(
            (&prepared.audio[..], prepared.payload_type),
            (&[0x80; 4][..], 96)
        );
        assert!(announcements.prepare(&playing(blob(), &[])).is_err());
        let mut late = playing(blob(), &formats);
        late.start = Duration::from_secs(1);
        assert!(announcements.prepare(&late).is_err());
        let junk = PlaySource::Blob(vec![0; 99]);
        assert!(announcements.prepare(&playing(junk, &formats)).is_err());
    }
}
