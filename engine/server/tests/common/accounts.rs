//! Users who register and prove who they are, over real sockets, and servers that keep their accounts.

use super::client::{Client, kind, show};
use super::pair::Servers;
use super::readers::user_key;
use super::{config, group};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use twincast_protocol::identity::{SIGNATURE_BYTES, SigningKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements::{self, Binding};
use twincast_protocol::wire::{Body, Code, HEADER_BYTES, Hello, Kind, Register, Registered};
use twincast_server::accounts::{Command, Reply, ask};
use twincast_server::config::{
    ChannelName, Config, GroupConfig, IdentitiesName, RegistrationName, RegistryConfig,
};

/// The group whose users are registered.
pub(crate) const GROUP: u32 = 6;

/// A group of six users who are registered.
pub(crate) fn registered(registration: RegistrationName) -> GroupConfig {
    GroupConfig { identities: IdentitiesName::Registered, registration, ..group(GROUP, 6) }
}

/// Where two servers keep their accounts.
pub(crate) struct Folders(pub(crate) [TempDir; 2]);

impl Folders {
    pub(crate) fn new() -> Folders {
        let owners = Permissions::from_mode(0o700);
        let folder =
            |()| tempfile::Builder::new().permissions(owners.clone()).tempdir().expect("a directory");
        Folders([(); 2].map(folder))
    }

    pub(crate) fn of(&self, side: ServerSide) -> &Path {
        self.0[side.index()].path()
    }

    /// Two linked servers that keep their accounts here.
    pub(crate) fn servers(
        &self,
        channel: ChannelName,
        group: GroupConfig,
        change: impl Fn(&mut Config),
    ) -> Servers {
        let base = Config { channel, ..config(vec![group]) };
        Servers::linked_with(base, |config| {
            let folder = self.of(config.server_side()).to_owned();
            config.registry = Some(RegistryConfig { folder });
            change(config);
        })
    }

    /// An operator's command at a server that runs.
    pub(crate) fn ask(&self, side: ServerSide, command: &Command) -> Reply {
        ask(self.of(side), command).expect("a socket").expect("a server")
    }
}

/// A connection to a server of either channel.
pub(crate) fn connect(servers: &Servers, side: ServerSide, channel: ChannelName) -> Client {
    let address = servers.get(side).address();
    match channel {
        ChannelName::Plain => Client::connect(address),
        ChannelName::Noise => Client::connect_private(address, side),
    }
}

/// REGISTER, signed for a channel.
pub(crate) fn register_frame(binding: &Binding, side: ServerSide, user: u32, key: &SigningKey) -> Vec<u8> {
    let (group, epoch, user, verifying) = (GroupId(GROUP), Epoch(0), UserId(user), key.verifying_key());
    let signature = key.sign(&statements::register(binding, group, epoch, user, &verifying));
    Register::new(group, epoch, user, side, &verifying, signature).frame().to_vec()
}

/// A proof of each user, by the keys of [`user_key`].
pub(crate) fn proofs(binding: &Binding, users: &[u32]) -> Vec<[u8; SIGNATURE_BYTES]> {
    let statement = |user: u32| statements::attach(binding, GroupId(GROUP), Epoch(0), UserId(user));
    users.iter().map(|&user| user_key(user).sign(&statement(user))).collect()
}

/// HELLO with these proofs.
pub(crate) fn hello(side: ServerSide, users: &[u32], proofs: &[[u8; SIGNATURE_BYTES]]) -> Vec<u8> {
    let users: Vec<UserId> = users.iter().copied().map(UserId).collect();
    Hello::frame_with(GroupId(GROUP), Epoch(0), side, false, &users, proofs)
}

impl Client {
    /// Registers a user by its own key. The answer is [`expect_registered`](Client::expect_registered)'s.
    pub(crate) fn register(&mut self, side: ServerSide, user: u32) {
        self.register_with(side, user, &user_key(user));
    }

    pub(crate) fn register_with(&mut self, side: ServerSide, user: u32, key: &SigningKey) {
        let frame = register_frame(&self.binding, side, user, key);
        self.send(&frame);
    }

    /// REGISTERED of this user has to come.
    pub(crate) fn expect_registered(&mut self, user: u32) -> Registered {
        let frame = self.frame("REGISTERED");
        assert_eq!(kind(&frame), Kind::Registered, "got {}", show(&frame));
        let registered = Registered::read(&frame[HEADER_BYTES..]).expect("of its one length");
        assert_eq!((registered.group.get(), registered.user.get()), (GROUP, user));
        registered
    }

    /// Attaches users with their proofs.
    pub(crate) fn attach_proved(&mut self, side: ServerSide, users: &[u32]) {
        let proofs = proofs(&self.binding, users);
        self.send(&hello(side, users, &proofs));
        self.welcome();
    }

    /// This error has to come, about this user, and the end.
    pub(crate) fn expect_refused(&mut self, code: Code, user: u32) {
        self.expect_error(code, user, u32::MAX, 0);
        self.expect_end(code.label());
    }
}

/// Registers users at both servers, and returns what both answered.
pub(crate) fn register_all(servers: &Servers, channel: ChannelName, users: &[u32]) -> Vec<Registered> {
    let mut clients = ServerSide::BOTH.map(|side| connect(servers, side, channel));
    for (side, client) in ServerSide::BOTH.into_iter().zip(&mut clients) {
        users.iter().for_each(|&user| client.register(side, user));
    }
    let [mut one, mut two] = clients;
    let both = |&user: &u32| {
        let registered = one.expect_registered(user);
        assert_eq!(registered, two.expect_registered(user), "both servers give the same");
        registered
    };
    users.iter().map(both).collect()
}
