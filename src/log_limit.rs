//! A bound on the log: no place in the code writes more than so many messages a second.
//!
//! A fault that repeats with every packet or call must not fill the disk, nor hide what else is said. What was left
//! out is counted and told with the next message of the same place.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The target of what this layer says itself, which it never holds back.
const OWN: &str = "tandem::log_limit";

/// The time that the bound is for.
const WINDOW: Duration = Duration::from_secs(1);

/// The layer. Messages for debugging and tracing are not bounded: who asks for them wants them all.
#[derive(Debug)]
pub(crate) struct LogLimit {
    /// Messages of one place in a second; 0: no bound.
    most: u32,
    places: Mutex<HashMap<Identifier, Place>>,
}

/// One place in the code: there are as many as there are messages in the sources, so the table needs no bound.
#[derive(Debug)]
struct Place {
    since: Instant,
    said: u32,
    suppressed: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Said,
    /// Said, after so many were not.
    SaidAfter(u64),
    Suppressed,
}

impl LogLimit {
    /// Lets so many messages of a place through in a second; 0: all.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            places: Mutex::default(),
        }
    }

    fn decide(&self, place: Identifier, now: Instant) -> Fate {
        // Whoever panicked with the lock left counts, nothing more.
        let mut places = self
            .places
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place {
            since: now,
            said: 0,
            suppressed: 0,
        });
        if now.duration_since(place.since) >= WINDOW {
            place.since = now;
            place.said = 0;
        }
        if place.said >= self.most {
            place.suppressed += 1;
            return Fate::Suppressed;
        }
        place.said += 1;
        match std::mem::take(&mut place.suppressed) {
            0 => Fate::Said,
            suppressed => Fate::SaidAfter(suppressed),
        }
    }

    fn is_bounded(&self, metadata: &Metadata<'_>) -> bool {
        self.most > 0 && *metadata.level() <= Level::INFO && metadata.target() != OWN
    }
}

impl<S: Subscriber> Layer<S> for LogLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !self.is_bounded(metadata) {
            return true;
        }
        match self.decide(metadata.callsite(), Instant::now()) {
            Fate::Said => true,
            Fate::Suppressed => false,
            Fate::SaidAfter(suppressed) => {
                tracing::warn!(
                    target: OWN,
                    suppressed,
                    place = format!(
                        "{}:{}",
                        metadata.file().unwrap_or_default(),
                        metadata.line().unwrap_or_default()
                    ),
                    "messages like the next were left out"
                );
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(most: u32, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry()
            .with(lines)
            .with(LogLimit::new(most));
        tracing::subscriber::with_default(subscriber, act);
        let bytes = sink.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_place_says_so_much_a_second_and_how_much_it_did_not_say() {
        let text = logged(3, || {
            for round in 0..2 {
                for _ in 0..10 {
                    tracing::warn!(round, "often");
                }
                tracing::warn!(round, "elsewhere");
                for _ in 0..10 {
                    tracing::debug!("asked for");
                }
                std::thread::sleep(WINDOW);
            }
        });
        assert_eq!(text.matches("often").count(), 6, "{text}");
        assert_eq!(text.matches("elsewhere").count(), 2);
        assert_eq!(text.matches("asked for").count(), 20);
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let limit = LogLimit::new(2);
        let start = Instant::now();
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let place = tracing::debug_span!("a place")
                .metadata()
                .map(Metadata::callsite);
            let place = place.expect("it is enabled");
            let decide = |after| limit.decide(place.clone(), start + Duration::from_millis(after));
            assert_eq!(
                [0, 1, 2, 999].map(decide),
                [Fate::Said, Fate::Said, Fate::Suppressed, Fate::Suppressed]
            );
            assert_eq!(decide(1000), Fate::SaidAfter(2));
            assert_eq!(decide(1001), Fate::Said);
            assert_eq!(decide(1002), Fate::Suppressed);
        });
    }

    #[test]
    fn without_a_bound_everything_is_said() {
        let text = logged(0, || {
            for _ in 0..50 {
                tracing::info!("free");
            }
        });
        assert_eq!(text.matches("free").count(), 50);
    }
}
