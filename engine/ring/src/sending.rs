//! The way of bytes: what a completion means for its connection, and the next step of one that is ready.

use crate::config::ZeroCopy;
use crate::connection::{CloseReason, Closing, ConnectionKey, Flight, Source};
use crate::egress::Egress;
use crate::limits::{BACKOFF_MS, BATCH_BYTES_MAX};
use crate::lists::List;
use crate::ring::{Completion, Operation, Ring, What};
use crate::slabs::{Filled, Slab};
use crate::user_data::{Kind, UserData};
use std::os::fd::AsRawFd;
use std::time::Duration;

impl<R: Ring, S: Source> Egress<R, S> {
    /// Keeps a poll on the doorbell in the ring.
    pub(crate) fn poll_doorbell(&mut self) {
        if self.doorbell_polled || self.ring.room() == 0 {
            return;
        }
        let user_data = UserData { kind: Kind::Doorbell, slot: 0, generation: 0, slab: 0 }.pack();
        let fd = self.doorbell.eventfd().as_raw_fd();
        self.ring.push(Operation { user_data, what: What::PollInMulti { fd } });
        self.doorbell_polled = true;
    }

    /// Notes what a completion means. Nothing is filled or submitted here.
    pub(crate) fn complete(&mut self, completion: Completion, now: Duration) {
        let UserData { kind, slot, generation, slab } = UserData::unpack(completion.user_data);
        let key = ConnectionKey { slot, generation };
        match kind {
            // What was rung is in the doorbell's state; the completion was only to end the sleep.
            Kind::Doorbell => self.doorbell_polled = completion.more,
            Kind::Cancel => {}
            Kind::Send if completion.notification => self.complete_notification(key, slab, completion.copied),
            Kind::Send => self.complete_send(key, completion, now),
            Kind::Poll => self.complete_poll(key, completion.result),
        }
    }

    fn complete_notification(&mut self, key: ConnectionKey, slab: u16, copied: bool) {
        self.stats.zc_notifications += 1;
        self.stats.zc_copied += u64::from(copied);
        self.pool.notified(slab);
        match self.connections.get_mut(key) {
            Some(connection) => connection.copies |= copied && self.config.zero_copy == ZeroCopy::Auto,
            None => self.stats.late_completions += 1,
        }
    }

    fn complete_send(&mut self, key: ConnectionKey, completion: Completion, now: Duration) {
        let connection = self.connections.get_mut(key).expect("a connection stays until its send completed");
        let flight = std::mem::replace(&mut connection.flight, Flight::None);
        let Flight::Sending(slab) = flight else { panic!("a send completed that was not in flight") };
        let zero_copy = slab.zero_copy();
        let sent = completion.result.max(0) as usize;
        let rest = self.pool.completed(slab, sent, completion.more);
        if sent > 0 {
            connection.source.sent(sent);
            connection.progress_at = now;
            self.stats.sent_bytes += sent as u64;
        }
        if rest.len() == 0 {
            connection.fill_bytes_max = (2 * connection.fill_bytes_max).min(self.config.slab_bytes);
            self.pool.give_back(rest);
            self.ready_to_fill(key.slot);
            return;
        }
        connection.unfinished = Some(rest);
        match -completion.result {
            errno if errno < 0 => {
                self.stats.short_sends += 1;
                connection.full = true;
            }
            // A send that took nothing without an error has met a full socket, too.
            0 | libc::EAGAIN => {
                self.stats.again += 1;
                connection.full = true;
            }
            libc::EINTR => self.stats.interrupted += 1,
            // Zero-copy locks memory of its own for what is not registered; copying needs none.
            libc::ENOBUFS | libc::ENOMEM if zero_copy => {
                self.stats.enobufs += 1;
                connection.copies = true;
            }
            libc::ENOBUFS | libc::ENOMEM => {
                self.stats.enobufs += 1;
                connection.retry_at = now + Duration::from_millis(BACKOFF_MS);
                self.lists.move_to(key.slot, List::Backoff);
                return;
            }
            libc::EOPNOTSUPP | libc::EINVAL if zero_copy => {
                self.stats.zc_refused += 1;
                connection.copies = true;
            }
            errno => return self.leave(key.slot, CloseReason::PeerGone(errno)),
        }
        self.lists.move_to(key.slot, List::Ready);
    }

