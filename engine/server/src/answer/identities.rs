//! Who is who: what this server signs with, and what it verifies the other one's and the members' signatures with.
//!
//! They come from files that the configuration names. The list of a group's members is public, and the same at both
//! servers; what this server signs with is nobody else's, and its file is not taken where others could read it. A group
//! without a list has its users' keys in the registry ([`accounts`](crate::accounts)).
//!
//! ```text
//! signing_key       64 hexadecimal digits: the private key of RFC 8032; mode 0600 or tighter
//! verifying_keys    a line for each user: its number, a space, 64 hexadecimal digits; empty lines and `#` lines are skipped;
//!                   no two users have one key
//! ```

use super::work::{Members, Setup};
use crate::accounts::Directory;
use crate::config::{Config, Delivery, GroupConfig, IdentitiesName};
use crate::keys::{FileError, Secret, read_secret};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twincast_protocol::identity::{KEY_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};

/// What the settings of a group whose delivery is `answer` are hashed with further.
const SETTINGS_PREFIX: &[u8] = b"twincast/settings/identities/v1";

/// What the list of a group's members is hashed with.
const LIST_PREFIX: &[u8] = b"twincast/settings/members/v1";

/// Everything that the groups of a server whose users are known sign and verify with. `Debug` shows no key.
pub struct Identities {
    signing_seed: Secret,
    /// The other server's, where there is one.
    peer: Option<VerifyingKey>,
    /// By group: the users of those that have a list.
    members: HashMap<GroupId, HashMap<UserId, VerifyingKey>>,
}

/// Why a server does not know who is who: the operator's doing; nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The configuration does not say where a key is.
    #[error("groups[id = {group}].{because} needs {key}: {remedy}")]
    Unnamed {
        /// The group.
        group: u32,
        /// What of the group needs it.
        because: &'static str,
        /// The key of the configuration.
        key: &'static str,
        /// What it has to say.
        remedy: &'static str,
    },
    /// A file cannot be read.
    #[error("{key}: cannot read {file} ({error})")]
    Unreadable {
        /// The key of the configuration.
        key: String,
        /// Which.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than this server's user may read what it signs with.
    #[error(
        "signing_key: {file} has mode {mode:04o}, and others could sign as this server: `chmod 600 {file}`"
    )]
    Mode {
        /// Which.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The signing key's file holds something else.
    #[error(
        "signing_key: {file} has to hold 64 hexadecimal digits and nothing else, the private key of RFC 8032"
    )]
    Form {
        /// Which.
        file: PathBuf,
    },
    /// A line of a list of verifying keys is wrong.
    #[error("{key}: {file}, line {line}: {what}")]
    Line {
        /// The key of the configuration.
        key: String,
        /// Which.
        file: PathBuf,
        /// From 1 on.
        line: usize,
        /// What is wrong, and what has to be there.
        what: String,
    },
    /// A member has no verifying key, in a list that is not from a file: the caller's doing.
    #[error(
        "group {group} has no verifying key of user {user}: the users 0 to {last} are members of its first epoch"
    )]
    Missing {
        /// The group.
        group: u32,
        /// Who.
        user: u32,
        /// The last member of the first epoch.
        last: u32,
    },
    /// The other server's key is this one's own.
    #[error(
        "link.peer_verifying_key is this server's own: it has to be the verifying key that belongs to the other server's \
         signing_key"
    )]
    OwnPeer,
}

impl Identities {
    /// What this server signs with, what the other one is verified with, and each group's members: of a group that is not
    /// among them the registry knows. The seed is the private key of RFC 8032.
    #[must_use]
    pub fn new(
        signing_seed: &[u8; KEY_BYTES],
        peer: VerifyingKey,
        members: HashMap<GroupId, HashMap<UserId, VerifyingKey>>,
    ) -> Identities {
        let mut kept = Secret::default();
        kept.copy_from_slice(signing_seed);
        Identities { signing_seed: kept, peer: Some(peer), members }
    }

