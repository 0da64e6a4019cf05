//! The first words to a server: which group, which users, and a proof that they are who they say.

use crate::client::Client;
use crate::observer::Outbox;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::statements::attach;
use twincast_protocol::wire::{EPOCH_ANY, Hello};

impl Client {
    /// Says HELLO to `server`. Proofs are of this channel with this server: of no use to the other one, nor on another
    /// channel.
    pub(crate) fn greet(&mut self, server: ServerSide, outbox: &mut impl Outbox) {
        let stream = &mut self.streams[server.index()];
        let Some(binding) = stream.binding() else { return };
        let (group, join) = (self.settings.group, self.settings.join);
        let epoch = self.settings.epoch.unwrap_or(EPOCH_ANY);
        let proofs: Option<Vec<[u8; SIGNATURE_BYTES]>> = self
            .ids
            .iter()
            .map(|user| Some(outbox.identity(*user)?.sign(&attach(&binding, group, epoch, *user))))
            .collect();
        let proofs = proofs.unwrap_or_default();
        let hello = Hello::frame_with(group, epoch, server, join, &self.ids, &proofs);
        stream.outbound.end().extend_from_slice(&hello);
        stream.outbound.greets = false;
    }
}
