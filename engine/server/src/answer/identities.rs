//! Who is who: what this server signs with, and what it verifies the other one's and the members' signatures with.
//!
//! They come from files that the configuration names. The list of a group's members is public, and the same at both
//! servers; what this server signs with is nobody else's, and its file is not taken where others could read it.
//!
//! ```text
//! signing_key       64 hexadecimal digits: the private key of RFC 8032; mode 0600 or tighter
//! verifying_keys    a line for each user: its number, a space, 64 hexadecimal digits; empty lines and `#` lines are skipped;
//!                   no two users have one key
//! ```

use super::work::Setup;
use crate::config::{Config, Delivery, GroupConfig};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twincast_protocol::identity::{KEY_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};
use zeroize::Zeroizing;

/// What the settings of a group whose delivery is `answer` are hashed with further.
const SETTINGS_PREFIX: &[u8] = b"twincast/settings/identities/v1";

/// What the list of a group's members is hashed with.
const LIST_PREFIX: &[u8] = b"twincast/settings/members/v1";

/// The longest file of a signing key that is read: its digits, and what an editor puts behind them.
const KEY_FILE_BYTES_MAX: usize = 2 * KEY_BYTES + 8;

/// Everything that the groups of a server whose delivery is `answer` sign and verify with. `Debug` shows no key.
pub struct Identities {
    signing_seed: Zeroizing<[u8; KEY_BYTES]>,
    peer: VerifyingKey,
    members: HashMap<GroupId, HashMap<UserId, VerifyingKey>>,
}

/// Why a server does not know who is who: the operator's doing; nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The configuration does not say where a key is.
    #[error("groups[id = {group}].delivery = answer needs {key}: {remedy}")]
    Unnamed {
        /// The group.
        group: u32,
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
    /// What this server signs with, what the other one is verified with, and each group's members. The seed is the private
    /// key of RFC 8032.
    #[must_use]
    pub fn new(
        signing_seed: &[u8; KEY_BYTES],
        peer: VerifyingKey,
        members: HashMap<GroupId, HashMap<UserId, VerifyingKey>>,
    ) -> Identities {
        Identities { signing_seed: Zeroizing::new(*signing_seed), peer, members }
    }

    /// Reads the files that the configuration names; none where no group's delivery is `answer`.
    ///
    /// # Errors
    /// [`IdentityError`], which names file and line.
    pub fn load(config: &Config) -> Result<Option<Identities>, IdentityError> {
        let mut groups = config.groups.iter().filter(|group| group.delivery == Delivery::Answer).peekable();
        let Some(first) = groups.peek().map(|group| group.id) else { return Ok(None) };
        let unnamed = |group, key, remedy| IdentityError::Unnamed { group, key, remedy };
        let file = config.signing_key.as_ref();
        let file = file.ok_or_else(|| {
            unnamed(
                first,
                "signing_key",
                "the file with this server's private key, 64 hexadecimal digits: `(umask 077; openssl rand -hex 32 > \
                 signing.key)` makes one",
            )
        })?;
        let signing_seed = read_seed(file)?;
        let peer = config.link.as_ref().and_then(crate::config::LinkConfig::peer_key);
        let peer = peer.ok_or_else(|| {
            unnamed(
                first,
                "link.peer_verifying_key",
                "the verifying key of the other server, 64 hexadecimal digits, which its operator sees with `--check`",
            )
        })?;
        let mut members = HashMap::new();
        for group in groups {
            let file = group.verifying_keys.as_ref().ok_or_else(|| {
                unnamed(
                    group.id,
                    "its verifying_keys",
                    "a file with a line `USER 64-HEX-DIGITS` for each member",
                )
            })?;
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
        Ok(SigningKey::from_seed(&*read_seed(file)?).verifying_key())
    }

    /// What the other server verifies this one's signatures with.
    #[must_use]
    pub fn own(&self) -> VerifyingKey {
        self.signing().verifying_key()
    }

    /// What the other server's signatures are verified with here.
    #[must_use]
    pub fn peer(&self) -> VerifyingKey {
        self.peer
    }

    /// How many users have a key in a group's list, and a hash over them that is the same at both servers. None: the
    /// group's delivery is not `answer`.
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

    /// Checks that every member of every group has a key.
    ///
    /// # Errors
    /// [`IdentityError`] for the first who has none.
    pub(crate) fn check(&self, config: &Config) -> Result<(), IdentityError> {
        if self.signing().verifying_key() == self.peer {
            return Err(IdentityError::OwnPeer);
        }
        for group in config.groups.iter().filter(|group| group.delivery == Delivery::Answer) {
            let members = self.members.get(&GroupId(group.id));
            let known = |user: &u32| members.is_some_and(|members| members.contains_key(&UserId(*user)));
            if let Some(user) = (0..group.members).find(|user| !known(user)) {
                return Err(IdentityError::Missing { group: group.id, user, last: group.members - 1 });
            }
        }
        Ok(())
    }

    /// What a group signs and verifies with.
    pub(crate) fn take_setup(&mut self, group: &GroupConfig, side: ServerSide) -> Arc<Setup> {
        let id = GroupId(group.id);
        let members = self.members.remove(&id).unwrap_or_default();
        Arc::new(Setup { group: id, side, signing: self.signing(), peer: self.peer, members })
    }

    fn signing(&self) -> SigningKey {
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
        hash_members(hash, &self.members).finalize().into()
    }
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

/// The seed in a file that is this user's alone. Whatever was read is wiped.
fn read_seed(file: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, IdentityError> {
    let unreadable =
        |error| IdentityError::Unreadable { key: "signing_key".into(), file: file.into(), error };
    let form = || IdentityError::Form { file: file.into() };
    let mut opened = File::open(file).map_err(unreadable)?;
    let mode = opened.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Mode { file: file.into(), mode });
    }
    let mut text = Zeroizing::new([0; KEY_FILE_BYTES_MAX + 1]);
    let mut length = 0;
    loop {
        match opened.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(bytes) => length += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text[..length].trim_ascii(), &mut seed[..]).map_err(|_| form())?;
    Ok(seed)
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

fn read_member(line: &str) -> Result<(UserId, VerifyingKey), &'static str> {
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
