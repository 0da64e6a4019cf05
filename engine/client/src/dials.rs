//! The dials of a client's users: session keys until they are sent and confirmed, and who has acknowledged them.

use std::fmt;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::session_key::SessionKey;
use zeroize::Zeroize;

/// One user's dial for one slot.
pub(crate) struct Dial {
    secrets: Option<Secrets>,
    acknowledged: [bool; 2],
    finished: [bool; 2],
}

/// What a dial is made of. Each of P1 and P2 is for its server's eyes alone.
pub(crate) struct Secrets {
    pub(crate) p1: SessionKey,
    pub(crate) p2: SessionKey,
    /// S1's part of the bit confirmations.
    pub(crate) seed: [u8; 32],
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Dial {
    pub(crate) const NEW: Dial = Dial { secrets: None, acknowledged: [false; 2], finished: [false; 2] };

    /// Its secrets, where they are drawn and still needed.
    pub(crate) fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }

    pub(crate) fn draw(&mut self, secrets: Secrets) {
        self.secrets = Some(secrets);
    }

    /// Everything that `server` gets of the secrets is made. Once both have theirs, they are forgotten.
    pub(crate) fn finish(&mut self, server: ServerSide) {
        self.finished[server.index()] = true;
        if self.finished == [true; 2] {
            self.secrets = None;
        }
    }

    /// They are not needed any more.
    pub(crate) fn forget(&mut self) {
        self.secrets = None;
    }

    /// `server` has the session key. Whether that is news.
    pub(crate) fn acknowledge(&mut self, server: ServerSide) -> bool {
        !std::mem::replace(&mut self.acknowledged[server.index()], true)
    }

    /// Whether both servers have their session key.
    pub(crate) fn is_effective(&self) -> bool {
        self.acknowledged == [true; 2]
    }
}
