//! A whole server: starts its threads in order, and stops them in order.

use crate::accountable::Accounting;
use crate::accounts::{Accounts, Directory, Registry, RegistryError, RegistryParts};
use crate::answer::{AnswerPool, AnswerThreads, Identities, IdentityError, Owner, Setup};
use crate::config::{ChannelName, Config, ConfigError, Cores, CoresNamed, Delivery, GroupConfig};
use crate::fanout::{Core, CoreHandle, CoreMessage};
use crate::front::{Acceptor, Executor, FrontHandle, FrontMessage, Shared, Strangers, Taking};
use crate::keys::{KeyError, Keys};
use crate::limits::{DESCRIPTORS_SPARE, EXECUTOR_MEMLOCK_BYTES};
use crate::link::{Link, LinkHandle, LinkParts};
use crate::metrics::Metrics;
use crate::pages::{self, Pages};
use crate::parts_box::{BoxError, BoxFolder};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use twincast_protocol::ids::GroupId;
use twincast_ring::RingError;

/// How soon a message for a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// Why a server did not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is out of bounds: the operator's doing.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// It is not known who signs with what: a file is missing or wrong, and the message names it, with the line.
    #[error("identities: {0}")]
    Identity(IdentityError),
    /// The server's own keys are missing or wrong; the message names key, file and remedy.
    #[error("keys: {0}")]
    Key(KeyError),
    /// A fan-out core could not be set up: the message says what the kernel or a limit refused, and the remedy.
    #[error("fan-out: {0}")]
    Ring(#[from] RingError),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address} ({error}): choose another address or stop who has it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The accounts of users cannot be read, or kept.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The folder for boxes cannot be used.
    #[error("box: {0}")]
    Box(#[from] BoxError),
    /// Fewer descriptors than the connections need.
    #[error(
        "{needed} descriptors are needed for limits.connections_max and the limit is {limit}: \
         raise it (`ulimit -n {needed}`, LimitNOFILE= in the unit) or lower limits.connections_max"
    )]
    Descriptors {
        /// How many.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// Threads, executors or doorbells: the message has the remedy where it is a limit.
    #[error("front: {0}")]
    Front(#[from] io::Error),
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> StartError {
        match error {
            KeyError::Identity(error) => StartError::Identity(error),
            error => StartError::Key(error),
        }
    }
}

/// What a server counts, as a report has it. All since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that the kernel took for clients.
    pub egress_bytes: u64,
    /// Message cells sent whole.
    pub egress_shares: u64,
    /// Answers sent whole.
    pub egress_answers: u64,
    /// Sends without a copy asked for.
    pub zero_copy_sends: u64,
    /// Those of them that the kernel copied after all.
    pub zero_copy_copied: u64,
    /// Connections closed because they did not read.
    pub slow_readers_closed: u64,
    /// Time that connections had data to send, summed, in microseconds.
    pub tcp_busy_us: u64,
    /// Part of it in which the peer's window was closed.
    pub tcp_rwnd_limited_us: u64,
    /// Part of it in which the send buffer was too small.
    pub tcp_sndbuf_limited_us: u64,
    /// Segments sent again.
    pub tcp_retransmits: u64,
    /// Bytes that clients have acknowledged.
    pub tcp_bytes_acked: u64,
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    acceptor: Acceptor,
    link: Option<Link>,
    pages: Option<Pages>,
    executors: Vec<crate::front::Joiner>,
    answers: Option<AnswerThreads>,
    accounts: Option<Accounts>,
    cores: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts everything; clients may connect once it returns. Keys are read from the files that the configuration names.
    ///
    /// # Errors
    /// [`StartError`], with the remedy.
    pub fn start(config: Config) -> Result<Server, StartError> {
        config.check()?;
        let keys = Keys::load(&config)?;
        Server::start_checked(config, keys)
    }

    /// The same with keys that the caller has; what the configuration says of files is not looked at.
    ///
    /// # Errors
    /// [`StartError`], with the remedy.
    pub fn start_with(config: Config, keys: Keys) -> Result<Server, StartError> {
        config.check()?;
        keys.check(&config)?;
        Server::start_checked(config, keys)
    }

    fn start_checked(config: Config, keys: Keys) -> Result<Server, StartError> {
        let Keys { channel, identities } = keys;
        raise_descriptors(config.limits.connections_max)?;
        say_needs(&config);
        let (executors, threads) = (config.front.executors, config.fan_out.threads);
        let groups = || config.groups.iter().map(|group| GroupId(group.id));
        let core_handles =
            (0..threads).map(|_| CoreHandle::new(groups())).collect::<Result<Vec<_>, RingError>>()?;
        let (fronts, ears): (Vec<_>, Vec<_>) = (0..executors)
            .map(|_| FrontHandle::new().map(|(handle, ear)| (Arc::new(handle), ear)))
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let metrics = Arc::new(Metrics::new(groups()));
        let answer_threads = config.answer_threads();
        let registry =
            identities.as_ref().map(|identities| Registry::open(&config, identities)).transpose()?;
        let directory = registry.as_ref().map(|registry| registry.directory().clone()).unwrap_or_default();
        // A clock before 1970 is set wrong, and timed rounds go by it all the same.
        let unix_at_zero = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let clock = Instant::now();
        let epochs = registry.as_ref().map(|registry| {
            let signing = config.groups.iter().filter(|group| group.signs_epochs());
            let first = |group| config.shape(group).with_unix_at_zero(unix_at_zero).first_epoch();
            registry.epochs(signing.map(|group| (GroupId(group.id), first(group))), &metrics)
        });
        let shared = Arc::new(Shared {
            side: config.server_side(),
            channel: channel.filter(|_| config.channel == ChannelName::Noise).map(Arc::new),
            strangers: Strangers::new(&config.limits),
            answers: (answer_threads > 0).then(|| AnswerPool::new(answer_threads)),
            setups: setups(&config, identities.as_ref(), &directory),
            accountings: accountings(&config, identities.as_ref(), &directory),
            directory,
            accounts: registry.as_ref().map(|registry| registry.handle().clone()),
            epochs: epochs.transpose()?.flatten(),
            boxes: boxes(&config)?,
            link: config.link.is_some().then(LinkHandle::new).transpose()?.map(Arc::new),
            config,
            cores: core_handles,
            fronts,
            metrics: metrics.clone(),
            clock,
            unix_at_zero,
        });
        let [front_cores, fan_out_cores, answer_cores] = placements(&shared.config);
        let mut starting = Starting {
            shared: shared.clone(),
            executors: vec![],
            link: None,
            answers: None,
            cores: vec![],
            pages: None,
            accounts: None,
            stands: false,
        };
        for (index, core) in fan_out_cores.into_iter().enumerate().take(threads) {
            starting.cores.push(start_core(index, core, &shared)?);
        }
        starting.answers = start_answers(&shared, &answer_cores)?;
        for (index, (ear, core)) in ears.into_iter().zip(front_cores).enumerate() {
            starting.executors.push(Executor::start(index, core, shared.clone(), ear)?);
        }
        let listen = |address, error| StartError::Listen { address, error };
        let pages = shared
            .config
            .metrics_listen
            .map(|address| Pages::start(address, shared.clone()).map_err(|error| listen(address, error)));
        starting.pages = pages.transpose()?;
        starting.accounts = registry.map(|registry| start_registry(registry, &shared)).transpose()?;
        starting.link = start_link(&shared)?;
        let address = shared.config.listen;
        let taking = Taking {
            connections_max: shared.config.limits.connections_max,
            send_buffer_bytes: shared.config.fan_out.send_buffer_bytes,
        };
        let strangers = shared.strangers.clone();
        let acceptor = Acceptor::start(address, taking, shared.fronts.clone(), strangers, metrics)
            .map_err(|error| listen(address, error))?;
        let accounts = starting.accounts.take();
        let (executors, link, answers, cores, pages) = starting.done();
        tracing::info!(side = %shared.side, address = %acceptor.address(), "ready");
        Ok(Server { shared, acceptor, link, pages, executors, answers, accounts, cores })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Where S1 connects to this S2, if it is linked.
    #[must_use]
    pub fn link_address(&self) -> Option<SocketAddr> {
        self.link.as_ref().and_then(Link::address)
    }

    /// Where `/metrics` is, if it is served.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.pages.as_ref().map(Pages::address)
    }

    /// What the server has counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for core in pages::count(&self.shared.cores).into_iter().flatten() {
            sum.egress_bytes += core.egress.sent_bytes;
            sum.egress_shares += core.shares;
            sum.egress_answers += core.answers;
            sum.zero_copy_sends += core.egress.zc_sends;
            sum.zero_copy_copied += core.egress.zc_copied;
            sum.slow_readers_closed += core.slow_readers_closed;
            sum.tcp_busy_us += core.tcp.busy_us;
            sum.tcp_rwnd_limited_us += core.tcp.rwnd_limited_us;
            sum.tcp_sndbuf_limited_us += core.tcp.sndbuf_limited_us;
            sum.tcp_retransmits += core.tcp.retransmits;
            sum.tcp_bytes_acked += core.tcp.bytes_acked;
        }
        sum
    }

    /// The front's counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Stops gracefully: takes no connection, finishes the open rounds or refuses them, gives every reader what is
    /// on its way and the reason, and returns when all threads have ended.
    ///
    /// # Errors
    /// If a thread had panicked.
    pub fn stop(self) -> io::Result<()> {
        self.acceptor.stop();
        for front in &self.shared.fronts {
            let mut message = FrontMessage::Stop;
            while let Err(back) = front.send(message) {
                message = back;
                std::thread::sleep(RETRY);
            }
        }
        let ended: io::Result<()> = self.executors.into_iter().try_for_each(crate::front::Joiner::join);
        if let Some(link) = self.link {
            link.stop();
        }
        if let Some(accounts) = self.accounts {
            accounts.stop();
        }
        if let Some(boxes) = &self.shared.boxes {
            boxes.release();
        }
        let answered = self.answers.map_or(Ok(()), AnswerThreads::stop);
        let stopped = stop_cores(&self.shared, self.cores);
        if let Some(pages) = self.pages {
            pages.stop();
        }
        ended.and(answered).and(stopped)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// Threads that are stopped again if a later step of the start fails.
struct Starting {
    shared: Arc<Shared>,
    executors: Vec<crate::front::Joiner>,
    link: Option<Link>,
    answers: Option<AnswerThreads>,
    cores: Vec<JoinHandle<()>>,
    pages: Option<Pages>,
    accounts: Option<Accounts>,
    /// Every step has succeeded.
    stands: bool,
}

type Started =
    (Vec<crate::front::Joiner>, Option<Link>, Option<AnswerThreads>, Vec<JoinHandle<()>>, Option<Pages>);

impl Starting {
    fn done(mut self) -> Started {
        self.stands = true;
        let executors = std::mem::take(&mut self.executors);
        let cores = std::mem::take(&mut self.cores);
        (executors, self.link.take(), self.answers.take(), cores, self.pages.take())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // Nobody has connected: the queues are empty and take these.
        for (front, executor) in self.shared.fronts.iter().zip(self.executors.drain(..)) {
            let _ = front.send(FrontMessage::Stop);
            let _ = executor.join();
        }
        if let Some(link) = self.link.take() {
            link.stop();
        }
        if let Some(accounts) = self.accounts.take() {
            accounts.stop();
        }
        if let Some(boxes) = &self.shared.boxes
            && !self.stands
        {
            boxes.release();
        }
        if let Some(answers) = self.answers.take() {
            let _ = answers.stop();
        }
        let _ = stop_cores(&self.shared, std::mem::take(&mut self.cores));
        if let Some(pages) = self.pages.take() {
            pages.stop();
        }
    }
}

fn stop_cores(shared: &Shared, threads: Vec<JoinHandle<()>>) -> io::Result<()> {
    for (core, thread) in shared.cores.iter().zip(threads) {
        let mut message = CoreMessage::Stop;
        while let Err(back) = core.send(message) {
            message = back;
            std::thread::sleep(RETRY);
        }
        thread.join().map_err(|_| io::Error::other("a fan-out core panicked"))?;
    }
    Ok(())
}

/// What each group whose delivery is `answer` signs and verifies with.
fn setups(
    config: &Config,
    identities: Option<&Identities>,
    directory: &Arc<Directory>,
) -> HashMap<GroupId, Arc<Setup>> {
    let Some(identities) = identities else { return HashMap::new() };
    let groups = config.groups.iter().filter(|group| group.delivery == Delivery::Answer);
    let setup = |group| identities.setup(group, config.server_side(), directory);
    groups.map(|group| (GroupId(group.id), setup(group))).collect()
}

/// What accountable groups sign and verify with.
fn accountings(
    config: &Config,
    identities: Option<&Identities>,
    directory: &Arc<Directory>,
) -> HashMap<GroupId, Arc<Accounting>> {
    let accounting = |group: &GroupConfig| {
        let identities = identities.expect("a server whose users are known has keys");
        Accounting {
            group: GroupId(group.id),
            side: config.server_side(),
            signing: identities.signing(),
            accounts: directory.clone(),
            #[cfg(feature = "fault-swap-half")]
            fault: config.fault.accountable,
        }
    };
    let groups = config.groups.iter().filter(|group| group.accountable);
    groups.map(|group| (GroupId(group.id), Arc::new(accounting(group)))).collect()
}

fn start_registry(registry: Registry, shared: &Arc<Shared>) -> Result<Accounts, RegistryError> {
    let owners = shared.clone();
    registry.start(RegistryParts {
        fronts: shared.fronts.clone(),
        owner: Box::new(move |group| owners.owner(group)),
        link: shared.link.clone(),
        metrics: shared.metrics.clone(),
    })
}

fn start_answers(shared: &Shared, cores: &[Option<usize>]) -> io::Result<Option<AnswerThreads>> {
    let Some(pool) = &shared.answers else { return Ok(None) };
    let owner = |(group, setup): (&GroupId, &Arc<Setup>)| {
        let owner = Owner {
            front: shared.owner(*group).expect("the group is configured"),
            setup: setup.clone(),
            #[cfg(feature = "fault-swap-half")]
            false_answer: shared.config.fault.answer.and_then(|fault| {
                let kind = crate::config::AnswerFaultKind::Answer;
                (fault.kind == kind).then_some((fault.round, fault.index as usize))
            }),
        };
        (*group, owner)
    };
    let owners = shared.setups.iter().map(owner).collect();
    AnswerThreads::start(pool.clone(), cores, owners, &shared.fronts, &shared.metrics).map(Some)
}

/// The folder for the boxes of S2's groups. S1 keeps seeds, and needs none.
fn boxes(config: &Config) -> Result<Option<Arc<BoxFolder>>, BoxError> {
    let side = config.server_side();
    let (Some(parts_box), Some(needed)) = (&config.parts_box, config.box_disk_bytes()) else {
        return Ok(None);
    };
    let folder = BoxFolder::open(&parts_box.folder, side, parts_box.bytes_max)?;
    let (free, needed_mib) = (folder.free_bytes(), needed.div_ceil(1 << 20));
    let free_mib = free.map(|free| free >> 20);
    tracing::info!(
        needed_mib,
        free_mib,
        "disk of box.folder, at most: two epochs of each group where it has more"
    );
    if free.is_some_and(|free| free < needed) {
        tracing::warn!(
            needed_mib,
            free_mib,
            "the disk of box.folder may become full, and later senders' parts would not be kept: make room, or lower \
             box.bytes_max"
        );
    }
    Ok(Some(Arc::new(folder)))
}

fn start_link(shared: &Arc<Shared>) -> Result<Option<Link>, StartError> {
    let (Some(config), Some(handle)) = (&shared.config.link, &shared.link) else { return Ok(None) };
    let groups = shared.config.groups.iter().map(|group| GroupId(group.id));
    let parts = LinkParts {
        side: shared.side,
        handle: handle.clone(),
        fronts: shared.fronts.clone(),
        owners: groups.filter_map(|group| shared.owner(group).map(|owner| (group, owner))).collect(),
        metrics: shared.metrics.clone(),
        channel: shared.channel.clone(),
        accounts: shared.accounts.clone(),
    };
    let link = Link::start(config, parts).map_err(|error| match config.listen {
        Some(address) => StartError::Listen { address, error },
        None => StartError::Front(error),
    })?;
    Ok(Some(link))
}

/// Starts a core's thread and waits until its ring stands.
fn start_core(index: usize, cpu: Option<usize>, shared: &Shared) -> Result<JoinHandle<()>, StartError> {
    let (config, handle, fronts) =
        (shared.config.egress(), shared.cores[index].clone(), shared.fronts.clone());
    let (ready, outcome) = sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("fan-out-{index}")).spawn(move || {
        if let Some(cpu) = cpu {
            pin(cpu);
        }
        // The ring belongs to the thread that made it.
        match Core::new(config, handle, fronts) {
            Ok(core) => {
                let _ = ready.send(Ok(()));
                core.run();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    })?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(io::Error::other("a fan-out core panicked at its start").into()),
    }
}

/// Pins this thread.
pub(crate) fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        let thread = std::thread::current();
        tracing::warn!(cpu, thread = thread.name(), %error, "a thread is not pinned");
    }
}

