//! What servers and members of a run are known by, sign and seal with: drawn afresh for each run, and kept nowhere.
//!
//! The coordinator draws a secret for the members, and two for each server: what it signs with, and the static key of its
//! channels. Hosts get the members' secret, of which they derive what each of their users proves, sends and reads with, and
//! the servers' public keys, which they pin; a server gets its own secrets, and only public keys of everybody else. None of
//! it is in a plan, a result or a log. It travels to the processes with their
//! first order; over an agent's connection in clear, as all orders do: what it protects is made up.
//!
//! A user's keys are HKDF-SHA256 of the members' secret with a label, the group and the user's number. All readers of a
//! sender know one key of it, and know each other by the sender's number.

use crate::plan::Plan;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hkdf::Hkdf;
use rand::Rng as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;
use twincast_protocol::answer::record::Readers;
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::{KEY_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};
use twincast_protocol::sealed::SealKey;
use twincast_server::answer::Identities;
use twincast_server::keys::{ChannelKeys, Keys};
use zeroize::{Zeroize as _, Zeroizing};

/// What a signing key is derived with.
const SIGNING: &[u8] = b"twincast-loadgen/signing/v1";
/// What a key to seal with is derived with.
const SEALING: &[u8] = b"twincast-loadgen/sealing/v1";

/// 32 bytes that nobody prints. Wiped on drop; `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret([u8; KEY_BYTES]);

/// What a user's records are made with.
#[derive(Debug)]
pub struct AuthorKeys {
    /// What it signs with.
    pub signing: SigningKey,
    /// What its readers open with.
    pub seal: SealKey,
}

/// What a reader knows of a sender.
#[derive(Debug)]
pub struct SenderKeys {
    /// What it signs with.
    pub verifying: VerifyingKey,
    /// What its records open with.
    pub seal: SealKey,
}

/// What a host is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKeys {
    members: Secret,
    /// What the two servers sign with, and what their channels are known by.
    verifying: [PublicKeys; 2],
    channels: [PublicKeys; 2],
}

/// What a server is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerKeys {
    signing: Secret,
    peer: PublicKeys,
    channel: Secret,
    peer_channel: PublicKeys,
    /// By group; none where anybody may be a user.
    members: Vec<PublicKeys>,
}

/// Verifying keys one after the other.
#[derive(Clone, PartialEq, Eq)]
struct PublicKeys(Vec<u8>);

/// All keys of a run.
#[derive(Debug)]
pub(crate) struct RunKeys {
    members: Secret,
    servers: [Secret; 2],
    channels: [Secret; 2],
    /// By group, none where anybody may be a user: of every user who ever is a member, by number.
    verifying: Vec<PublicKeys>,
}

impl Secret {
    /// Fresh, from the generator that the operating system seeds.
    #[must_use]
    pub fn random() -> Secret {
        let mut secret = Secret([0; KEY_BYTES]);
        rand::rng().fill_bytes(&mut secret.0);
        secret
    }

    /// What a user sends with.
    #[must_use]
    pub fn author(&self, group: u32, user: UserId) -> AuthorKeys {
        let seed = self.derived(SIGNING, group, user);
        AuthorKeys { signing: SigningKey::from_seed(&seed), seal: self.seal(group, user) }
    }

    /// What those who read a user know of it.
    #[must_use]
    pub fn sender(&self, group: u32, user: UserId) -> SenderKeys {
        let AuthorKeys { signing, seal } = self.author(group, user);
        SenderKeys { verifying: signing.verifying_key(), seal }
    }

    fn seal(&self, group: u32, user: UserId) -> SealKey {
        SealKey::from_bytes(&self.derived(SEALING, group, user))
    }

    fn derived(&self, label: &[u8], group: u32, user: UserId) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let info = [label, &group.to_le_bytes(), &user.0.to_le_bytes()];
        let expanded = Hkdf::<Sha256>::new(None, &self.0).expand_multi_info(&info, &mut key[..]);
        expanded.expect("HKDF gives 32 bytes");
        key
    }
}

impl AuthorKeys {
    /// The readers of a user's records.
    #[must_use]
    pub fn readers(&self, user: UserId) -> Readers<'_> {
        Readers { key: &self.seal, recipient_set: user.0.into() }
    }
}

impl SenderKeys {
    /// The readers of a sender's records.
    #[must_use]
    pub fn readers(&self, sender: UserId) -> Readers<'_> {
        Readers { key: &self.seal, recipient_set: sender.0.into() }
    }
}

impl HostKeys {
    /// What members send and read with.
    #[must_use]
    pub fn members(&self) -> &Secret {
        &self.members
    }

    /// What the two servers sign with.
    ///
    /// # Errors
    /// A sentence: one of them is no key.
    pub fn verifying(&self) -> Result<[VerifyingKey; 2], String> {
        let [one, two] = &self.verifying;
        Ok([one.single()?, two.single()?])
    }

    /// The static keys of the servers' channels, which a client pins.
    ///
    /// # Errors
    /// A sentence: one of them is no key.
    pub fn channels(&self) -> Result<[[u8; KEY_BYTES]; 2], String> {
        let [one, two] = &self.channels;
        Ok([one.bytes()?, two.bytes()?])
    }
}

