//! Connections that register users' keys instead of attaching them, and the proofs of those that attach.

use super::executor::{Handle, Shared};
use super::frames::Buffer;
use super::greet::Guest;
use super::net::{self, give_way, within};
use super::queue::Outcome;
use crate::accounts::{Proved, Registration, Ticket, VERIFIED_TOGETHER, check_proofs};
use crate::config::{Delivery, IdentitiesName, RegistrationName};
use crate::limits::{FLUSH_TIMEOUT_MS, PROOFS_PER_TURN, REGISTRATIONS_IN_WORK_MAX, TICK_MS};
use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use twincast_protocol::identity::{Batch, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::{Body, Code, HEADER_BYTES, Kind, Proofs, Register, Registered};

/// Bytes of the registrations that are in work at a time.
const BUFFER_BYTES: usize = REGISTRATIONS_IN_WORK_MAX * (HEADER_BYTES + size_of::<Register>());

/// Why a connection is turned away, and the user whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// None: the peer is gone.
    pub(super) code: Option<Code>,
    /// `u32::MAX`: nobody.
    pub(super) user: u32,
}

impl From<Option<Code>> for Refused {
    fn from(code: Option<Code>) -> Refused {
        Refused { code, user: u32::MAX }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Refused {
        Refused::from(Some(code))
    }
}

/// What a connection that registers waits for: by registration, what came of it.
#[derive(Debug, Default)]
pub(super) struct Waiting(RefCell<WaitingInner>);

#[derive(Debug, Default)]
struct WaitingInner {
    outcomes: Vec<Option<Outcome>>,
    stopped: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn expect(&self, count: usize) {
        self.0.borrow_mut().outcomes = vec![None; count];
    }

