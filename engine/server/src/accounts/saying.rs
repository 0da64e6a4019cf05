//! What this server says to the other one of users' keys: each once in a while, and so many in a second.
//!
//! Keys go over the one link that rounds go over, in order, and the other server verifies each. What strangers make this
//! server say must not keep rounds waiting, so all of it is said at a bounded pace, and only as the link has room.

use super::book::Who;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use twincast_protocol::identity::KEY_BYTES;

/// How long a server that has said a key does not say it again.
pub(super) const SAID: Duration = Duration::from_secs(1);

/// Keys that are said in a second at the most: the other server verifies each, in a tenth of a millisecond or so.
pub(super) const KEYS_SAID_PER_SECOND_MAX: u32 = 4_096;

/// Keys that are said at once, after a while without any.
pub(super) const KEYS_SAID_AT_ONCE_MAX: u32 = 512;

/// What one key uses up of a second.
const EACH: Duration = Duration::from_nanos(1_000_000_000 / KEYS_SAID_PER_SECOND_MAX as u64);

/// A user's number, and a key that it has or that waits for it.
type Key = (Who, [u8; KEY_BYTES]);

/// What is to be said, and what was.
#[derive(Debug, Default)]
pub(super) struct Saying {
    is_up: bool,
    queue: VecDeque<Key>,
    said: HashMap<Key, Said>,
    /// Up to when the pace is used up.
    used_up: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    /// Not yet: it is in the queue.
    Not,
    At(Instant),
}

impl Saying {
    /// A new session of the link: nothing was said in it.
    pub(super) fn up(&mut self) {
        self.down();
        self.is_up = true;
    }

    /// The link is down: nobody hears anything, and what is to be said is found when it is up.
    pub(super) fn down(&mut self) {
        self.is_up = false;
        self.queue.clear();
        self.said.clear();
    }

    /// A key is to be said, unless it was just now.
    pub(super) fn want(&mut self, who: Who, key: [u8; KEY_BYTES], now: Instant) {
        let recent = match self.said.get(&(who, key)) {
            Some(Said::Not) => true,
            Some(Said::At(at)) => now < *at + SAID,
            None => false,
        };
        if self.is_up && !recent {
            self.said.insert((who, key), Said::Not);
            self.queue.push_back((who, key));
        }
    }

    /// What was said of a key is no word of what there is now.
    pub(super) fn forget(&mut self, who: Who, key: [u8; KEY_BYTES]) {
        if matches!(self.said.get(&(who, key)), Some(Said::At(_))) {
            self.said.remove(&(who, key));
        }
    }

    /// The same of what was said before this moment.
    pub(super) fn forget_older(&mut self, who: Who, key: [u8; KEY_BYTES], now: Instant) {
        if matches!(self.said.get(&(who, key)), Some(Said::At(at)) if *at < now) {
            self.said.remove(&(who, key));
        }
    }

    /// What is next, if the pace allows it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Key> {
        if self.used_up.is_some_and(|used_up| used_up > now + EACH * KEYS_SAID_AT_ONCE_MAX) {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.said.remove(&next);
        Some(next)
    }

    /// It is said.
    pub(super) fn spoke(&mut self, key: Key, now: Instant) {
        self.said.insert(key, Said::At(now));
        self.used_up = Some(self.used_up.map_or(now, |used_up| used_up.max(now)) + EACH);
    }

    /// Whether something waits to be said.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What was said long ago is forgotten.
    pub(super) fn expire(&mut self, now: Instant) {
        self.said.retain(|_, said| match said {
            Said::Not => true,
            Said::At(at) => now < *at + SAID,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::ids::{GroupId, UserId};

    const KEY: [u8; KEY_BYTES] = [1; KEY_BYTES];

    fn who(user: u32) -> Who {
        (GroupId(1), UserId(user))
    }

    fn speak(saying: &mut Saying, now: Instant) -> usize {
        std::iter::from_fn(|| {
            let key = saying.next(now)?;
            saying.spoke(key, now);
            Some(())
        })
        .count()
    }

    #[test]
    fn keys_are_said_at_a_pace_however_many_are_wanted() {
        let mut saying = Saying::default();
        saying.up();
        let mut now = Instant::now();
        let wanted = 4 * KEYS_SAID_PER_SECOND_MAX;
        (0..wanted).for_each(|user| saying.want(who(user), KEY, now));
        let at_once = speak(&mut saying, now);
        assert_eq!(at_once, KEYS_SAID_AT_ONCE_MAX as usize + 1);
        assert_eq!(speak(&mut saying, now), 0);
        let mut later = 0;
        for _ in 0..1_000 {
            now += Duration::from_millis(1);
            later += speak(&mut saying, now);
        }
        let second = KEYS_SAID_PER_SECOND_MAX as usize;
        assert!((second - 8..=second + 8).contains(&later), "{later} in a second");
        assert!(saying.is_waiting());
        // Whatever time passes, no more than that goes at once.
        now += Duration::from_secs(60);
        assert_eq!(speak(&mut saying, now), KEYS_SAID_AT_ONCE_MAX as usize + 1);
    }

    #[test]
    fn a_key_is_said_once_in_a_while_and_waits_once() {
        let mut saying = Saying::default();
        let now = Instant::now();
        saying.want(who(1), KEY, now);
        assert!(!saying.is_waiting(), "nobody would hear it");
        saying.up();
        (0..3).for_each(|_| saying.want(who(1), KEY, now));
        saying.want(who(1), [2; KEY_BYTES], now);
        assert_eq!(speak(&mut saying, now), 2);
        saying.want(who(1), KEY, now + SAID / 2);
        assert!(!saying.is_waiting());
        saying.want(who(1), KEY, now + SAID);
        assert_eq!(speak(&mut saying, now + SAID), 1);
        saying.forget_older(who(1), KEY, now + SAID);
        saying.want(who(1), KEY, now + SAID);
        assert!(!saying.is_waiting(), "it was said at this very moment");
        saying.forget_older(who(1), KEY, now + SAID * 3 / 2);
        saying.want(who(1), KEY, now + SAID * 3 / 2);
        assert_eq!(speak(&mut saying, now + SAID * 3 / 2), 1);
        saying.forget(who(1), KEY);
        saying.want(who(1), KEY, now + SAID * 3 / 2);
        assert_eq!(speak(&mut saying, now + SAID * 3 / 2), 1, "it is another word of the same key");
        saying.expire(now + SAID * 4);
        assert!(saying.said.is_empty());
        saying.want(who(2), KEY, now);
        saying.down();
        assert!(!saying.is_waiting() && saying.said.is_empty());
    }
}