    fn complete_poll(&mut self, key: ConnectionKey, result: i32) {
        let Some(connection) = self.connections.get_mut(key) else {
            self.stats.late_completions += 1;
            return;
        };
        assert!(matches!(connection.flight, Flight::Polling), "a wait completed that was not in flight");
        connection.flight = Flight::None;
        // A broken socket counts as ready: the next send says what is wrong with it.
        if result < 0 && result != -libc::ECANCELED {
            return self.leave(key.slot, CloseReason::PeerGone(-result));
        }
        match connection.unfinished {
            Some(_) => self.lists.move_to(key.slot, List::Ready),
            None => self.ready_to_fill(key.slot),
        }
    }

    /// The connection has room and no slab.
    fn ready_to_fill(&mut self, slot: u32) {
        let (_, connection) = self.connections.at(slot);
        // One that is to go needs no slab for it.
        let put_off = connection.source.takes_long() && !matches!(connection.closing, Closing::Now(_));
        self.lists.move_to(slot, if put_off { List::PutOff } else { List::Ready });
    }

    /// Runs connections that are ready, each once and in turn, up to a batch that fits into the cache.
    pub(crate) fn run_ready(&mut self, now: Duration) {
        let mut batch_bytes = 0;
        // A connection may come to the back of the list again in this turn, and that is then the next turn's.
        let mut steps: usize =
            [List::Ready, List::Starved, List::PutOff].iter().map(|&list| self.lists.len(list)).sum();
        // The longest put off comes before all others, while nothing of what this turn may take is spent: so each gets on, and
        // in turn. The rest of them come behind all others, until nothing is left for them in this turn.
        let (mut first, mut put_off_again) = (true, false);
        while steps > 0 && batch_bytes < BATCH_BYTES_MAX && self.ring.room() > 0 {
            let waits_for_slab =
                |this: &mut Self, list| this.lists.front(list).filter(|_| this.slab_to_be_had());
            let put_off = if put_off_again { None } else { waits_for_slab(self, List::PutOff) };
            let next = put_off.filter(|_| first).or_else(|| {
                // Who waits for a slab was there before those who are ready now.
                let starved = waits_for_slab(self, List::Starved);
                starved.or(self.lists.front(List::Ready)).or(put_off)
            });
            let Some(slot) = next else { break };
            first &= put_off.is_none();
            batch_bytes += self.run(slot, now);
            steps -= 1;
            put_off_again |= put_off == Some(slot) && self.lists.list(slot) == List::PutOff;
        }
    }

    /// One step of a connection that has nothing in flight. Returns the bytes given to the kernel.
    fn run(&mut self, slot: u32, now: Duration) -> usize {
        let (key, connection) = self.connections.at(slot);
        assert!(matches!(connection.flight, Flight::None), "a connection is ready while it is in flight");
        if matches!(connection.closing, Closing::Now(_)) {
            self.lists.move_to(slot, List::Leaving);
            return 0;
        }
        if connection.full {
            connection.full = false;
            connection.flight = Flight::Polling;
            let list =
                if connection.unfinished.is_some() { List::BlockedHolding } else { List::BlockedEmpty };
            let what = What::PollOut { socket: connection.socket.as_raw_fd() };
            self.ring.push(Operation { user_data: key.user_data(Kind::Poll, 0), what });
            self.lists.move_to(slot, list);
            self.stats.polls += 1;
            return 0;
        }
        match connection.unfinished.take() {
            Some(slab) => self.send(key, slab),
            None => self.fill_and_send(key, now),
        }
    }

    fn fill_and_send(&mut self, key: ConnectionKey, now: Duration) -> usize {
        let (_, connection) = self.connections.at(key.slot);
        if !connection.source.pending() {
            self.rest(key.slot);
            return 0;
        }
        if self.pool.free() == 0 && !self.reclaim() {
            self.stats.slab_waits += u64::from(self.lists.list(key.slot) != List::Starved);
            self.lists.move_to(key.slot, List::Starved);
            return 0;
        }
        let (_, connection) = self.connections.at(key.slot);
        let mut slab = self.pool.take().expect("a slab is free or was just reclaimed");
        let bytes = self.pool.bytes_mut(&mut slab);
        let filled = fill(&mut connection.source, bytes, connection.fill_bytes_max);
        if filled == 0 {
            self.pool.give_back_empty(slab);
            match connection.source.pending() {
                true => self.put_off(key.slot),
                false => self.rest(key.slot),
            }
            return 0;
        }
        if std::mem::take(&mut connection.resting) {
            // The peer had nothing to take until now.
            connection.progress_at = now;
        }
        self.stats.filled_bytes += filled as u64;
        let slab = self.pool.filled(slab, filled);
        self.send(key, slab)
    }

