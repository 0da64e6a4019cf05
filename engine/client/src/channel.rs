//! How a client talks to the two servers: in the clear, or over private channels.

use twincast_protocol::identity::KEY_BYTES;
use twincast_protocol::ids::ServerSide;

/// How a client talks to the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelSettings {
    /// In the clear: for measurements, and on one machine. Whoever is on the way reads everything that both servers
    /// send, which together is every message.
    Plain,
    /// Over a private channel with each server (Noise XK), which is whom its pinned key says, and nobody else.
    Noise {
        /// The static keys of S1 and S2, as `twincast-server keygen` prints them.
        servers: [[u8; KEY_BYTES]; 2],
    },
}

impl ChannelSettings {
    /// The key of one server, if there is a private channel with it.
    pub(crate) fn key_of(&self, server: ServerSide) -> Option<[u8; KEY_BYTES]> {
        match self {
            ChannelSettings::Plain => None,
            ChannelSettings::Noise { servers } => Some(servers[server.index()]),
        }
    }
}
