//! A client host: a process that plays many users over few connections, led by orders on its standard input.
//!
//! User u of every group is played by host `u mod hosts`. A host cuts its users of a group into chunks; each chunk is
//! one [`Client`] with one connection to each server. Everything runs on one glommio executor; orders are read by a
//! thread of their own. The end of the orders stops the host at once, whatever it is doing.

mod connect;
mod figures;
mod judge;
mod orders;
mod pair;
mod player;
mod roof;
mod turn;

use crate::control::{DialReport, HostNews, HostOrder, PlayReport};
use crate::plan::Plan;
use crate::workload::Workload;
use figures::{Figures, Shared, add_dial};
use futures_lite::future::poll_fn;
use glommio::{LocalExecutorBuilder, Placement};
use judge::COMPLAINTS_MAX;
use orders::{Input, News, Orders};
use pair::Pair;
use player::{GroupClock, Player};
use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use twincast_client::{Client, ClientSettings};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide};
use twincast_server::front::watched;

/// Memory that glommio keeps for file I/O, of which a host does none: the least that it takes.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Pairs where nothing arrives are looked at this often.
const TICK: Duration = Duration::from_millis(50);
/// The epoch that a run dials: the first.
const EPOCH: Epoch = Epoch(0);

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
pub fn run_with(orders: impl BufRead + Send + 'static, news: impl Write + 'static) -> anyhow::Result<()> {
    let mut news = News(news);
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
        let mut host =
            Host { shared: Rc::new(Shared::new()), orders, pairs: Vec::new(), sockets: Vec::new(), news };
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

struct Host<W> {
    shared: Rc<Shared>,
    orders: Orders,
    pairs: Vec<Rc<RefCell<Pair>>>,
    /// Duplicates of the pairs' sockets, to ask the kernel about.
    sockets: Vec<std::net::TcpStream>,
    news: News<W>,
}

impl<W: Write> Host<W> {
    async fn obey(&mut self) -> Result<(), Halt> {
        let mut started = false;
        loop {
            match self.order().await? {
                HostOrder::Start { .. } if started => {
                    return Err(Halt::Failed("a host is started only once".to_owned()));
                }
                HostOrder::Start { plan, host, servers } => {
                    started = true;
                    let report = self.start(plan, host, servers).await?;
                    self.news.say(&HostNews::Dialled(report))?;
                }
                HostOrder::Play { .. } if !started => {
                    return Err(Halt::Failed("a host plays only after it was started".to_owned()));
                }
                HostOrder::Play { rounds } => {
                    let report = self.play(rounds).await?;
                    self.news.say(&HostNews::Played(report))?;
                }
                HostOrder::RoofListen => {
                    let address = roof::listen()?;
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

    async fn start(&mut self, plan: Plan, host: u32, servers: [SocketAddr; 2]) -> Result<DialReport, Halt> {
        let begin = self.shared.now();
        let chunks = connect::users_of(&plan, host);
        connect::check_limits(chunks.len() * plan.groups as usize)?;
        let plan = Rc::new(plan);
        for group in 0..plan.groups {
            let workload = Rc::new(Workload::new(&plan, group));
            let clock = Rc::new(GroupClock::default());
            for users in &chunks {
                self.add_pair(&plan, group, users, &workload, &clock, servers)?;
                // Those that are connected already say HELLO meanwhile.
                turn::turn().await;
            }
        }
        glommio::spawn_local(pair::tick_all(self.pairs.clone().into(), TICK)).detach();
        let pairs = self.pairs.len();
        self.wait(|shared| shared.open_pairs.get() == pairs).await?;
        let (bytes_in, bytes_out) = self.shared.bytes();
        let mut report = DialReport {
            seconds: (self.shared.now() - begin).as_secs_f64(),
            bytes_in: bytes_in.iter().sum(),
            bytes_out: bytes_out.iter().sum(),
            ..DialReport::default()
        };
        for pair in &self.pairs {
            let (_, confirmed, failed) = pair.borrow().player.open.unwrap_or_default();
            add_dial(&mut report, confirmed, failed);
        }
        Ok(report)
    }

    fn add_pair(
        &mut self,
        plan: &Rc<Plan>,
        group: u32,
        users: &[u32],
        workload: &Rc<Workload>,
        clock: &Rc<GroupClock>,
        servers: [SocketAddr; 2],
    ) -> Result<(), Halt> {
        let skew_bytes = usize::try_from(plan.host_skew_bytes).unwrap_or(usize::MAX);
        let settings = ClientSettings { group: GroupId(group), epoch: EPOCH, skew_bytes };
        let members = users.iter().copied().map(MemberIndex).collect();
        let client = Client::new(settings, members).map_err(|error| error.to_string())?;
        let player =
            Player::new(self.shared.clone(), clock.clone(), plan.clone(), group, users, workload.clone());
        let (one, socket1) = connect::connect(ServerSide::One, servers[0])?;
        let (two, socket2) = connect::connect(ServerSide::Two, servers[1])?;
        let pair = Pair::new(client, player, self.shared.clone(), plan.ahead, servers);
        let pair = Rc::new(RefCell::new(pair));
        Pair::start(&pair, [one, two]);
        self.pairs.push(pair);
        self.sockets.extend([socket1, socket2]);
        Ok(())
    }

    async fn play(&mut self, rounds: u32) -> Result<PlayReport, Halt> {
        let (in_before, out_before) = self.shared.bytes();
        let retransmits_before = self.retransmits();
        *self.shared.figures.borrow_mut() = Figures::new(rounds, self.pairs.len());
        for pair in &self.pairs {
            pair.borrow_mut().play(rounds);
        }
        let rounds = if self.pairs.is_empty() { 0 } else { rounds };
        for told in 0..rounds {
            self.wait(|shared| shared.figures.borrow().rounds_closed() > told).await?;
            self.news.say(&HostNews::Progress { rounds: told + 1 })?;
        }
        let (bytes_in, bytes_out) = self.shared.bytes();
        let mut report = self.shared.figures.borrow().report();
        report.bytes_in = [bytes_in[0] - in_before[0], bytes_in[1] - in_before[1]];
        report.bytes_out = [bytes_out[0] - out_before[0], bytes_out[1] - out_before[1]];
        report.retransmits = self.retransmits() - retransmits_before;
        for pair in &self.pairs {
            let judge = &pair.borrow().player.judge;
            report.totals.add(&judge.totals);
            let room = COMPLAINTS_MAX - report.complaints.len();
            report.complaints.extend(judge.complaints.iter().take(room).cloned());
        }
        Ok(report)
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
