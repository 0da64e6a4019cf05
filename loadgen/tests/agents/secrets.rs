//! What a run is told in secret is in nothing that it leaves behind.

use super::common::{loadgen, told};
use super::fixture::{Agent, Folder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

/// What a coordinator says to the agent behind it, over any number of connections.
struct Tap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(agent: &str) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (agent, into) = (agent.to_owned(), Arc::clone(&heard));
        std::thread::spawn(move || {
            for coordinator in listener.incoming().flatten() {
                let agent = TcpStream::connect(&agent).unwrap();
                let (from, to) = (coordinator.try_clone().unwrap(), agent.try_clone().unwrap());
                let into = Arc::clone(&into);
                std::thread::spawn(move || pass(from, to, |bytes| into.lock().unwrap().extend(bytes)));
                std::thread::spawn(move || pass(agent, coordinator, |_| ()));
            }
        });
        Tap { address, heard }
    }

    fn place(&self) -> String {
        format!("agent = \"{}\"", self.address)
    }

    /// The secrets in what was said: strings with this name.
    fn secrets(&self, name: &str) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
        let begin = format!("\"{name}\":\"");
        let values = text.split(&begin).skip(1);
        values.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut hear: impl FnMut(&[u8])) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        hear(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![(path.display().to_string(), std::fs::read(&path).unwrap())],
        })
        .collect()
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// The secrets themselves are read from the orders that carry them.
#[test]
fn no_secret_of_a_run_is_in_what_it_leaves_behind_or_says() {
    let folder = Folder::new();
    let agents = ["server", "server", "host"].map(|role| Agent::start_tracing(&folder, role));
    let taps = agents.each_ref().map(|agent| Tap::before(&agent.address));
    let [one, two, host] = taps.each_ref().map(Tap::place);
    let head = "token_file = \"token\"\n[run]\ngroup = 20\nrounds = 5\nepoch_rounds = 3\nannounce_rounds = 2\n\
                delivery = \"answer\"\nlink = \"loopback\"";
    drop(folder.run(head, &[one, two], &[host]));
    let kept = folder.path().join("kept");
    let mut run = loadgen("run --no-roof");
    run.arg("--results").arg(&kept).arg("--plan").arg(folder.path().join("plan.toml"));
    run.arg("--json").arg(folder.path().join("result.json")).env("RUST_LOG", "trace");
    let output = run.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));

    let members = taps[2].secrets("members");
    let signing: BTreeSet<String> = taps[..2].iter().flat_map(|tap| tap.secrets("signing")).collect();
    assert_eq!((members.len(), signing.len()), (1, 2), "what the orders have: {members:?}");
    assert!(members.is_disjoint(&signing));
    let mut left = files(folder.path());
    left.push(("standard output".into(), output.stdout));
    left.push(("standard error".into(), output.stderr));
    let names: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
    for part in ["result.json", "summary.json", "run-1.json", "agents.log", "report.txt"] {
        assert!(names.iter().any(|name| name.ends_with(part)), "{part} is looked at: {names:?}");
    }
    let (_, log) = left.iter().find(|(name, _)| name.ends_with("agents.log")).unwrap();
    assert!(contains(log, "trace") || contains(log, "debug"), "the agents tell all they can");
    for secret in members.iter().chain(&signing) {
        let bytes = STANDARD_NO_PAD.decode(secret).unwrap();
        assert_eq!(bytes.len(), 32);
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        for (name, whole) in &left {
            for form in [secret.as_str(), hex.as_str(), list.as_str(), &list.replace(' ', "")] {
                assert!(!contains(whole, form), "a secret is in {name}");
            }
        }
    }
}