impl ServerKeys {
    /// What the other server signs with.
    ///
    /// # Errors
    /// A sentence: that is no key.
    pub fn peer(&self) -> Result<VerifyingKey, String> {
        self.peer.single()
    }

    /// What the users of each group sign with.
    ///
    /// # Errors
    /// A sentence: that is no key.
    pub fn members(&self) -> Result<HashMap<GroupId, HashMap<UserId, VerifyingKey>>, String> {
        let of_group = |(group, keys): (u32, &PublicKeys)| {
            Ok((GroupId(group), (0..).map(UserId).zip(keys.all()?).collect()))
        };
        (0..).zip(&self.members).map(of_group).collect()
    }

    /// All of it, as a server takes it.
    ///
    /// # Errors
    /// As [`ServerKeys::members`].
    pub fn keys(&self) -> Result<Keys, String> {
        let identities = Identities::new(&self.signing.0, self.peer()?, self.members()?);
        let own = StaticKey::from_bytes(&self.channel.0);
        let channel = ChannelKeys::new(own, Some(self.peer_channel.bytes()?));
        Ok(Keys { channel: Some(channel), identities: Some(identities) })
    }
}

impl RunKeys {
    /// Draws the keys of a run, and derives what servers verify everybody with.
    pub(crate) fn draw(plan: &Plan) -> RunKeys {
        let members = Secret::random();
        let known = plan.answers() || plan.is_registered();
        let groups = if known { plan.groups } else { 0 };
        let users = plan.roster(plan.epochs().saturating_sub(1)).end() + 1;
        let verifying = (0..groups).map(|group| all_verifying(&members, group, users)).collect();
        let [servers, channels] = [(); 2].map(|()| [(); 2].map(|()| Secret::random()));
        RunKeys { members, servers, channels, verifying }
    }

    /// For each host.
    pub(crate) fn host(&self) -> HostKeys {
        HostKeys {
            members: self.members.clone(),
            verifying: self.servers.each_ref().map(verifying),
            channels: self.channels.each_ref().map(pinned),
        }
    }

    /// For one of the servers.
    pub(crate) fn server(&self, side: ServerSide) -> ServerKeys {
        ServerKeys {
            signing: self.servers[side.index()].clone(),
            peer: verifying(&self.servers[side.other().index()]),
            channel: self.channels[side.index()].clone(),
            peer_channel: pinned(&self.channels[side.other().index()]),
            members: self.verifying.clone(),
        }
    }
}

/// The verifying key of a server.
fn verifying(secret: &Secret) -> PublicKeys {
    PublicKeys(SigningKey::from_seed(&secret.0).verifying_key().to_bytes().to_vec())
}

/// What a server's channels are known by.
fn pinned(secret: &Secret) -> PublicKeys {
    PublicKeys(StaticKey::from_bytes(&secret.0).public().to_vec())
}

/// Of the users `0..users`, worked out on all cores: each takes some microseconds, and there may be many.
fn all_verifying(members: &Secret, group: u32, users: u32) -> PublicKeys {
    let threads = crate::environment::cores().clamp(1, 256) as u32;
    let each = users.div_ceil(threads).max(1);
    let part = |first: u32| {
        let of = |user| members.sender(group, UserId(user)).verifying.to_bytes();
        (first..first.saturating_add(each).min(users)).flat_map(of).collect::<Vec<u8>>()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            (0..users).step_by(each as usize).map(|first| scope.spawn(move || part(first))).collect();
        PublicKeys(parts.into_iter().flat_map(|part| part.join().expect("keys are derived")).collect())
    })
}

impl PublicKeys {
    fn all(&self) -> Result<Vec<VerifyingKey>, String> {
        let (keys, rest) = self.0.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() {
            return Err(format!(
                "verifying keys have {KEY_BYTES} bytes each, and these have {}",
                self.0.len()
            ));
        }
        let key = |(user, bytes)| {
            VerifyingKey::from_bytes(bytes).map_err(|error| format!("verifying key {user}: {error}"))
        };
        keys.iter().enumerate().map(key).collect()
    }

    fn bytes(&self) -> Result<[u8; KEY_BYTES], String> {
        self.0.as_slice().try_into().map_err(|_| {
            format!("a server's channel has one key of {KEY_BYTES} bytes, and this one {}", self.0.len())
        })
    }

    fn single(&self) -> Result<VerifyingKey, String> {
        match self.all()?.as_slice() {
            [key] => Ok(*key),
            keys => Err(format!("a server has one verifying key, and not {}", keys.len())),
        }
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKeys").field("bytes", &self.0.len()).finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD_NO_PAD.encode(self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        // What is wrong with it is not said with it.
        let wrong = || de::Error::custom("a secret has 32 bytes in base64");
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.as_bytes()).map_err(|_| wrong())?);
        bytes.as_slice().try_into().map(Secret).map_err(|_| wrong())
    }
}

impl Serialize for PublicKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKeys, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD_NO_PAD.decode(text).map(PublicKeys).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
