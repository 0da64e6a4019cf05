//! How connections end, and the deadlines that end them.

use crate::connection::{CloseReason, Closing, Flight, Source};
use crate::egress::{Egress, Event};
use crate::lists::List;
use crate::ring::{Operation, Ring, What};
use crate::user_data::Kind;
use std::os::fd::AsFd;
use std::time::Duration;

impl<R: Ring, S: Source> Egress<R, S> {
    /// The connection is to go as soon as nothing of it is in flight. The first reason stays.
    pub(crate) fn leave(&mut self, slot: u32, reason: CloseReason) {
        let (_, connection) = self.connections.at(slot);
        if !matches!(connection.closing, Closing::Now(_)) {
            connection.closing = Closing::Now(reason);
        }
        match connection.flight {
            Flight::None => self.lists.move_to(slot, List::Leaving),
            // A send completes by itself, and soon: it never waits for room.
            Flight::Sending(_) => {}
            Flight::Polling if matches!(self.lists.list(slot), List::BlockedHolding | List::BlockedEmpty) => {
                self.lists.move_to(slot, List::Cancelling);
            }
            // The withdrawal is under way.
            Flight::Polling => {}
        }
    }

    /// Withdraws the waits of connections that are to go.
    pub(crate) fn cancel_polls(&mut self) {
        while let Some(slot) = self.lists.front(List::Cancelling)
            && self.ring.room() > 0
        {
            let (key, _) = self.connections.at(slot);
            let what = What::Cancel { user_data: key.user_data(Kind::Poll, 0) };
            self.ring.push(Operation { user_data: key.user_data(Kind::Cancel, 0), what });
            self.lists.move_to(slot, List::None);
        }
    }

    /// Reports the connections of which nothing is in flight. Slabs of theirs may still await their notifications;
    /// those belong to the pool.
    pub(crate) fn report_closed(&mut self, events: &mut Vec<Event<S>>) {
        while let Some(slot) = self.lists.front(List::Leaving) {
            self.lists.move_to(slot, List::None);
            let (key, mut connection) = self.connections.remove(slot);
            assert!(
                matches!(connection.flight, Flight::None),
                "a connection leaves with something in flight"
            );
            let Closing::Now(reason) = connection.closing else {
                panic!("a connection leaves without a reason")
            };
            if let Some(slab) = connection.unfinished {
                self.pool.give_back(slab);
            }
            connection.source.rewind();
            if let Ok(info) = self.ring.tcp_info(connection.socket.as_fd()) {
                self.tcp_closed.add(&info);
            }
            match reason {
                CloseReason::Asked => self.stats.closed_asked += 1,
                CloseReason::PeerGone(_) => self.stats.closed_peer += 1,
                CloseReason::Stalled => {
                    self.stats.closed_stall += 1;
                    // The last close resets the connection, and the kernel lets go of what it holds for the peer:
                    // else that stays, slabs included, until retransmission gives up. No socket, no matter.
                    let _ = rustix::net::sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
                }
            }
            let (source, socket) = (connection.source, connection.socket);
            events.push(Event::Closed { key, source, socket, reason });
        }
    }

    /// Does what is due at `now`: retries, flush deadlines, stalls.
    pub(crate) fn watch_time(&mut self, now: Duration) {
        while let Some(slot) = self.lists.front(List::Backoff)
            && self.connections.at(slot).1.retry_at <= now
        {
            self.lists.move_to(slot, List::Ready);
        }
        if self.flush_deadline.is_some_and(|deadline| deadline <= now) {
            self.end_flushes(now);
        }
        if self.look_at <= now {
            self.look_at = now + self.look_interval();
            self.look_for_stalls(now);
        }
    }

    fn end_flushes(&mut self, now: Duration) {
        self.flush_deadline = None;
        for slot in 0..self.connections.slots() {
            if !self.connections.is_live(slot) {
                continue;
            }
            let Closing::Flush { deadline } = self.connections.at(slot).1.closing else { continue };
            if deadline <= now {
                self.leave(slot, CloseReason::Asked);
            } else {
                self.flush_deadline = Some(self.flush_deadline.map_or(deadline, |first| first.min(deadline)));
            }
        }
    }

    /// A blocked connection whose peer took nothing for a while is asked after at each look; its deadline counts from
    /// the last byte that the peer acknowledged, or that its socket took.
    fn look_for_stalls(&mut self, now: Duration) {
        let interval = self.look_interval();
        for list in [List::BlockedHolding, List::BlockedEmpty] {
            let mut next = self.lists.front(list);
            while let Some(slot) = next {
                next = self.lists.after(slot);
                let (_, connection) = self.connections.at(slot);
                let quiet = now.saturating_sub(connection.progress_at);
                if quiet < interval {
                    continue;
                }
                // What is no TCP acknowledges nothing, and has only its deadline.
                let acked = self.ring.tcp_info(connection.socket.as_fd()).map_or(0, |info| info.bytes_acked);
                let (_, connection) = self.connections.at(slot);
                if acked != connection.bytes_acked {
                    connection.bytes_acked = acked;
                    connection.progress_at = now;
                    self.stats.stalls_renewed += 1;
                } else if quiet >= self.config.stall_timeout {
                    self.leave(slot, CloseReason::Stalled);
                }
            }
        }
    }
}
