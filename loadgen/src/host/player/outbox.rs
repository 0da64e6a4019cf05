//! What the users of a connection pair say: whom they dial, what they send, and to whom.

use super::Player;
use crate::host::figures::record;
use rand::RngExt as _;
use twincast_client::{Author, Deal, Outbox, User};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, RoundNumber, SlotIndex, UserId};

impl Outbox for Player {
    fn recipients(&mut self, epoch: Epoch, sender: User, slot: SlotIndex) -> &[UserId] {
        self.judge.workload.recipients(epoch.0, sender.member.0, slot.0, &mut self.recipients);
        let first = *self.plan.roster(epoch.0).start();
        self.ids.clear();
        self.ids.extend(self.recipients.iter().map(|member| UserId(first + member)));
        if let Some(reading) = &self.reading {
            self.ids.iter().for_each(|sender| reading.prepare(*sender));
        }
        &self.ids
    }

    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8] {
        self.judge.workload.message(round.0, sender.id.0, slot.0, &mut self.message);
        // A record is begun before it is asked what it says.
        if slot.0 == 0 && self.reading.is_none() {
            self.generating_since = self.shared.now();
        }
        &self.message
    }

    fn deal(&mut self, round: RoundNumber, sender: User) -> Deal<'_> {
        self.generating_since = self.shared.now();
        let workload = &self.judge.workload;
        workload.dealt(round.0, sender.member.0, &mut self.dealt);
        let first = *self.plan.roster(self.plan.epoch_of(round.0)).start();
        self.deal.resize_with(self.dealt.len(), Default::default);
        for ((which, member), (recipient, message)) in self.dealt.iter().zip(&mut self.deal) {
            *recipient = UserId(first + member);
            workload.message(round.0, sender.id.0, *which, message);
        }
        let many = self.plan.dealt();
        // How many noise subgroups there are hides how many others there are: a secret like any other.
        let noise = many.map_or(0, |many| rand::rng().random_range(many.noise_min..=many.noise_max));
        Deal { messages: &self.deal, noise: noise as u16 }
    }

    fn key_partners(&mut self, epoch: Epoch, sender: User) -> &[UserId] {
        let first = *self.plan.roster(epoch.0).start();
        self.ids.clear();
        for slot in 0..self.plan.slots {
            self.judge.workload.recipients(epoch.0, sender.member.0, slot, &mut self.recipients);
            self.ids.extend(self.recipients.iter().map(|member| UserId(first + member)));
        }
        self.ids.sort_unstable();
        self.ids.dedup();
        &self.ids
    }

    fn author(&mut self, round: RoundNumber, sender: User) -> Option<Author<'_>> {
        self.generating_since = self.shared.now();
        let epoch = self.plan.epoch_of(round.0);
        let is_read = self.judge.workload.readers_of(epoch, sender.member.0) > 0;
        self.reading.as_ref()?.author(sender.position, sender.id, is_read)
    }

    fn identity(&mut self, user: UserId) -> Option<&SigningKey> {
        let position = self.users.binary_search(&user.0).ok()?;
        self.identities.get(position)
    }

    fn submitted(&mut self, round: RoundNumber, sender: User) {
        let begun = self.generating_since;
        let scheduled = self.shared.pace.get().planned(round.0);
        let planned = self.clock.plan(round, scheduled.unwrap_or(begun));
        self.begun[sender.position][round.0 as usize % 2] = scheduled.unwrap_or(begun);
        let workload = &self.judge.workload;
        self.judge.totals.messages_sent += match self.reading {
            None => workload.pairs_of_round(round.0),
            Some(_) => workload.readers_of(self.plan.epoch_of(round.0), sender.member.0).into(),
        };
        let mut figures = self.shared.figures.borrow_mut();
        record(&mut figures.generate_ns, self.shared.now() - begun);
        if let Some(position) = self.position(round) {
            figures.planned(position, planned);
        }
    }
}