    /// Reads the files that the configuration names; none where no group's users are known.
    ///
    /// # Errors
    /// [`IdentityError`], which names file and line.
    pub fn load(config: &Config) -> Result<Option<Identities>, IdentityError> {
        let mut groups = config.groups.iter().filter(|group| because(group).is_some()).peekable();
        let Some(first) = groups.peek().copied() else { return Ok(None) };
        let file = config.signing_key.as_ref();
        let file = file.ok_or_else(|| {
            unnamed(
                first,
                "signing_key",
                "the file with this server's private key, 64 hexadecimal digits: `twincast-server keygen --out FOLDER` makes one",
            )
        })?;
        let signing_seed = read_seed(file)?;
        let peer = config.link.as_ref().map(|link| {
            let remedy =
                "the verifying key of the other server, 64 hexadecimal digits, which its operator sees with `--check`";
            link.peer_key().ok_or_else(|| unnamed(first, "link.peer_verifying_key", remedy))
        });
        let peer = peer.transpose()?;
        let mut members = HashMap::new();
        for group in groups {
            let Some(file) = &group.verifying_keys else {
                if config.registry.is_none() {
                    return Err(no_users(group));
                }
                continue;
            };
            let key = format!("groups[id = {}].verifying_keys", group.id);
            members.insert(GroupId(group.id), read_members(key, file, group.members)?);
        }
        let identities = Identities { signing_seed, peer, members };
        identities.check(config)?;
        Ok(Some(identities))
    }

    /// What the other server verifies this one's signatures with, of a configuration that names a signing key: also where
    /// nothing else is there yet, since each of two operators waits for the other one's.
    ///
    /// # Errors
    /// [`IdentityError`] where the file is not as it has to be.
    pub fn own_key(config: &Config) -> Result<Option<VerifyingKey>, IdentityError> {
        let file = config.signing_key.as_ref();
        file.map(|file| Identities::verifying_key_of(file)).transpose()
    }

    /// The verifying key that belongs to the signing key in a file.
    ///
    /// # Errors
    /// [`IdentityError`] where the file is not as it has to be.
    pub fn verifying_key_of(file: &Path) -> Result<VerifyingKey, IdentityError> {
        Ok(SigningKey::from_seed(&**read_seed(file)?).verifying_key())
    }

    /// What the other server verifies this one's signatures with.
    #[must_use]
    pub fn own(&self) -> VerifyingKey {
        self.signing().verifying_key()
    }

    /// What the other server's signatures are verified with here, where there is another server.
    #[must_use]
    pub fn peer(&self) -> Option<VerifyingKey> {
        self.peer
    }

    /// How many users have a key in a group's list, and a hash over them that is the same at both servers. None: the
    /// group has no list.
    #[must_use]
    pub fn list_of(&self, group: GroupId) -> Option<(usize, [u8; 32])> {
        let members = self.members.get(&group)?;
        let hash = hash_members(Sha256::new_with_prefix(LIST_PREFIX), members);
        Some((members.len(), hash.finalize().into()))
    }

