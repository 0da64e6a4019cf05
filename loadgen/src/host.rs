//! A client host: a process that plays many users over few connections, led by orders on its standard input.
//!
//! User u of every group is played by host `u mod hosts`. A host cuts its users of a group into chunks; each chunk is
//! one [`Client`] with one connection to each server, and so are those who join at one change of epochs. Everything
//! runs on one glommio executor; orders are read by a thread of their own. The end of the orders stops the host at
//! once, whatever it is doing.

mod connect;
mod figures;
mod judge;
mod meter;
mod orders;
mod pace;
mod pair;
mod player;
mod reading;
mod roof;
mod seconds;
mod turn;

use crate::control::{DialReport, EpochReport, HostNews, HostOrder, InterfaceBytes, PlayReport};
use crate::fault::{FaultKind, GROUP, USER};
use crate::keys::{HostKeys, Secret};
use crate::limits::{EVIDENCE_WAIT, START_LATE_MAX};
use crate::plan::Plan;
use crate::workload::Workload;
use figures::{Figures, Shared};
use futures_lite::future::poll_fn;
use glommio::{LocalExecutorBuilder, Placement};
use judge::COMPLAINTS_MAX;
use orders::{Input, News, Orders};
use pace::{Appointment, Pace};
use pair::{Pair, Pairs};
use player::{GroupClock, Player};
use reading::{KeyRing, Reading};
use seconds::Seconds;
use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use twincast_client::{ChannelSettings, Client, ClientSettings};
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use twincast_server::front::watched;

/// Memory that glommio keeps for file I/O, of which a host does none: the least that it takes.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Pairs where nothing arrives are looked at this often.
const TICK: Duration = Duration::from_millis(50);

/// Obeys orders on standard input until told to stop, and tells news on standard output.
///
/// # Errors
/// The run could not go on, or the news could not be told. It was told as [`HostNews::Failed`] first, where possible.
pub fn run() -> anyhow::Result<()> {
    run_with(std::io::BufReader::new(std::io::stdin()), std::io::stdout())
}

/// [`run`] over any two streams.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    orders: impl BufRead + Send + 'static,
    news: impl Write + Send + 'static,
) -> anyhow::Result<()> {
    let news = News::to(news);
    let _beats = anyhow::Context::context(news.beat(), "cannot start a thread")?;
    let executor = connect::check_limits(0).and_then(|()| {
        LocalExecutorBuilder::new(Placement::Unbound)
            .name("host")
            .io_memory(IO_MEMORY_BYTES)
            .preempt_timer(turn::PREEMPT_TIME)
            .make()
            .map_err(|error| format!("cannot start an executor: {error}; `ulimit -l` and kernel.io_uring_disabled may forbid it"))
    });
    let executor = match executor {
        Ok(executor) => executor,
        Err(sentence) => {
            news.say(&HostNews::Failed(sentence.clone()))?;
            anyhow::bail!(sentence);
        }
    };
    let orders = anyhow::Context::context(Orders::read(orders), "cannot start a thread")?;
    executor.run(watched(async move {
        let mut host = Host {
            shared: Rc::new(Shared::new()),
            orders,
            run: None,
            pairs: Pairs::default(),
            sockets: Vec::new(),
            news,
        };
        match host.obey().await {
            Ok(()) => Ok(()),
            Err(Halt::Failed(sentence)) => {
                host.news.say(&HostNews::Failed(sentence.clone()))?;
                Err(anyhow::anyhow!(sentence))
            }
            Err(Halt::Silenced(error)) => {
                Err(anyhow::Error::from(error).context("the coordinator does not listen"))
            }
            Err(Halt::End) => Ok(()),
        }
    }))
}

/// Why a host does not go on.
enum Halt {
    /// The run cannot.
    Failed(String),
    /// Nobody takes the news.
    Silenced(std::io::Error),
    /// Nobody gives orders any more.
    End,
}

impl From<std::io::Error> for Halt {
    fn from(error: std::io::Error) -> Halt {
        Halt::Silenced(error)
    }
}

impl From<String> for Halt {
    fn from(sentence: String) -> Halt {
        Halt::Failed(sentence)
    }
}

/// What a host plays.
struct Run {
    plan: Rc<Plan>,
    host: u32,
    servers: [SocketAddr; 2],
    groups: Vec<Group>,
    /// What everybody is known by.
    keys: Option<RunKeys>,
    /// The first round that was not ordered yet.
    next_round: u64,
}

