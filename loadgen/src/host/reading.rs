//! What users of groups in answer delivery sign, seal and verify with, and how long verifying takes.

use crate::keys::{AuthorKeys, Secret, SenderKeys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use twincast_client::{Author, Known};
use twincast_protocol::ids::UserId;

/// What the members of one group are known by on this host. A sender whom many read is worked out once.
#[derive(Debug)]
pub(super) struct KeyRing {
    members: Secret,
    group: u32,
    senders: RefCell<HashMap<UserId, Rc<SenderKeys>>>,
}

impl KeyRing {
    pub(super) fn new(members: &Secret, group: u32) -> KeyRing {
        KeyRing { members: members.clone(), group, senders: RefCell::default() }
    }

    fn author(&self, user: u32) -> AuthorKeys {
        self.members.author(self.group, UserId(user))
    }

    fn sender(&self, sender: UserId) -> Rc<SenderKeys> {
        let mut senders = self.senders.borrow_mut();
        Rc::clone(senders.entry(sender).or_insert_with(|| Rc::new(self.members.sender(self.group, sender))))
    }
}

/// The keys of one connection's users, and of those whom they read.
#[derive(Debug)]
pub(super) struct Reading {
    ring: Rc<KeyRing>,
    /// By position.
    authors: Vec<AuthorKeys>,
    /// The sender who was asked about last.
    known: Option<Rc<SenderKeys>>,
    /// Since when the answers of a round are verified, and how many were.
    since: Option<Duration>,
    answers: u32,
}

impl Reading {
    pub(super) fn new(ring: &Rc<KeyRing>, users: &[u32]) -> Reading {
        let authors = users.iter().map(|user| ring.author(*user)).collect();
        Reading { ring: ring.clone(), authors, known: None, since: None, answers: 0 }
    }

    /// What the record of the user at a position is made with; cover, if nobody reads it.
    pub(super) fn author(&self, position: usize, user: UserId, is_read: bool) -> Option<Author<'_>> {
        let keys = self.authors.get(position)?;
        Some(Author { signing: &keys.signing, readers: is_read.then(|| keys.readers(user)) })
    }

    /// Works out what a sender is known by before it is needed.
    pub(super) fn prepare(&self, sender: UserId) {
        self.ring.sender(sender);
    }

    /// What is known of a sender.
    pub(super) fn known(&mut self, sender: UserId) -> Known<'_> {
        let keys = self.known.insert(self.ring.sender(sender));
        Known { verifying: keys.verifying, readers: Some(keys.readers(sender)) }
    }

    /// Answers of a round are verified from here on, if they are not already.
    pub(super) fn begin(&mut self, now: impl FnOnce() -> Duration) {
        self.since.get_or_insert_with(now);
    }

    /// A verdict on one of them is there.
    pub(super) fn judged(&mut self) {
        self.answers += 1;
    }

    /// All are verified: how long it took for each.
    pub(super) fn end(&mut self, now: Duration) -> Option<Duration> {
        let answers = std::mem::take(&mut self.answers);
        let since = self.since.take()?;
        now.saturating_sub(since).checked_div(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_known_as_its_own_host_has_it() {
        let members = Secret::random();
        let ring = Rc::new(KeyRing::new(&members, 3));
        let mut reading = Reading::new(&ring, &[4, 9]);
        let author = reading.author(1, UserId(9), true).unwrap();
        let (verifying, set) = (author.signing.verifying_key(), author.readers.unwrap().recipient_set);
        assert!(reading.author(1, UserId(9), false).unwrap().readers.is_none(), "cover");
        assert!(reading.author(2, UserId(9), true).is_none());
        let known = reading.known(UserId(9));
        assert_eq!((known.verifying, known.readers.unwrap().recipient_set), (verifying, set));
        assert_ne!(reading.known(UserId(4)).verifying, verifying);
        assert_eq!(ring.senders.borrow().len(), 2);
    }

    #[test]
    fn the_time_of_a_connections_answers_is_shared_among_them() {
        let ring = Rc::new(KeyRing::new(&Secret::random(), 0));
        let mut reading = Reading::new(&ring, &[1]);
        let at = Duration::from_millis;
        assert_eq!(reading.end(at(9)), None, "nothing was read");
        reading.begin(|| at(10));
        reading.begin(|| panic!("it is begun"));
        (0..4).for_each(|_| reading.judged());
        assert_eq!(reading.end(at(30)), Some(at(5)));
        assert_eq!(reading.end(at(40)), None);
    }
}
