//! Hosts and servers that ssh starts, at a daemon of the test's own.

use super::common::{told, wait_for};
use super::fixture::Folder;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An ssh daemon on a port of its own with keys of its own; killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn done(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn key(path: &Path) -> bool {
    done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path))
}

/// The daemon, and `ssh_config` in the folder which reaches it as "machine"; none where there is no ssh.
fn daemon(folder: &Path) -> Option<Daemon> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists())?;
    if !key(&folder.join("host_key")) || !key(&folder.join("user_key")) {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/user_key.pub\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n"
    );
    std::fs::write(folder.join("sshd_config"), config).unwrap();
    let key = std::fs::read_to_string(folder.join("host_key.pub")).unwrap();
    std::fs::write(folder.join("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
    let user = String::from_utf8(Command::new("id").arg("-un").output().ok()?.stdout).ok()?;
    let config = format!(
        "Host machine stranger\n HostName 127.0.0.1\n Port {port}\n User {}\n IdentityFile {at}/user_key\n \
         IdentitiesOnly yes\n UserKnownHostsFile {at}/known\nHost nobody\n HostName 127.0.0.1\n Port 1\n",
        user.trim()
    );
    std::fs::write(folder.join("ssh_config"), config).unwrap();
    let log = File::create(folder.join("sshd.log")).unwrap();
    let mut command = Command::new(sshd);
    let command = command.arg("-D").arg("-e").arg("-f").arg(folder.join("sshd_config"));
    let mut daemon = Daemon(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().ok()?);
    let start = std::time::Instant::now();
    while start.elapsed().as_secs() < 20 && daemon.0.try_wait().ok()?.is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let ssh = &mut Command::new("ssh");
            let ssh =
                ssh.arg("-F").arg(folder.join("ssh_config")).args(["-o", "BatchMode=yes", "machine", "true"]);
            return done(ssh).then_some(daemon);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    None
}

/// All that a process has started, and what that has.
fn descendants(of: u32) -> Vec<u32> {
    let children = super::common::children(of);
    children.iter().copied().chain(children.iter().copied().flat_map(descendants)).collect()
}

fn plays_a_host(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == b"role-host")
}

fn place(machine: &str, program: &str) -> String {
    format!("ssh = \"{machine}\"\nprogram = {program:?}\naddress = \"127.0.0.1\"")
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_twincast-loadgen");

#[test]
fn ssh_starts_servers_and_hosts_and_says_why_it_cannot() {
    let folder = Folder::new();
    let Some(daemon) = daemon(folder.path()) else {
        let log = std::fs::read_to_string(folder.path().join("sshd.log")).unwrap_or_default();
        eprintln!("SKIPPED: no ssh daemon can be started here: {log}");
        return;
    };
    let good = place("machine", PROGRAM);
    let local = "local = true".to_owned();
    let head = "ssh_config = \"ssh_config\"\n[run]\ngroup = 20\nrounds = 2";
    let servers = [good.clone(), local.clone()];
    let output = folder.run(head, &servers, &[good.clone(), local.clone()]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("host 0 at machine (ssh)"), "{}", told(&output));
    // The program on the other side, the connection and its daemon's child have gone.
    let left = || super::common::children(daemon.0.id()).is_empty().then_some(());
    wait_for("the end of all ssh sessions", left);

    for (bad, said) in [
        (place("machine", "/no/such/program"), "there is no program /no/such/program there"),
        (place("nobody", PROGRAM), "could not be reached over ssh: "),
        (place("machine", "/bin/true"), "host 0 at machine (ssh)"),
    ] {
        let output =
            folder.run(head, &[local.clone(), local.clone()], &[bad, local.clone()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("host 0 at ") && stderr.contains(said), "{stderr}");
    }

    // ssh itself goes in mid-run.
    let endless = "ssh_config = \"ssh_config\"\n[run]\ngroup = 20\nrounds = 1000000";
    let run = folder.run(endless, &[local.clone(), local.clone()], &[good, local]).spawn().unwrap();
    // Before it there is a session in which the machine is looked at, and without which a run goes on.
    let plays = || descendants(daemon.0.id()).into_iter().any(plays_a_host).then_some(());
    wait_for("a host behind ssh", plays);
    for session in super::common::children(daemon.0.id()) {
        super::common::signal(session, rustix::process::Signal::KILL);
    }
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("host 0 at machine (ssh)"), "{}", told(&output));
    wait_for("the end of all ssh sessions", left);
}
