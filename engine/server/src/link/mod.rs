//! The connection to the other server: one thread, one TCP connection at a time, small frames.
//!
//! S1 connects, and does so again, with growing pauses, whenever the link is down; S2 listens, and drops whoever comes
//! from another address than S1's. A connection becomes *the* link by a LINK_HELLO of the other side that is right in
//! form and lists groups: until then it is a stranger's, is told nothing, and whatever comes on it harms nobody. A newer
//! link replaces an older one. Where channels are private S1 begins with a handshake in which each server shows that it
//! has the key that the other one pins (`channel`), and whoever cannot is a stranger for ever. Where they are plain an
//! address is all that S2 knows S1 by: whoever can send from it can be S1.
//!
//! A link that is up is a *session*, by number. Executors say how their groups stand when one begins
//! ([`FrontMessage::LinkAsk`]), hear that it is up ([`FrontMessage::LinkUp`]), get its frames in order, and hear that
//! it is down; what they send is for a session, and what is left of an older one is dropped. A frame that the other
//! server must not send ends the session with a log line, and so does a queue that is full: a link never loses one
//! frame and goes on.
//!
//! [`FrontMessage::LinkAsk`]: crate::front::FrontMessage::LinkAsk
//! [`FrontMessage::LinkUp`]: crate::front::FrontMessage::LinkUp

mod channel;
mod compare;
mod entry;
mod handle;
#[cfg(test)]
mod tests;
mod thread;
mod wire;

pub use handle::{LinkHandle, SessionId, ToLink};

use crate::accounts::AccountsHandle;
use crate::config::LinkConfig;
use crate::front::FrontHandle;
use crate::keys::ChannelKeys;
use crate::metrics::Metrics;
use entry::Entry;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thread::LinkThread;
use twincast_protocol::ids::{GroupId, ServerSide};

/// The least time after which a link that takes no byte is cut: word of who is present may come too late by less than
/// that and be of use.
const STALL_MIN: Duration = Duration::from_secs(1);

/// The link's thread.
#[derive(Debug)]
pub(crate) struct Link {
    handle: Arc<LinkHandle>,
    address: Option<SocketAddr>,
    thread: JoinHandle<()>,
}

/// What the link's thread works with.
#[derive(Debug)]
pub(crate) struct LinkParts {
    /// Which server this is.
    pub(crate) side: ServerSide,
    /// Its end of the queue.
    pub(crate) handle: Arc<LinkHandle>,
    /// The executors.
    pub(crate) fronts: Vec<Arc<FrontHandle>>,
    /// By group: the executor that owns it.
    pub(crate) owners: HashMap<GroupId, usize>,
    /// Where it counts.
    pub(crate) metrics: Arc<Metrics>,
    /// What the channel between the two servers is made with; none where it is plain.
    pub(crate) channel: Option<Arc<ChannelKeys>>,
    /// Who hears of users' keys, where some group's users are known.
    pub(crate) accounts: Option<Arc<AccountsHandle>>,
}

impl Link {
    /// Listens, or begins to connect.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no descriptor is left.
    pub(crate) fn start(config: &LinkConfig, parts: LinkParts) -> io::Result<Link> {
        let entry = match (config.listen, config.connect) {
            (Some(address), _) => {
                let peer = config.peer.ok_or_else(|| io::Error::other("link.peer is not configured"))?;
                Entry::listen(address, peer)?
            }
            (None, Some(address)) => Entry::connect(address),
            (None, None) => {
                return Err(io::Error::other("neither link.listen nor link.connect is configured"));
            }
        };
        let address = entry.address();
        let handle = parts.handle.clone();
        let stall_timeout = Duration::from_millis(config.peer_timeout_ms).max(STALL_MIN);
        let link = LinkThread::new(parts, entry, stall_timeout);
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || link.run())?;
        Ok(Link { handle, address, thread })
    }

    /// Where the other server connects, if this one listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Sends what executors have left to say, as far as the other server takes it, and ends.
    pub(crate) fn stop(self) {
        self.handle.stop();
        if self.thread.join().is_err() {
            tracing::error!("the link's thread panicked");
        }
    }
}
