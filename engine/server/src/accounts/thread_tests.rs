use super::*;
use crate::accounts::book::{Registration, Rules, Signers};
use crate::accounts::command::{Command, Done};
use crate::accounts::faulty::Fault;
use crate::group::ConnectionId;
use std::collections::{BTreeMap, HashMap};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::sync_channel;
use tempfile::TempDir;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, ServerSide, UserId};

const GROUP: GroupId = GroupId(4);

fn key(number: u8) -> VerifyingKey {
    SigningKey::from_seed(&[number; 32]).verifying_key()
}

fn book(accounts: BTreeMap<Who, Account>) -> Book {
    let own = Arc::new(SigningKey::from_seed(&[100; 32]));
    let signers = Signers { side: ServerSide::One, own, peer: None };
    let rules = HashMap::from([(GROUP, Rules::new(true, false, 8))]);
    Book::new(signers, rules, accounts, Duration::from_secs(10))
}

/// A registry whose disk fails when the test wants it to, of a server that runs alone, and what goes to its executor.
struct Scene {
    registrar: Registrar,
    fault: Fault,
    now: Instant,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let fault = Fault::never();
        let store = Store::open_with(folder.path(), ServerSide::One, [None; 2], fault.opener()).unwrap();
        let (handle, told) = AccountsHandle::new();
        let registrar = Registrar {
            book: book(BTreeMap::new()),
            store: Some(Arc::new(store)),
            directory: Arc::default(),
            handle: Arc::new(handle),
            told,
            fronts: vec![Arc::new(FrontHandle::new().unwrap().0)],
            owner: Box::new(|_| Some(0)),
            link: None,
            metrics: Arc::new(Metrics::new([GROUP].into_iter())),
            session: None,
            unsent: VecDeque::new(),
            reopen: Box::new(|store| Ok(book(store.load()?))),
            failed: None,
            looked: None,
            said_false: Throttle::default(),
            unequal: Throttle::default(),
            epochs_unequal: Throttle::default(),
        };
        Scene { registrar, fault, now: Instant::now(), _folder: folder }
    }

    fn hear(&mut self, told: Told) {
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        self.registrar.recover(self.now);
        self.registrar.hear(told, self.now, &mut effects, &mut replies);
        self.registrar.settle(self.now, &mut effects, &mut replies);
    }

    /// Registers a user, by the key of its number: whether it is told that it is.
    fn register(&mut self, user: u32) -> bool {
        let ticket = Ticket { front: 0, connection: ConnectionId(1), index: 0 };
        let (user, key, epoch) = (UserId(user), key(user as u8), Epoch(0));
        self.hear(Told::Register(Registration { ticket, address: 1, group: GROUP, epoch, user, key }));
        match self.registrar.fronts[0].pop() {
            Some(FrontMessage::Registered(_, _, outcome)) => outcome.is_ok(),
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, command: Command) -> Reply {
        let (sender, receiver) = sync_channel(1);
        self.hear(Told::Command(command, sender));
        receiver.recv().unwrap()
    }

    fn remove(&mut self, user: u32) -> Reply {
        self.command(Command::Remove { group: GROUP.0, user })
    }

    fn list(&mut self) -> Result<Vec<u32>, String> {
        match self.command(Command::List { group: None })? {
            Done::Listed(rows) => Ok(rows.iter().map(|row| row.user).collect()),
            other => panic!("{other:?}"),
        }
    }

    fn serves(&self, user: u32) -> bool {
        self.registrar.directory.key(GROUP, UserId(user)).is_some()
    }
}

#[test]
fn nobody_is_told_of_an_account_that_is_not_on_the_disk() {
    let mut scene = Scene::new();
    assert!(scene.register(1));
    scene.fault.after(0);
    assert!(!scene.register(2));
    // Asked again at once, and once the file is looked at again, which fails, too.
    for _ in 0..3 {
        assert!(!scene.register(2) && !scene.register(1));
        assert!(scene.remove(1).unwrap_err().contains("disk"), "a command is refused by name");
        assert!(scene.list().unwrap_err().contains("accounts.redb"));
        assert!(scene.serves(1) && !scene.serves(2), "who is served is served on");
        scene.now += REOPEN_AFTER;
    }
    scene.fault.after(u64::MAX);
    scene.now += REOPEN_AFTER;
    assert_eq!(scene.list(), Ok(vec![1]));
    assert!(scene.register(2) && scene.register(1));
    assert_eq!(scene.remove(1), Ok(Done::Removed));
    assert!(scene.serves(2) && !scene.serves(1));
}

/// A commit that fails may be on the disk all the same: what the file says is what is served then.
#[test]
fn what_a_failed_commit_left_on_the_disk_is_what_holds() {
    let mut outcomes = Vec::new();
    for changes in 0.. {
        let mut scene = Scene::new();
        assert!(scene.register(1));
        scene.fault.after(changes);
        let removed = scene.remove(1);
        scene.fault.after(u64::MAX);
        scene.now += REOPEN_AFTER;
        let there = scene.list().unwrap() == [1];
        assert_eq!(scene.serves(1), there, "after {changes} changes");
        if removed.is_ok() {
            assert!(!there);
            break;
        }
        outcomes.push(there);
    }
    assert!(outcomes.contains(&true), "{outcomes:?}");
}