/// The cores of front executors, fan-out threads and answer threads: fan-out from the first core on, then the others.
fn placements(config: &Config) -> [Vec<Option<usize>>; 3] {
    let (executors, threads) = (config.front.executors, config.fan_out.threads);
    let answers = config.answer_threads();
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let place = |cores: &Cores, count: usize, first: usize| match cores {
        Cores::List(list) => list.iter().copied().map(Some).take(count).collect(),
        // A server that has a machine to itself leaves a core to the kernel's network work and everything else.
        Cores::Named(CoresNamed::Auto) if executors + threads + answers < machine => {
            (first..first + count).map(Some).collect()
        }
        Cores::Named(_) => vec![None; count],
    };
    [
        place(&config.front.cores, executors, threads),
        place(&config.fan_out.cores, threads, 0),
        place(&config.answer.cores, answers, threads + executors),
    ]
}

/// Raises the limit on descriptors as far as the connections need: at most four each while one is handed over, three after.
fn raise_descriptors(connections_max: usize) -> Result<(), StartError> {
    let needed = 4 * connections_max as u64 + DESCRIPTORS_SPARE;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(hard) = limit.maximum
        && hard < needed
    {
        return Err(StartError::Descriptors { needed, limit: hard });
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).map_err(|error| StartError::Front(error.into()))
}

fn say_needs(config: &Config) {
    let egress = config.egress();
    let slabs = egress.slab_bytes * egress.slabs * config.fan_out.threads;
    tracing::info!(
        groups = config.groups.len(),
        group_mib = config.group_memory_bytes() >> 20,
        slab_mib = slabs >> 20,
        query_mib = config.query_memory_bytes() >> 20,
        locked_kib = (config.front.executors as u64 * EXECUTOR_MEMLOCK_BYTES) >> 10,
        "memory of groups (queries of those that answer are part of it) and slabs, at most; every connection has a receive \
         buffer besides"
    );
}