/// What the users of a host are known by, and pin.
struct RunKeys {
    channel: ChannelSettings,
    /// What the servers of accountable groups sign with.
    accountable: Option<[VerifyingKey; 2]>,
    /// What users who have accounts prove that with.
    members: Option<Secret>,
}

/// What all connections of a group share.
struct Group {
    workload: Rc<Workload>,
    clock: Rc<GroupClock>,
    /// In answer delivery.
    ring: Option<Rc<KeyRing>>,
}

struct Host<W> {
    shared: Rc<Shared>,
    orders: Orders,
    /// What it plays, once it was told.
    run: Option<Run>,
    pairs: Pairs,
    /// Duplicates of the pairs' sockets, to ask the kernel about.
    sockets: Vec<std::net::TcpStream>,
    news: News<W>,
}

impl Run {
    fn new(plan: Plan, host: u32, servers: [SocketAddr; 2], keys: Option<HostKeys>) -> Result<Run, String> {
        if plan.has_keys() != keys.is_some() {
            let (needs, has) = if plan.has_keys() { ("needs", "none") } else { ("has no use for", "some") };
            return Err(format!("the plan {needs} keys, and the order has {has}"));
        }
        let ring = |group| {
            let keys = keys.as_ref().filter(|_| plan.answers())?;
            Some(Rc::new(KeyRing::new(keys.members(), group)))
        };
        let group = |group| Group {
            workload: Rc::new(Workload::new(&plan, group)),
            clock: Rc::default(),
            ring: ring(group),
        };
        let groups = (0..plan.groups).map(group).collect();
        let keys = keys.map(|keys| RunKeys::of(&plan, keys)).transpose()?;
        Ok(Run { plan: Rc::new(plan), host, servers, groups, keys, next_round: 1 })
    }
}

impl RunKeys {
    fn of(plan: &Plan, keys: HostKeys) -> Result<RunKeys, String> {
        let channel = match plan.is_noise() {
            true => ChannelSettings::Noise { servers: keys.channels()? },
            false => ChannelSettings::Plain,
        };
        let members = plan.is_registered().then(|| keys.members().clone());
        let accountable = plan.accountable.then(|| keys.verifying()).transpose()?;
        Ok(RunKeys { channel, accountable, members })
    }
}

impl<W: Write> Host<W> {
    async fn obey(&mut self) -> Result<(), Halt> {
        loop {
            match self.order().await? {
                HostOrder::Start { .. } if self.run.is_some() => {
                    return Err(Halt::Failed("a host is started only once".to_owned()));
                }
                HostOrder::Start { plan, host, servers, keys, start_ns } => {
                    self.run = Some(Run::new(plan, host, servers, keys)?);
                    let report = self.start(start_ns).await?;
                    self.news.say(&HostNews::Dialled(report))?;
                }
                HostOrder::Play { .. } if self.run.is_none() => {
                    return Err(Halt::Failed("a host plays only after it was started".to_owned()));
                }
                HostOrder::Play { rounds, start_ns } => {
                    let report = self.play(rounds, start_ns).await?;
                    self.news.say(&HostNews::Played(report))?;
                }
                HostOrder::RoofListen { address } => {
                    let address = roof::listen(address)?;
                    self.news.say(&HostNews::RoofListening(address))?;
                }
                HostOrder::Stop => {
                    self.news.say(&HostNews::Stopped)?;
                    return Ok(());
                }
            }
        }
    }

    /// The next order. What fails while a host has nothing to do counts once it has: servers that are told to stop
    /// may go before their hosts are.
    async fn order(&mut self) -> Result<HostOrder, Halt> {
        poll_fn(|cx| self.poll_order(cx)).await
    }

    /// Waits until `until` holds, or something fails. The only order that is taken meanwhile is to stop.
    async fn wait(&mut self, until: impl Fn(&Shared) -> bool) -> Result<(), Halt> {
        let order = poll_fn(|cx| {
            if let Poll::Ready(sentence) = self.shared.poll_failure(cx.waker()) {
                return Poll::Ready(Err(Halt::Failed(sentence)));
            }
            if until(&self.shared) {
                return Poll::Ready(Ok(None));
            }
            self.poll_order(cx).map_ok(Some)
        });
        match order.await? {
            None => Ok(()),
            Some(HostOrder::Stop) => {
                self.news.say(&HostNews::Stopped)?;
                Err(Halt::End)
            }
            Some(_) => Err(Halt::Failed("a host takes no other order while it is busy".to_owned())),
        }
    }

