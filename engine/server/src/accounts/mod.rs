//! Who has an account, and what proves it (PROTOCOL.md, section 6).
//!
//! A user's key comes from the registry, a file that one thread owns ([`store`](self) in redb), from the group's list of
//! verifying keys, or from a caller. A user registers with both servers, which sign its key for each other over the link:
//! both have to be given the same one. The operator's commands come over a socket in the registry's folder, or work on
//! the file of a server that does not run. Whoever verifies a signature looks into the [`Directory`].

mod book;
mod checked;
mod command;
mod directory;
mod epochs;
#[cfg(test)]
mod faulty;
mod handle;
mod proofs;
mod saying;
mod socket;
mod store;
mod thread;
mod throttle;
mod waiting;

pub(crate) use book::{Registration, Ticket};
pub(crate) use command::read_key;
pub use command::{Command, Done, Reply, Row};
pub use directory::Directory;
pub use epochs::Epochs;
pub use handle::AccountsHandle;
pub(crate) use proofs::VERIFIED_TOGETHER;
pub use proofs::{Proved, check_proofs};
pub use store::RegistryError;

use crate::answer::Identities;
use crate::config::{Config, Delivery, GroupConfig, IdentitiesName, RegistrationName};
use crate::front::FrontHandle;
use crate::link::LinkHandle;
use crate::metrics::Metrics;
use book::{Book, Effect, Rules, Signers, Who};
use handle::Told;
use socket::Socket;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Account, Store};
use thread::{Registrar, Reopen};
use throttle::Throttle;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};

pub use socket::ask;

/// The registry of a server: its file is open, and nobody is served yet.
pub(crate) struct Registry {
    book: Book,
    store: Option<Arc<Store>>,
    directory: Arc<Directory>,
    handle: Arc<AccountsHandle>,
    told: crossbeam::channel::Receiver<Told>,
    socket: Option<Socket>,
    reopen: Reopen,
}

/// What the registry's thread works with.
pub(crate) struct RegistryParts {
    /// The executors.
    pub(crate) fronts: Vec<Arc<FrontHandle>>,
    /// By group: the executor that owns it.
    pub(crate) owner: Box<dyn Fn(GroupId) -> Option<usize> + Send>,
    /// The link, if there is one.
    pub(crate) link: Option<Arc<LinkHandle>>,
    /// Where it counts.
    pub(crate) metrics: Arc<Metrics>,
}

/// The registry's threads.
#[derive(Debug)]
pub(crate) struct Accounts {
    handle: Arc<AccountsHandle>,
    thread: JoinHandle<()>,
    socket: Option<Socket>,
}

impl Registry {
    /// Opens the file, if the configuration names a folder, and reads every account.
    ///
    /// # Errors
    /// [`RegistryError`], with the remedy.
    pub(crate) fn open(config: &Config, identities: &Identities) -> Result<Registry, RegistryError> {
        let keys = Known::new(config, identities);
        let store =
            config.registry.as_ref().map(|registry| open_store(&registry.folder, &keys)).transpose()?;
        let book = keys.checked_book(store.as_ref())?;
        let store = store.map(Arc::new);
        let known = config.groups.iter().filter(|group| group.identities == IdentitiesName::Registered);
        let bound = known.map(|group| {
            let id = GroupId(group.id);
            (id, identities.bound_hash(id, config.server_side()))
        });
        let directory = Arc::new(Directory::of_groups(bound.collect()));
        for ((group, user), account) in book.accounts() {
            directory.keep(*group, *user, account, book.serves(*group, account));
        }
        let (handle, told) = AccountsHandle::new();
        let handle = Arc::new(handle);
        let socket =
            config.registry.as_ref().map(|registry| Socket::listen(&registry.folder, handle.clone()));
        let socket = socket.transpose()?;
        let reopen = Box::new(move |store: &Store| keys.book(Some(store)));
        Ok(Registry { book, store, directory, handle, told, socket, reopen })
    }

    /// What others look keys up in.
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What others tell it by.
    pub(crate) fn handle(&self) -> &Arc<AccountsHandle> {
        &self.handle
    }

