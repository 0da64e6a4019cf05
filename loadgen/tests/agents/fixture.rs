//! Agents on this machine, and plans that name them.

use super::common::{children, lives, loadgen, wait_for};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A folder with a token, plans and results.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.token("token", "a token that is long enough");
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Another token.
    pub(super) fn token(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A run of a plan: what the file begins with, and its places.
    pub(super) fn run(&self, head: &str, servers: &[String], hosts: &[String]) -> Command {
        let mut text = format!("{head}\n");
        servers.iter().for_each(|place| write!(text, "[[servers]]\n{place}\n").unwrap());
        hosts.iter().for_each(|place| write!(text, "[[hosts]]\n{place}\n").unwrap());
        let path = self.path().join("plan.toml");
        std::fs::write(&path, text).unwrap();
        let mut command = loadgen("run --results off --no-roof");
        command.arg("--plan").arg(path).arg("--json").arg(self.path().join("result.json"));
        command
    }
}

/// An agent that listens on this machine; killed when dropped.
pub(super) struct Agent {
    pub(super) process: Child,
    pub(super) address: String,
}

impl Agent {
    pub(super) fn start(folder: &Folder, role: &str) -> Agent {
        Agent::spawn(folder, loadgen(&format!("agent --listen 127.0.0.1:0 --role {role}")))
    }

    /// One that logs all it can, as do its children.
    pub(super) fn start_tracing(folder: &Folder, role: &str) -> Agent {
        let mut command = loadgen(&format!("agent --listen 127.0.0.1:0 --role {role}"));
        command.env("RUST_LOG", "trace");
        Agent::spawn(folder, command)
    }

    /// One that finds programs there.
    pub(super) fn start_with_path(folder: &Folder, role: &str, path: &str) -> Agent {
        let mut command = loadgen(&format!("agent --listen 127.0.0.1:0 --role {role}"));
        command.env("PATH", path);
        Agent::spawn(folder, command)
    }

    fn spawn(folder: &Folder, mut command: Command) -> Agent {
        let mut append = std::fs::OpenOptions::new();
        let log = append.append(true).create(true).open(folder.path().join("agents.log")).unwrap();
        let command = command.arg("--token-file").arg(folder.path().join("token")).stderr(log);
        let mut process = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        Agent { process, address: address.trim().into() }
    }

    /// As a plan names it.
    pub(super) fn place(&self) -> String {
        format!("agent = \"{}\"", self.address)
    }

    /// Its children that play a role, once there are so many; before them there are programs that look at the machine, and
    /// of no children there is not even one of these.
    pub(super) fn children(&self, count: usize) -> Vec<u32> {
        let of = if count == 0 { children } else { players };
        let all = || Some(of(self.process.id())).filter(|all| all.len() == count);
        wait_for(&format!("{count} children of the agent at {}", self.address), all)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two servers and three hosts.
pub(super) struct Agents {
    pub(super) servers: Vec<Agent>,
    pub(super) hosts: Vec<Agent>,
}

impl Agents {
    pub(super) fn start(folder: &Folder) -> Agents {
        Agents {
            servers: (0..2).map(|_| Agent::start(folder, "server")).collect(),
            hosts: (0..3).map(|_| Agent::start(folder, "host")).collect(),
        }
    }

    pub(super) fn run(&self, folder: &Folder, run: &str) -> Command {
        let places = |agents: &[Agent]| agents.iter().map(Agent::place).collect::<Vec<_>>();
        let head = format!("token_file = \"token\"\n[run]\n{run}");
        folder.run(&head, &places(&self.servers), &places(&self.hosts))
    }

    /// The children of them all, once each has its one.
    pub(super) fn all_children(&self) -> Vec<u32> {
        self.servers.iter().chain(&self.hosts).flat_map(|agent| agent.children(1)).collect()
    }
}

/// Children of a process that play a role of a run: no programs that look at the machine.
fn players(of: u32) -> Vec<u32> {
    let plays = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word.starts_with(b"role-"))
    };
    children(of).into_iter().filter(plays).collect()
}

/// Waits until none of these processes is there.
pub(super) fn gone(pids: &[u32]) {
    wait_for("the end of all children", || pids.iter().all(|pid| !lives(*pid)).then_some(()));
}