    fn poll_order(&self, cx: &Context<'_>) -> Poll<Result<HostOrder, Halt>> {
        self.orders.poll(cx.waker()).map(|input| match input {
            Input::Order(order) => Ok(order),
            Input::Nonsense(error) => Err(Halt::Failed(format!("a line is no order: {error}"))),
            Input::End => Err(Halt::End),
        })
    }

    /// Waits for the instant at which an order is to be begun, ready to begin.
    async fn keep(&mut self, start_ns: Option<u64>) -> Result<Appointment, Halt> {
        let appointment = Appointment::of(start_ns, self.shared.now(), pace::realtime_ns());
        let Appointment { instant, late } = appointment;
        if late > START_LATE_MAX {
            tracing::warn!("the instant to begin at had passed {late:?} before this host was ready");
        }
        if instant > self.shared.now() {
            let shared = self.shared.clone();
            let _alarm = glommio::spawn_local(async move {
                pace::sleep_until(&shared, instant).await;
                shared.wake_main();
            });
            self.wait(|shared| shared.now() >= instant).await?;
        }
        Ok(appointment)
    }

    async fn start(&mut self, start_ns: Option<u64>) -> Result<DialReport, Halt> {
        let Some(Run { plan, host, .. }) = &self.run else { return Ok(DialReport::default()) };
        let (plan, host) = (plan.clone(), *host);
        connect::check_limits(connect::pairs_max(&plan, host))?;
        if plan.churn > 0 {
            self.shared.last_round.set(1);
        }
        let ready = self.ready(&connect::users_of(&plan, host), false)?;
        let Appointment { instant: begin, late } = self.keep(start_ns).await?;
        self.add_pairs(ready).await?;
        glommio::spawn_local(pair::tick_all(self.pairs.clone(), TICK)).detach();
        let pairs = self.pairs.clone();
        let is_open = |pair: &Rc<RefCell<Pair>>| pair.borrow().player.open.is_some();
        self.wait(|_| pairs.borrow().iter().all(is_open)).await?;
        let (bytes_in, bytes_out) = self.shared.bytes();
        let first = self.epochs().first().copied().unwrap_or_default();
        Ok(DialReport {
            seconds: (self.shared.now() - begin).as_secs_f64(),
            bytes_in: bytes_in.iter().sum(),
            bytes_out: bytes_out.iter().sum(),
            confirm_cells: first.confirm_cells,
            confirm_failed: first.confirm_failed,
            late_seconds: late.as_secs_f64(),
        })
    }

    /// Everything of these users but their connections: of every group, a chunk over each pair.
    fn ready(&self, chunks: &[Vec<u32>], join: bool) -> Result<Vec<(Client, Player)>, Halt> {
        let groups = self.run.as_ref().map_or(0, |run| run.plan.groups);
        let all = (0..groups).flat_map(|group| chunks.iter().map(move |users| (group, users)));
        all.filter_map(|(group, users)| self.ready_pair(group, users, join).transpose()).collect()
    }

    fn ready_pair(&self, group: u32, users: &[u32], join: bool) -> Result<Option<(Client, Player)>, Halt> {
        let Some(Run { plan, groups, keys, .. }) = &self.run else { return Ok(None) };
        let Group { workload, clock, ring } = &groups[group as usize];
        let settings = ClientSettings {
            group: GroupId(group),
            epoch: None,
            join,
            skew_bytes: usize::try_from(plan.host_skew_bytes).unwrap_or(usize::MAX),
            // Keys are drawn for this run: nobody has signed with them before.
            signed: Some((Epoch(0), RoundNumber(0))),
            accept_baseline: plan.profile.is_paper(),
            channel: keys.as_ref().map_or(ChannelSettings::Plain, |keys| keys.channel),
            accountable: keys.as_ref().and_then(|keys| keys.accountable),
        };
        let ids = users.iter().copied().map(UserId).collect();
        let client = Client::new(settings, ids).map_err(|error| error.to_string())?;
        let reading = ring.as_ref().map(|ring| Reading::new(ring, users));
        let (shared, clock, workload) = (self.shared.clone(), clock.clone(), workload.clone());
        let mut player = Player::new(shared, clock, plan.clone(), group, users, workload, reading);
        if let Some(RunKeys { members, accountable, .. }) = keys {
            let sign = |members: &Secret| {
                users.iter().map(|user| members.author(group, UserId(*user)).signing).collect()
            };
            player.identities = members.as_ref().map(sign).unwrap_or_default();
            player.servers = *accountable;
        }
        Ok(Some((client, player)))
    }

