//! What is said to a connection before a fan-out core writes to it: handshakes, refusals, and answers to who registers.

use super::net;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use twincast_protocol::channel::SendKeys;

/// How soon a socket that is full is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// The way out of a connection that nobody else writes to yet.
pub(super) struct Outlet {
    socket: Rc<TcpStream>,
    /// Once the handshake of a private channel is done.
    keys: Option<SendKeys>,
    /// Something was not sent to its end: whatever came behind it would be taken for the rest of it.
    cut: bool,
}

impl Outlet {
    /// The way out in plain.
    pub(super) fn new(socket: Rc<TcpStream>) -> Outlet {
        Outlet { socket, keys: None, cut: false }
    }

    /// What is said from now on is sealed.
    pub(super) fn seal_with(&mut self, keys: SendKeys) {
        assert!(self.keys.is_none(), "a channel has one handshake");
        self.keys = Some(keys);
    }

    /// What a core goes on with.
    pub(super) fn into_keys(self) -> Option<SendKeys> {
        self.keys
    }

    /// Sends all of it. Waits for as long as the peer takes nothing, which is for the caller to bound.
    ///
    /// # Errors
    /// When the peer is gone, or something was said before and not waited for.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if std::mem::replace(&mut self.cut, true) {
            return Err(Errno::PIPE);
        }
        let mut sealed = Vec::new();
        let mut rest = match &mut self.keys {
            None => bytes,
            Some(keys) => {
                keys.seal_all(bytes, &mut sealed);
                &sealed
            }
        };
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => net::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
        self.cut = false;
        Ok(())
    }

    /// Nothing more is said.
    pub(super) fn end(&self) {
        // An error means that the peer is gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