    fn send(&mut self, key: ConnectionKey, slab: Slab<Filled>) -> usize {
        let (_, connection) = self.connections.at(key.slot);
        let zero_copy = !connection.copies
            && slab.len() >= self.config.zero_copy_bytes_min
            && self.pool.zero_copy_allowed(&slab);
        let (slab, bytes) = self.pool.send(slab, zero_copy);
        let user_data = key.user_data(Kind::Send, slab.index());
        let socket = connection.socket.as_raw_fd();
        connection.flight = Flight::Sending(slab);
        self.lists.move_to(key.slot, List::None);
        self.ring.push(Operation { user_data, what: What::Send { socket, bytes, zero_copy } });
        self.stats.sends += 1;
        self.stats.zc_sends += u64::from(zero_copy);
        bytes.len as usize
    }

    /// The connection has something to send, in a later turn. Its place among those put off is the first one that it got.
    fn put_off(&mut self, slot: u32) {
        self.connections.at(slot).1.resting = true;
        if self.lists.list(slot) != List::PutOff {
            self.lists.move_to(slot, List::PutOff);
        }
        self.stats.put_off += 1;
    }

    /// The connection has nothing to send.
    fn rest(&mut self, slot: u32) {
        let (_, connection) = self.connections.at(slot);
        connection.resting = true;
        match connection.closing {
            Closing::No => self.lists.move_to(slot, List::None),
            Closing::Flush { .. } => self.leave(slot, CloseReason::Asked),
            Closing::Now(_) => self.lists.move_to(slot, List::Leaving),
        }
    }

    /// Whether `fill_and_send` would find a slab.
    pub(crate) fn slab_to_be_had(&mut self) -> bool {
        self.pool.free() > 0 || self.reclaimable().is_some()
    }

    /// The longest blocked connection whose unfinished slab nobody reads. There are no more candidates than slabs.
    fn reclaimable(&mut self) -> Option<u32> {
        let mut slot = self.lists.front(List::BlockedHolding);
        while let Some(candidate) = slot {
            let (_, connection) = self.connections.at(candidate);
            let slab = connection.unfinished.as_ref().expect("it is in the list of those that hold one");
            if self.pool.reclaimable(slab) {
                return Some(candidate);
            }
            slot = self.lists.after(candidate);
        }
        None
    }

    /// Takes the unfinished slab from the longest blocked connection, which fills another when its peer reads again.
    fn reclaim(&mut self) -> bool {
        let Some(slot) = self.reclaimable() else { return false };
        let (_, connection) = self.connections.at(slot);
        let slab = connection.unfinished.take().expect("a reclaimable connection holds one");
        // What its socket took of this slab is what it will take of the next.
        let fill_bytes_min = self.config.fill_bytes_min.max(self.config.slab_bytes / 16);
        connection.fill_bytes_max = slab.sent().clamp(fill_bytes_min, self.config.slab_bytes);
        connection.source.rewind();
        self.pool.give_back(slab);
        self.lists.move_to(slot, List::BlockedEmpty);
        self.stats.slabs_reclaimed += 1;
        true
    }
}

/// Has the source fill the slab up to `bytes_max`, or further if its first piece is longer. Returns how far.
fn fill<S: Source>(source: &mut S, slab: &mut [u8], bytes_max: usize) -> usize {
    let mut filled = 0;
    let mut end = bytes_max.min(slab.len());
    while filled < end {
        let len = source.fill(&mut slab[filled..end]);
        assert!(len <= end - filled, "a source claims to have written more than there was room for");
        if len == 0 && (filled > 0 || end == slab.len()) {
            break;
        }
        if len == 0 {
            end = slab.len();
        }
        filled += len;
    }
    filled
}