    /// Connects them.
    async fn add_pairs(&mut self, ready: Vec<(Client, Player)>) -> Result<(), Halt> {
        for (client, player) in ready {
            self.add_pair(client, player)?;
            // Those that are connected already say HELLO meanwhile.
            turn::turn().await;
        }
        Ok(())
    }

    fn add_pair(&mut self, client: Client, player: Player) -> Result<(), Halt> {
        let Some(Run { plan, servers, .. }) = &self.run else { return Ok(()) };
        let (one, socket1) = connect::connect(ServerSide::One, servers[0])?;
        let (two, socket2) = connect::connect(ServerSide::Two, servers[1])?;
        let mut pair = Pair::new(client, player, self.shared.clone(), plan, *servers);
        if plan.fault.is_some_and(|fault| fault.kind.is_net()) && pair.player.plays_user(GROUP, USER) {
            let closing = [&socket1, &socket2].map(std::net::TcpStream::try_clone);
            pair.may_break(closing.into_iter().flatten().collect());
        }
        let pair = Rc::new(RefCell::new(pair));
        Pair::start(&pair, [one, two]);
        self.pairs.borrow_mut().push(pair);
        self.sockets.extend([socket1, socket2]);
        Ok(())
    }

    async fn play(&mut self, rounds: u32, start_ns: Option<u64>) -> Result<PlayReport, Halt> {
        let Some(run) = &mut self.run else { return Ok(PlayReport::default()) };
        let first = run.next_round;
        run.next_round += u64::from(rounds);
        let plan = run.plan.clone();
        let pairs_of_round = self.pairs_of_rounds(&plan, first, rounds);
        let is_idle = pairs_of_round.first().is_none_or(|pairs| *pairs == 0);
        let Appointment { instant: begin, late } = self.keep(start_ns).await?;
        let (in_before, out_before) = self.shared.bytes();
        let messages_before = self.shared.meter().messages;
        let retransmits_before = self.retransmits();
        let interface_before = self.interface();
        *self.shared.figures.borrow_mut() = Figures::new(pairs_of_round);
        self.shared.pace.set(Pace::new(first, begin, plan.rate));
        let mut seconds = Seconds::begin(&self.shared, begin);
        for pair in self.pairs.borrow().iter() {
            pair.borrow_mut().play(first, rounds);
        }
        // They end when they are dropped.
        let _keeper = glommio::spawn_local(pace::keep(
            self.shared.clone(),
            self.pairs.clone(),
            first + u64::from(rounds),
        ));
        let _ticker = glommio::spawn_local(seconds::tick(self.shared.clone()));
        let mut told = if is_idle { rounds } else { 0 };
        while told < rounds {
            let due = seconds.due();
            let closed = |shared: &Shared| shared.figures.borrow().rounds_closed() > told;
            self.wait(|shared| closed(shared) || shared.now() >= due).await?;
            if closed(&self.shared) {
                told += 1;
                self.news.say(&HostNews::Progress { rounds: told })?;
                self.change_users(&plan, first + u64::from(told) - 1, (first, rounds)).await?;
            }
            if self.shared.now() >= due {
                self.tell_second(&mut seconds)?;
            }
        }
        self.wait_for_evidence(&plan).await?;
        self.tell_second(&mut seconds)?;
        let (bytes_in, bytes_out) = self.shared.bytes();
        let mut report = self.shared.figures.borrow_mut().report();
        report.late_seconds = late.as_secs_f64();
        report.bytes_in = [bytes_in[0] - in_before[0], bytes_in[1] - in_before[1]];
        report.bytes_out = [bytes_out[0] - out_before[0], bytes_out[1] - out_before[1]];
        report.epochs = self.epochs();
        {
            let meter = self.shared.meter();
            report.attach = meter.attach;
            report.messages = meter.messages.since(messages_before);
            report.headers = meter.headers;
            report.other = meter.other;
        }
        report.retransmits = self.retransmits() - retransmits_before;
        report.interface = self.interface().since(interface_before);
        for pair in self.pairs.borrow().iter() {
            let player = &pair.borrow().player;
            let judge = &player.judge;
            report.totals.add(&judge.totals);
            report.broken.extend(player.broken.clone());
            report.evidence.add(&player.evidence);
            let room = COMPLAINTS_MAX - report.complaints.len();
            report.complaints.extend(judge.complaints.iter().take(room).cloned());
        }
        Ok(report)
    }