    /// The epochs that groups begin with, where these are wanted, and what keeps the later ones; none where nothing is kept.
    ///
    /// # Errors
    /// [`RegistryError`], with the remedy.
    pub(crate) fn epochs(
        &self,
        wanted: impl IntoIterator<Item = (GroupId, Epoch)>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Epochs>, RegistryError> {
        self.store.as_ref().map(|store| Epochs::begin(store, metrics.clone(), wanted)).transpose()
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// When the system has none left.
    pub(crate) fn start(self, parts: RegistryParts) -> Result<Accounts, RegistryError> {
        let Registry { book, store, directory, handle, told, mut socket, reopen } = self;
        let registrar = Registrar {
            book,
            store,
            directory,
            handle: handle.clone(),
            told,
            fronts: parts.fronts,
            owner: parts.owner,
            link: parts.link,
            metrics: parts.metrics,
            session: None,
            unsent: VecDeque::new(),
            reopen,
            failed: None,
            looked: None,
            said_false: Throttle::default(),
            unequal: Throttle::default(),
            epochs_unequal: Throttle::default(),
        };
        let thread = std::thread::Builder::new().name("registry".into()).spawn(move || registrar.run())?;
        let accounts = |socket| Accounts { handle, thread, socket };
        match socket.as_mut().map(Socket::start).transpose() {
            Ok(_) => Ok(accounts(socket)),
            Err(error) => {
                accounts(None).stop();
                Err(error)
            }
        }
    }
}

impl Accounts {
    /// Ends its threads: what was answered is on the disk.
    pub(crate) fn stop(self) {
        if let Some(socket) = self.socket {
            socket.stop();
        }
        self.handle.stop();
        if self.thread.join().is_err() {
            tracing::error!("the registry's thread panicked");
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("accounts", &self.book.accounts().len()).finish_non_exhaustive()
    }
}

/// What a configuration and keys say of accounts.
struct Known {
    side: ServerSide,
    signing: Arc<twincast_protocol::identity::SigningKey>,
    peer: Option<VerifyingKey>,
    rules: HashMap<GroupId, Rules>,
    /// Accounts of groups that have a list.
    listed: BTreeMap<Who, Account>,
    timeout: Duration,
}

impl Known {
    fn new(config: &Config, identities: &Identities) -> Known {
        let lists = identities.lists();
        let known = |group: &&GroupConfig| {
            group.identities == IdentitiesName::Registered || group.delivery == Delivery::Answer
        };
        let rules = |group: &GroupConfig| {
            let (id, open) = (GroupId(group.id), group.registration == RegistrationName::Open);
            (id, Rules::new(open, lists.contains_key(&id), group.members_most()))
        };
        let listed = lists.iter().flat_map(|(group, list)| {
            list.iter().map(|(user, key)| ((*group, *user), Account::new(*key, Epoch(0))))
        });
        Known {
            side: config.server_side(),
            signing: Arc::new(identities.signing()),
            peer: identities.peer().filter(|_| config.link.is_some()),
            rules: config.groups.iter().filter(known).map(rules).collect(),
            listed: listed.collect(),
            timeout: Duration::from_millis(config.limits.registration_timeout_ms),
        }
    }

    /// The book of what is in the file, once every signature in it is one.
    fn checked_book(&self, store: Option<&Store>) -> Result<Book, RegistryError> {
        let Some(store) = store else { return self.book(None) };
        let mut accounts = store.load()?;
        let mended = checked::mend(&mut accounts, &self.signers());
        if !mended.is_empty() {
            tracing::warn!(
                accounts = mended.len(),
                "accounts had signatures that are not the two servers': they are made anew, and these accounts serve once both \
                 servers have signed them"
            );
            store.commit(mended.into_iter().map(|who| (who, accounts.get(&who).copied())))?;
        }
        Ok(self.book_of(accounts))
    }

    fn book(&self, store: Option<&Store>) -> Result<Book, RegistryError> {
        Ok(self.book_of(store.map(Store::load).transpose()?.unwrap_or_default()))
    }

    fn book_of(&self, mut accounts: BTreeMap<Who, Account>) -> Book {
        // A group that has a list now has its users from there.
        let is_listed = |group: GroupId| self.rules.get(&group).is_some_and(|rules| rules.listed);
        accounts.retain(|(group, _), _| !is_listed(*group));
        accounts.extend(self.listed.iter().map(|(who, account)| (*who, *account)));
        Book::new(self.signers(), self.rules.clone(), accounts, self.timeout)
    }

    fn signers(&self) -> Signers {
        Signers { side: self.side, own: self.signing.clone(), peer: self.peer }
    }
}

fn open_store(folder: &Path, keys: &Known) -> Result<Store, RegistryError> {
    Store::open(folder, keys.side, [Some(keys.signing.verifying_key()), keys.peer])
}

/// Does what an operator wants on the file of a server that does not run. The other server hears of it when the server
/// runs again.
///
/// # Errors
/// [`RegistryError`] where the file cannot be had, for one because the server runs after all.
pub fn command_on_file(
    config: &Config,
    identities: &Identities,
    command: &Command,
) -> Result<Reply, RegistryError> {
    let Some(registry) = &config.registry else {
        return Ok(Err("the configuration has no [registry]: its folder is where accounts are kept".into()));
    };
    let keys = Known::new(config, identities);
    let store = open_store(&registry.folder, &keys)?;
    let mut book = keys.checked_book(Some(&store))?;
    let mut effects = Vec::new();
    let reply = command.perform(&mut book, Instant::now(), &mut effects);
    if reply.is_ok() {
        let changes = effects.iter().filter_map(|effect| match effect {
            Effect::Keep(who, account) => Some((*who, Some(*account))),
            Effect::Forget(who) => Some((*who, None)),
            _ => None,
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            store.commit(changes)?;
        }
    }
    Ok(reply)
}
