//! What an operator may want of the registry, and what comes of it: the same over the socket of a server that runs and
//! on the file of one that does not.
//!
//! On the socket a command is one line of JSON, and so is what comes of it.

use super::book::{Book, Effect};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, UserId};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds accounts: all, or none.
    Add {
        /// The group.
        group: u32,
        /// From which epoch on the keys are these; the same at both servers.
        epoch: u32,
        /// Users and their keys, in hexadecimal digits.
        accounts: Vec<(u32, String)>,
    },
    /// Removes an account, and closes the connection of its user.
    Remove {
        /// The group.
        group: u32,
        /// The user.
        user: u32,
    },
    /// Gives a user a new key, from the next epoch of its account on or from a later one.
    Rotate {
        /// The group.
        group: u32,
        /// The user.
        user: u32,
        /// The key, in hexadecimal digits.
        key: String,
        /// From which epoch on; none: from the next one of the account on.
        #[serde(default)]
        epoch: Option<u32>,
    },
    /// Lists accounts, ascending.
    List {
        /// Of this group alone.
        group: Option<u32>,
    },
}

/// What came of it; an error is a sentence.
pub type Reply = Result<Done, String>;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// So many accounts are new.
    Added(usize),
    /// The account is gone.
    Removed,
    /// The account has the key from this epoch on.
    Rotated(u32),
    /// The accounts.
    Listed(Vec<Row>),
}

/// An account, as it is listed and exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The group.
    pub group: u32,
    /// The user.
    pub user: u32,
    /// The key, in hexadecimal digits.
    pub key: String,
    /// From which epoch on.
    pub epoch: u32,
    /// When the account was made, in seconds of the Unix clock.
    pub added: u64,
    /// Whether it serves: both servers have signed it.
    pub serves: bool,
    /// The signatures of S1 and of S2, in hexadecimal digits.
    pub signatures: [Option<String>; 2],
}

impl Command {
    /// Does it.
    pub(super) fn perform(&self, book: &mut Book, now: Instant, out: &mut Vec<Effect>) -> Reply {
        match self {
            Command::Add { group, epoch, accounts } => {
                let account = |(user, key): &(u32, String)| Ok((UserId(*user), read_key(*user, key)?));
                let accounts = accounts.iter().map(account).collect::<Result<Vec<_>, String>>()?;
                book.add(GroupId(*group), Epoch(*epoch), &accounts, now, out).map(Done::Added)
            }
            Command::Remove { group, user } => {
                book.remove((GroupId(*group), UserId(*user)), out).map(|()| Done::Removed)
            }
            Command::Rotate { group, user, key, epoch } => {
                let key = read_key(*user, key)?;
                let epoch = book.rotate((GroupId(*group), UserId(*user)), key, epoch.map(Epoch), now, out)?;
                Ok(Done::Rotated(epoch.0))
            }
            Command::List { group } => {
                let wanted = |of: GroupId| group.is_none_or(|group| group == of.0);
                let accounts = book.accounts().iter().filter(|((group, _), _)| wanted(*group));
                let hex = |signature: [u8; SIGNATURE_BYTES]| hex::encode(signature);
                let rows = accounts.map(|((group, user), account)| Row {
                    group: group.0,
                    user: user.0,
                    key: hex::encode(account.key.to_bytes()),
                    epoch: account.epoch.0,
                    added: account.added,
                    serves: book.serves(*group, account),
                    signatures: account.signatures.map(|signature| signature.map(hex)),
                });
                Ok(Done::Listed(rows.collect()))
            }
        }
    }
}

/// A user's key.
///
/// # Errors
/// A sentence: that is none.
pub(crate) fn read_key(user: u32, digits: &str) -> Result<VerifyingKey, String> {
    let mut bytes = [0; KEY_BYTES];
    let wrong = |what: &str| format!("the key of user {user} is {what}");
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong("not 64 hexadecimal digits"))?;
    VerifyingKey::from_bytes(&bytes)
        .map_err(|_| wrong("no verifying key of Ed25519, or one for which anybody can sign"))
}