    /// Evidence that the plan's fault must bring comes with headers, which servers make within a budget of their own: rounds
    /// may be quicker. Looked for whenever the ticker wakes the host.
    async fn wait_for_evidence(&mut self, plan: &Plan) -> Result<(), Halt> {
        let must_come = plan.accountable && plan.fault.is_some_and(|fault| fault.kind == FaultKind::SwapHalf);
        let pairs = self.pairs.clone();
        let missing = move || {
            let its = |pair: &&Rc<RefCell<Pair>>| pair.borrow().player.plays_user(GROUP, USER);
            let pairs = pairs.borrow();
            pairs.iter().find(its).is_some_and(|pair| pair.borrow().player.evidence.against[0] == 0)
        };
        if !must_come || !missing() {
            return Ok(());
        }
        let deadline = self.shared.now() + EVIDENCE_WAIT;
        self.wait(|shared| !missing() || shared.now() >= deadline).await
    }

    fn tell_second(&mut self, seconds: &mut Seconds) -> Result<(), Halt> {
        let second = seconds.take(&self.shared, self.shared.now());
        Ok(self.news.say(&HostNews::Second(second))?)
    }

    /// How many connection pairs play each round.
    fn pairs_of_rounds(&self, plan: &Plan, first: u64, rounds: u32) -> Vec<u32> {
        let host = self.run.as_ref().map_or(0, |run| run.host);
        let of_epoch = |epoch| connect::pairs_of_epoch(plan, host, epoch) as u32;
        let mut last = (plan.epoch_of(first), of_epoch(plan.epoch_of(first)));
        let of_round = |round| {
            let epoch = plan.epoch_of(round);
            if epoch != last.0 {
                last = (epoch, of_epoch(epoch));
            }
            last.1
        };
        (first..first + u64::from(rounds)).map(of_round).collect()
    }

    /// After an epoch's first round: those who join with the next epoch come, and only when both servers know them do
    /// rounds go on, so that the next epoch has the members that the plan says.
    async fn change_users(&mut self, plan: &Plan, closed: u64, order: (u64, u32)) -> Result<(), Halt> {
        let (epoch, next) = (plan.epoch_of(closed), plan.epoch_of(closed) + 1);
        let is_first = plan.epoch_rounds > 0 && (closed - 1).is_multiple_of(plan.epoch_rounds.into());
        if plan.churn == 0 || !is_first {
            return Ok(());
        }
        if next < plan.epochs() {
            let host = self.run.as_ref().map_or(0, |run| run.host);
            let ready = self.ready(&connect::joiners(plan, host, epoch), true)?;
            self.add_pairs(ready).await?;
            let pairs = self.pairs.clone();
            let attached = |pair: &Rc<RefCell<Pair>>| pair.borrow().player.attached;
            self.wait(|_| pairs.borrow().iter().all(attached)).await?;
        }
        self.shared.last_round.set(u64::from(next) * u64::from(plan.epoch_rounds) + 1);
        for pair in self.pairs.borrow().iter() {
            let mut pair = pair.borrow_mut();
            if pair.player.rounds == (0, 0) {
                pair.play(order.0, order.1);
            }
            pair.submit();
        }
        Ok(())
    }

    /// What every epoch took so far.
    fn epochs(&self) -> Vec<EpochReport> {
        let pairs = self.pairs.borrow();
        let open = |epoch: u32| {
            let is_open = |pair: &Rc<RefCell<Pair>>| {
                let player = &pair.borrow().player;
                !player.has_members(Epoch(epoch)) || player.open.is_some_and(|(open, _)| open.0 >= epoch)
            };
            pairs.iter().all(is_open)
        };
        self.shared.meter().epochs(open)
    }

    /// What has passed the interface to the servers.
    fn interface(&self) -> InterfaceBytes {
        self.run.as_ref().map_or_else(InterfaceBytes::default, |run| crate::net::passed(run.servers[0].ip()))
    }

    fn retransmits(&self) -> u64 {
        let of = |socket: &std::net::TcpStream| {
            twincast_ring::tcp_info(socket).unwrap_or_default().retransmits_total
        };
        self.sockets.iter().map(|socket| u64::from(of(socket))).sum()
    }
}

#[cfg(test)]
mod tests;
