//! The agent: waits on a machine for coordinators, and runs one server or host there for each that proves itself.
//!
//! A connection is lines of JSON (`protocol.rs`; `AGENT.md` beside the crate's manifest tells it in words). Both ends
//! prove that they know the token by HMAC over each other's challenge; the token itself never travels. Then the
//! coordinator reads the agent's clock, or has its machine looked at, and asks for a child. From there on the lines of the two are the child's: its
//! orders and its news, as if it were the coordinator's own child (`control.rs`). When the connection goes, the child
//! goes; when the child goes, the agent says how.
//!
//! What a child may be is a `Role` that the agent's own [`AgentRole`] has: no word that comes over a connection
//! becomes a program, a path or an argument.

mod child;
mod handshake;
mod lines;
mod listen;
mod look;
mod protocol;
mod token;

pub use listen::{AgentError, listen, stdio};
pub use protocol::AgentRole;
pub use token::Token;

pub(crate) use handshake::{plain, plain_up_to, versions_differ};
pub(crate) use lines::{LineError, Lines, say};
pub(crate) use protocol::{
    AgentLine, AgentSays, Answer, Build, Challenge, CoordinatorSays, Ended, Hello, PROTOCOL, Proof, Speaker,
    prove, proves,
};

use crate::coordinator::role::Role;
use rustix::net::sockopt;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// What every line of an agent begins with, and none of a child's.
pub(crate) const AGENT_LINE: &[u8] = br#"{"agent":"#;
/// An idle connection is looked after this often, and gone after as long again three times over.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// How many unanswered looks mean that the other end has gone.
const KEEPALIVE_PROBES: u32 = 3;
/// How long bytes may stay unacknowledged before the other end has gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// Lets the kernel notice within seconds that the other end, or the way to it, has gone.
///
/// # Errors
/// The kernel's.
pub(crate) fn keep_watch(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED.as_millis() as u32)?)
}

impl Role {
    /// The agents that start it.
    pub(crate) fn agent(self) -> AgentRole {
        match self {
            Role::Server | Role::RoofSender | Role::BaselineServer => AgentRole::Server,
            Role::Host | Role::BaselineHost => AgentRole::Host,
        }
    }
}