    /// The registry has answered.
    pub(super) fn came(&self, index: usize, outcome: Outcome) {
        let mut inner = self.0.borrow_mut();
        if let Some(place) = inner.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// The server stops: nobody waits any longer.
    pub(super) fn stop(&self) {
        let mut inner = self.0.borrow_mut();
        inner.stopped = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    async fn outcome(&self, index: usize) -> Outcome {
        poll_fn(|context| {
            let mut inner = self.0.borrow_mut();
            if let Some(outcome) = inner.outcomes[index] {
                return Poll::Ready(outcome);
            }
            if inner.stopped {
                return Poll::Ready(Err(Code::ShuttingDown));
            }
            inner.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn is_there(&self, index: usize) -> bool {
        self.0.borrow().outcomes.get(index).is_some_and(Option::is_some)
    }
}

/// Takes registrations, beginning with the one whose body is there, until the peer sends no more or one is refused.
pub(super) async fn serve(
    executor: &Handle,
    shared: &Shared,
    guest: &mut Guest,
    first: Range<usize>,
) -> Refused {
    let waiting = Rc::new(Waiting::default());
    executor.borrow_mut().registering.insert(guest.connection, waiting.clone());
    let refused = take_all(executor, shared, guest, first, &waiting).await;
    executor.borrow_mut().registering.remove(&guest.connection);
    match refused {
        Err(refused) => refused,
        // The peer has said all, and was answered.
        Ok(()) => Refused::from(None),
    }
}

async fn take_all(
    executor: &Handle,
    shared: &Shared,
    guest: &mut Guest,
    first: Range<usize>,
    waiting: &Waiting,
) -> Result<(), Refused> {
    let users_max = shared.config.limits.users_per_connection_max as usize;
    let idle = Duration::from_millis(shared.config.limits.hello_timeout_ms);
    let mut bodies = vec![read(shared, guest, first)];
    guest.buffer = Buffer::new(BUFFER_BYTES, guest.buffer.rest());
    let mut taken = 0;
    loop {
        // All that are here already go together.
        while bodies.len() < REGISTRATIONS_IN_WORK_MAX && bodies.last().is_none_or(Result::is_ok) {
            match guest.buffer.first(0) {
                Ok(Some((Kind::Register, body))) => bodies.push(read(shared, guest, body)),
                Ok(Some(_)) => bodies.push(Err(Code::KindUnknown.into())),
                Ok(None) => break,
                Err(code) => bodies.push(Err(code.into())),
            }
        }
        if !bodies.is_empty() {
            taken += bodies.len();
            if taken > users_max {
                return Err(Code::UsersTooMany.into());
            }
            work(executor, shared, guest, std::mem::take(&mut bodies), waiting).await?;
            continue;
        }
        let read = within(idle, guest.inlet.read(guest.buffer.room())).await;
        match read.ok_or(Code::HelloTimeout)? {
            Ok(bytes @ 1..) => guest.buffer.filled(bytes),
            Ok(0) => return Ok(()),
            Err(cut) => return Err(super::greet::code_of_cut(cut).into()),
        }
    }
}

/// A registration that is right in form, and for this server.
fn read(shared: &Shared, guest: &Guest, body: Range<usize>) -> Result<Register, Refused> {
    let (register, side) = Register::read(guest.buffer.get(body))?;
    let refused = |code: Code| Refused { code: Some(code), user: register.user.get() };
    if side != shared.side {
        return Err(refused(Code::SideWrong));
    }
    if shared.owner(GroupId(register.group.get())).is_none() {
        return Err(refused(Code::GroupUnknown));
    }
    check_rules(shared, &register).map_err(refused)?;
    Ok(register)
}

/// What is refused whoever signed it, before anything is verified: strangers' signatures cost a server more than they cost
/// strangers. The registry has the last word.
fn check_rules(shared: &Shared, register: &Register) -> Result<(), Code> {
    let (group, user) = (GroupId(register.group.get()), UserId(register.user.get()));
    let config = shared.config.groups.iter().find(|config| config.id == group.0);
    let config = config.filter(|config| {
        config.identities == IdentitiesName::Registered || config.delivery == Delivery::Answer
    });
    let config = config.filter(|_| shared.accounts.is_some()).ok_or(Code::RegistrationClosed)?;
    match shared.directory.account_key(group, user) {
        Some(key) if key.to_bytes() == register.key => Ok(()),
        Some(_) => Err(Code::AccountTaken),
        None if config.registration == RegistrationName::Open => Ok(()),
        None => Err(Code::RegistrationClosed),
    }
}

/// Registers what is right of some registrations, answers each in its order, and ends with the first that is refused.
async fn work(
    executor: &Handle,
    shared: &Shared,
    guest: &mut Guest,
    bodies: Vec<Result<Register, Refused>>,
    waiting: &Waiting,
) -> Result<(), Refused> {
    let (registrations, wrong) = verify(executor, shared, guest, bodies).await;
    waiting.expect(registrations.len());
    let accounts = shared.accounts.as_ref().ok_or(Code::RegistrationClosed)?;
    let patience = Duration::from_millis(shared.config.limits.registration_timeout_ms);
    let mut given = 0;
    for registration in &registrations {
        // Room in the queue comes with the next commit; who finds none for too long comes again.
        let pushed = within(patience, async {
            while accounts.register(*registration).is_err() {
                net::sleep(Duration::from_millis(TICK_MS)).await;
            }
        });
        if pushed.await.is_none() {
            break;
        }
        given += 1;
    }
    let mut answers = Vec::new();
    for (index, registration) in registrations.iter().enumerate().take(given) {
        if !waiting.is_there(index) && !answers.is_empty() {
            answer(guest, &std::mem::take(&mut answers)).await?;
        }
        // The registry's own time limit is what ends this; it answers all that it was given.
        match waiting.outcome(index).await {
            Ok((epoch, signatures)) => {
                Registered::new(registration.group, epoch, registration.user, signatures)
                    .put(0, &mut answers);
            }
            Err(code) => {
                answer(guest, &answers).await?;
                return Err(Refused { code: Some(code), user: registration.user.0 });
            }
        }
    }
    answer(guest, &answers).await?;
    if given < registrations.len() {
        return Err(Code::StrangersFull.into());
    }
    wrong.map_or(Ok(()), Err)
}

/// Sends answers. Who does not take them in time is as good as gone, and keeps no task busy.
async fn answer(guest: &mut Guest, answers: &[u8]) -> Result<(), Refused> {
    let said = within(Duration::from_millis(FLUSH_TIMEOUT_MS), guest.outlet.say(answers)).await;
    match said {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(Refused::from(None)),
    }
}

/// The registrations up to the first whose key is none, or did not sign it for this channel. Some are verified at a time,
/// and everything else of the executor has its turn in between.
async fn verify(
    executor: &Handle,
    shared: &Shared,
    guest: &Guest,
    bodies: Vec<Result<Register, Refused>>,
) -> (Vec<Registration>, Option<Refused>) {
    let front = executor.borrow().index;
    let mut registrations = Vec::with_capacity(bodies.len());
    let mut wrong = None;
    for part in bodies.chunks(VERIFIED_TOGETHER) {
        if !registrations.is_empty() {
            give_way().await;
        }
        wrong = verify_part(front, guest, part, &mut registrations);
        if wrong.is_some() {
            break;
        }
    }
    tracing::debug!(
        connection = guest.connection.0,
        side = %shared.side,
        registrations = registrations.len(),
        "registrations came"
    );
    (registrations, wrong)
}

/// Adds those that are right. Returns why the one after them is not.
fn verify_part(
    front: usize,
    guest: &Guest,
    bodies: &[Result<Register, Refused>],
    registrations: &mut Vec<Registration>,
) -> Option<Refused> {
    let mut batch = Batch::default();
    let before = registrations.len();
    let mut wrong = None;
    for body in bodies {
        let register = match body {
            Ok(register) => register,
            Err(refused) => {
                wrong = Some(*refused);
                break;
            }
        };
        let (group, epoch) = (GroupId(register.group.get()), Epoch(register.epoch.get()));
        let user = UserId(register.user.get());
        let Ok(key) = VerifyingKey::from_bytes(&register.key) else {
            wrong = Some(Refused { code: Some(Code::RegistrationWrong), user: user.0 });
            break;
        };
        let statement = statements::register(&guest.binding, group, epoch, user, &key);
        batch.push(&key, &statement, &register.signature);
        let ticket = Ticket { front, connection: guest.connection, index: registrations.len() };
        registrations.push(Registration { ticket, address: guest.address, group, epoch, user, key });
    }
    let valid = batch.verify(&mut rand::rng());
    if let Some(bad) = valid.iter().position(|valid| !valid) {
        let bad = before + bad;
        wrong = Some(Refused { code: Some(Code::RegistrationWrong), user: registrations[bad].user.0 });
        registrations.truncate(bad);
    }
    wrong
}

/// Checks that the users of a HELLO are who they say, where that matters in their group.
pub(super) async fn prove(
    shared: &Shared,
    guest: &Guest,
    (group, epoch): (GroupId, Epoch),
    users: &[UserId],
    proofs: Proofs<'_>,
) -> Result<Proved, Refused> {
    let config = shared.config.groups.iter().find(|config| config.id == group.0);
    if config.is_none_or(|config| config.identities == IdentitiesName::Open) {
        return Ok(Proved::nothing());
    }
    if proofs.len() != users.len() {
        return Err(Code::ProofWanted.into());
    }
    let mut first = None;
    for (users, proofs) in users.chunks(PROOFS_PER_TURN).zip(proofs.chunks(PROOFS_PER_TURN)) {
        if first.is_some() {
            give_way().await;
        }
        let of = (group, epoch);
        let proved = check_proofs(&shared.directory, &guest.binding, of, users, proofs, &mut rand::rng());
        let proved = proved.map_err(|(code, user)| Refused {
            code: Some(code),
            user: user.map_or(u32::MAX, |user| user.0),
        })?;
        // What was proved first is what may have changed since.
        first.get_or_insert(proved);
    }
    first.ok_or(Code::UsersNotAscending.into())
}
