//! Which of a round's messages have come to a host's users.

use crate::relay::word;
use crate::{BaselineError, Setup};
use std::collections::VecDeque;

/// Bytes of one wave of a round on one connection, about: all waves that a host may be behind by together are far
/// below what the broker lets wait.
const WAVE_BYTES_MAX: u64 = 12 << 20;
/// Waves that messages may be of: the one that is coming in, a round's short last one, and the one after it.
const WAVES_AHEAD_MAX: usize = 3;
/// Bytes of a delivered message that are not its payload, at the most.
const HEAD_BYTES_MAX: u64 = 48;

/// Senders of one wave: at least one of each host, so that no host is left behind by more than a few waves.
pub(super) fn wave_senders(setup: &Setup) -> u32 {
    let users = u64::from(setup.members.div_ceil(setup.hosts));
    let message = users * (u64::from(setup.share_bytes) + HEAD_BYTES_MAX);
    (WAVE_BYTES_MAX / message).clamp(u64::from(setup.hosts), u64::from(setup.senders)) as u32
}

/// What came of the wave that is coming in, and of those after it.
///
/// The broker keeps the order of one publisher's messages only: another host may have all of this wave, and its
/// messages of the next may overtake the rest of it on their way here. It cannot be ahead by more than a round's last
/// wave, in which not every host has a sender, and the one after it.
pub(super) struct Mail {
    pub(super) setup: Setup,
    host: u32,
    users: u64,
    wave_senders: u32,
    /// How many waves have wholly come in, since the beginning.
    ended: u64,
    waves: VecDeque<Wave>,
}

/// One wave, for this host's users.
struct Wave {
    /// For each user of this host, and each sender of the wave: whether the message came.
    there: Vec<bool>,
    missing: u64,
}

impl Mail {
    pub(super) fn new(setup: &Setup, host: u32) -> Mail {
        let users = setup.users_of(host).count() as u64;
        let wave_senders = wave_senders(setup);
        let mut mail = Mail { setup: *setup, host, users, wave_senders, ended: 0, waves: VecDeque::new() };
        mail.fill();
        mail
    }

    /// Opens the next waves.
    fn fill(&mut self) {
        while self.waves.len() < WAVES_AHEAD_MAX {
            let number = self.ended + self.waves.len() as u64;
            let first = (number % self.waves_of_round()) * u64::from(self.wave_senders);
            let senders = (u64::from(self.setup.senders) - first).min(u64::from(self.wave_senders));
            let there = vec![false; (self.users * u64::from(self.wave_senders)) as usize];
            self.waves.push_back(Wave { there, missing: self.users * senders });
        }
    }

    fn waves_of_round(&self) -> u64 {
        u64::from(self.setup.senders.div_ceil(self.wave_senders))
    }

    /// Takes a message; how many waves have come to their end with it.
    pub(super) fn take(&mut self, sid: u32, payload: &[u8]) -> Result<usize, BaselineError> {
        let refuse = |what: &str| Err(BaselineError::Protocol(format!("the broker delivered {what}")));
        if payload.len() != self.setup.share_bytes as usize {
            return refuse("a message of another size than was published");
        }
        let (sender, round) = (word(payload, 0), word(payload, 4));
        if sender >= self.setup.senders {
            return refuse("a message of nobody");
        }
        if sid >= self.setup.members || sid % self.setup.hosts != self.host {
            return refuse("a message for another host");
        }
        let number = u64::from(round) * self.waves_of_round() + u64::from(sender / self.wave_senders);
        let ahead = number.checked_sub(self.ended).and_then(|ahead| usize::try_from(ahead).ok());
        let Some(wave) = ahead.and_then(|ahead| self.waves.get_mut(ahead)) else {
            return refuse("a message that is not of now");
        };
        let user = sid / self.setup.hosts;
        let place = user as usize * self.wave_senders as usize + (sender % self.wave_senders) as usize;
        if std::mem::replace(&mut wave.there[place], true) {
            return refuse("a message twice");
        }
        wave.missing -= 1;
        let mut ended = 0;
        while self.waves.front().is_some_and(|wave| wave.missing == 0) {
            self.waves.pop_front();
            (ended, self.ended) = (ended + 1, self.ended + 1);
            self.fill();
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLER: u8 = 0x5a;
    const SETUP: Setup = Setup { members: 20, senders: 20, hosts: 3, share_bytes: 336 };

    #[test]
    fn a_wave_stays_below_what_the_broker_lets_wait() {
        assert_eq!(wave_senders(&SETUP), 20, "a small round is one wave");
        let large = Setup { members: 10_000, senders: 10_000, hosts: 5, share_bytes: 771 };
        let wave = wave_senders(&large);
        assert!(u64::from(wave) * 2_000 * (771 + HEAD_BYTES_MAX) <= WAVE_BYTES_MAX);
        assert!(wave > 1);
    }

    #[test]
    fn a_message_twice_or_of_another_round_is_refused() {
        let payload = |sender: u32, round: u32| {
            let mut payload = vec![FILLER; 336];
            payload[..4].copy_from_slice(&sender.to_le_bytes());
            payload[4..8].copy_from_slice(&round.to_le_bytes());
            payload
        };
        let mut mail = Mail::new(&SETUP, 1);
        assert_eq!(mail.take(1, &payload(0, 0)).unwrap(), 0);
        assert!(mail.take(1, &payload(0, 0)).is_err(), "twice");
        assert!(mail.take(1, &payload(1, 3)).is_err(), "of a round far ahead");
        assert!(mail.take(1, &payload(20, 0)).is_err(), "of nobody");
        assert!(mail.take(2, &payload(2, 0)).is_err(), "for another host");
        assert!(mail.take(1, &payload(2, 0)[1..]).is_err(), "shortened");
    }

    #[test]
    fn a_wave_ends_when_all_of_it_came_whatever_overtook_it() {
        let setup = Setup { members: 7, senders: 7, hosts: 7, share_bytes: 16 };
        let mut mail = Mail::new(&setup, 2);
        mail.wave_senders = 4;
        (mail.waves, mail.ended) = (VecDeque::new(), 0);
        mail.fill();
        let mut take = |sender: u32, round: u32| {
            let payload = [sender.to_le_bytes(), round.to_le_bytes(), [0; 4], [0; 4]].concat();
            mail.take(2, &payload).unwrap()
        };
        let order = [(0, 0), (1, 0), (4, 0), (5, 0), (6, 0), (0, 1), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)];
        let ended: Vec<usize> = order.into_iter().map(|(sender, round)| take(sender, round)).collect();
        assert_eq!(ended, [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1]);
    }
}