    /// What can be served, and may not be what is meant: a sentence each.
    #[must_use]
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        let listed = |group: &GroupConfig| self.members.get(&GroupId(group.id)).map(HashMap::len);
        let short = config.groups.iter().filter_map(|group| {
            let listed = listed(group).filter(|listed| *listed < group.members_most() as usize)?;
            Some(format!(
                "groups[id = {}].members_max = {} and its verifying_keys list {listed} users: users without a key cannot \
                 join",
                group.id,
                group.members_most()
            ))
        });
        short.collect()
    }

    /// Checks that every member of every group that has a list has a key in it, and every other one a registry.
    ///
    /// # Errors
    /// [`IdentityError`] for the first who has none.
    pub(crate) fn check(&self, config: &Config) -> Result<(), IdentityError> {
        if self.peer == Some(self.signing().verifying_key()) {
            return Err(IdentityError::OwnPeer);
        }
        for group in config.groups.iter().filter(|group| because(group).is_some()) {
            let Some(members) = self.members.get(&GroupId(group.id)) else {
                if config.registry.is_none() {
                    return Err(no_users(group));
                }
                continue;
            };
            if let Some(user) = (0..group.members).find(|user| !members.contains_key(&UserId(*user))) {
                return Err(IdentityError::Missing { group: group.id, user, last: group.members - 1 });
            }
        }
        Ok(())
    }

    /// Checks that no group needs to know its users, where nobody has said who they are.
    ///
    /// # Errors
    /// [`IdentityError`] for the first group that does.
    pub(crate) fn check_unneeded(config: &Config) -> Result<(), IdentityError> {
        match config.groups.iter().find(|group| because(group).is_some()) {
            Some(group) => Err(unnamed(group, "signing_key", "what this server signs with")),
            None => Ok(()),
        }
    }

    /// What a group whose delivery is `answer` signs and verifies with: its list, or whoever the registry knows.
    ///
    /// # Panics
    /// If the configuration was not checked: such a group has another server.
    pub(crate) fn setup(
        &self,
        group: &GroupConfig,
        side: ServerSide,
        directory: &Arc<Directory>,
    ) -> Arc<Setup> {
        let id = GroupId(group.id);
        let members = match self.members.get(&id) {
            Some(list) => Members::List(list.clone()),
            None => Members::Registry(directory.clone(), id),
        };
        let peer = self.peer.expect("the configuration was checked");
        Arc::new(Setup { group: id, side, signing: self.signing(), peer, members })
    }

    /// A hash over the two servers' keys and a group's list, if it has one: the same at both servers.
    pub(crate) fn bound_hash(&self, group: GroupId, side: ServerSide) -> [u8; 32] {
        let (own, peer) = (Some(self.own()), self.peer);
        let servers = if side == ServerSide::One { [own, peer] } else { [peer, own] };
        let mut hash = Sha256::new_with_prefix(LIST_PREFIX);
        servers.iter().flatten().for_each(|key| hash.update(key.to_bytes()));
        match self.members.get(&group) {
            Some(list) => hash_members(hash, list),
            // Who has an account changes, and is agreed on account by account.
            None => hash.chain_update(b"registry"),
        }
        .finalize()
        .into()
    }

    /// The lists of all groups that have one.
    pub(crate) fn lists(&self) -> &HashMap<GroupId, HashMap<UserId, VerifyingKey>> {
        &self.members
    }

    /// What this server signs with.
    pub(crate) fn signing(&self) -> SigningKey {
        SigningKey::from_seed(&self.signing_seed)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("groups", &self.members.len()).finish_non_exhaustive()
    }
}

impl Setup {
    /// A hash over a group's settings and everybody's verifying keys: two servers who know others under a name never
    /// serve the group together.
    pub(crate) fn settings_hash(&self, settings: &[u8; 32]) -> [u8; 32] {
        let (own, peer) = (self.signing.verifying_key(), self.peer);
        let servers = if self.side == ServerSide::One { [own, peer] } else { [peer, own] };
        let mut hash = Sha256::new_with_prefix(SETTINGS_PREFIX).chain_update(settings);
        servers.iter().for_each(|key| hash.update(key.to_bytes()));
        match &self.members {
            Members::List(list) => hash_members(hash, list).finalize().into(),
            // Who has an account changes, and is agreed on account by account.
            Members::Registry(..) => hash.chain_update(b"registry").finalize().into(),
        }
    }
}

/// What of a group makes it need its users' keys; none: nobody in it is known.
fn because(group: &GroupConfig) -> Option<&'static str> {
    if group.delivery == Delivery::Answer {
        return Some("delivery = answer");
    }
    (group.identities == IdentitiesName::Registered).then_some("identities = registered")
}

fn unnamed(group: &GroupConfig, key: &'static str, remedy: &'static str) -> IdentityError {
    let because = because(group).expect("only groups whose users are known need keys");
    IdentityError::Unnamed { group: group.id, because, key, remedy }
}

/// A group whose users are known, and nobody says by what.
fn no_users(group: &GroupConfig) -> IdentityError {
    let remedy = "the folder of a [registry], or verifying_keys, a file with a line `USER 64-HEX-DIGITS` for each member; or \
                  say identities = \"open\" where whoever says so may be a user, to measure";
    unnamed(group, "[registry]", remedy)
}

/// Hashes users and their keys, ascending.
fn hash_members(mut hash: Sha256, members: &HashMap<UserId, VerifyingKey>) -> Sha256 {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(user, _)| **user);
    for (user, key) in members {
        hash.update(user.0.to_le_bytes());
        hash.update(key.to_bytes());
    }
    hash
}

/// The seed in a file that is this user's alone.
fn read_seed(file: &Path) -> Result<Secret, IdentityError> {
    read_secret(file).map_err(|error| match error {
        FileError::Unreadable(error) => {
            IdentityError::Unreadable { key: "signing_key".into(), file: file.into(), error }
        }
        FileError::Mode(mode) => IdentityError::Mode { file: file.into(), mode },
        FileError::Form => IdentityError::Form { file: file.into() },
    })
}

/// The list in a file, with a key of each of the first `needed` users and no key twice: whoever had the key of two users
/// could speak for both.
fn read_members(
    key: String,
    file: &Path,
    needed: u32,
) -> Result<HashMap<UserId, VerifyingKey>, IdentityError> {
    let unreadable = |error| IdentityError::Unreadable { key: key.clone(), file: file.into(), error };
    let wrong = |line, what| IdentityError::Line { key: key.clone(), file: file.into(), line, what };
    let opened = File::open(file).map_err(unreadable)?;
    let mut members = HashMap::new();
    let mut holders: HashMap<VerifyingKey, (UserId, usize)> = HashMap::new();
    let mut last = 0;
    for (line, text) in (1..).zip(BufReader::new(opened).lines()) {
        let text = text.map_err(unreadable)?;
        last = line;
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (user, verifying) = read_member(text).map_err(|what| wrong(line, what.into()))?;
        if members.insert(user, verifying).is_some() {
            let what = format!("user {} has a key already: each user has one line", user.0);
            return Err(wrong(line, what));
        }
        match holders.entry(verifying) {
            Entry::Vacant(vacant) => vacant.insert((user, line)),
            Entry::Occupied(other) => {
                let (other, at) = other.get();
                let what = format!(
                    "user {} has the key of user {} (line {at}): each user has a key of its own",
                    user.0, other.0
                );
                return Err(wrong(line, what));
            }
        };
    }
    match (0..needed).find(|user| !members.contains_key(&UserId(*user))) {
        None => Ok(members),
        Some(user) => Err(wrong(
            last,
            format!(
                "the list ends, and has no key of user {user}: the users 0 to {} are members of the first epoch, and each \
                 needs a line `USER 64-HEX-DIGITS`",
                needed - 1
            ),
        )),
    }
}

/// A user and its key: a line of a list.
pub(crate) fn read_member(line: &str) -> Result<(UserId, VerifyingKey), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (Some(user), Some(digits), None) = (words.next(), words.next(), words.next()) else {
        return Err("a line is a user's number, a space, and 64 hexadecimal digits");
    };
    let user = user.parse().map_err(|_| "it begins with the user's number")?;
    Ok((UserId(user), read_key(digits)?))
}

/// A verifying key of 64 hexadecimal digits.
pub(crate) fn read_key(digits: &str) -> Result<VerifyingKey, &'static str> {
    let mut bytes = [0; KEY_BYTES];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| "a verifying key is 64 hexadecimal digits")?;
    VerifyingKey::from_bytes(&bytes)
        .map_err(|_| "these 64 digits are no verifying key of Ed25519, or one for which anybody can sign")
}

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;
