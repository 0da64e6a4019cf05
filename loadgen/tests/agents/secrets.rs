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
    let secrets: Vec<Vec<u8>> =
        members.iter().chain(&signing).map(|secret| STANDARD_NO_PAD.decode(secret).unwrap()).collect();
    assert!(secrets.iter().all(|secret| secret.len() == 32));
    none_is_in(&secrets, &left);
}

/// None of these secrets is in any of these, in no form that a program writes bytes in.
fn none_is_in(secrets: &[Vec<u8>], left: &[(String, Vec<u8>)]) {
    // A character a byte: bytes are then looked for as text is, quickly.
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let left: Vec<(&str, String, String)> = left
        .iter()
        .map(|(name, whole)| (name.as_str(), text(whole), text(&whole.to_ascii_lowercase())))
        .collect();
    for secret in secrets {
        let hex = secret.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let list = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        // By what each begins with: a form may be cut short.
        let forms = [text(&secret[..12]), STANDARD_NO_PAD.encode(&secret[..12]), list.replace(' ', ""), list];
        for (name, whole, lower) in &left {
            let form = forms.iter().position(|form| whole.contains(form.as_str()));
            assert_eq!(form, None, "a secret is in {name}");
            assert!(!lower.contains(&hex[..24]), "a secret is in {name}, in hexadecimal digits");
        }
    }
}

/// What a user signs with, as hosts derive it of the members' secret.
fn signing_seed(members: &[u8], group: u32, user: u32) -> Vec<u8> {
    let mut seed = vec![0; 32];
    let info = [b"twincast-loadgen/signing/v1".as_slice(), &group.to_le_bytes(), &user.to_le_bytes()];
    hkdf::Hkdf::<sha2::Sha256>::new(None, members).expand_multi_info(&info, &mut seed).unwrap();
    seed
}

/// Both servers, and a host, at the level of logs that tells all: private channels, accounts and keys that members share,
/// and then an accountable group, whose S2 is a child of the coordinator, as it has a box. What is looked for: static keys
/// of channels, what servers and users sign with, what all of the members' keys come from, and the messages.
#[test]
fn no_secret_of_a_run_is_in_its_logs() {
    for (extra, is_accountable) in [("keys = true", false), ("accountable = true\nheader_rounds = 2", true)] {
        let folder = Folder::new();
        let agents = ["server", "server", "host"].map(|role| Agent::start_tracing(&folder, role));
        let taps = agents.each_ref().map(|agent| Tap::before(&agent.address));
        let [one, two, host] = taps.each_ref().map(Tap::place);
        let two = if is_accountable { "local = true".to_owned() } else { two };
        let head = format!(
            "token_file = \"token\"\n[run]\ngroup = 20\nrounds = 4\nchannel = \"noise\"\nlink = \"loopback\"\n{extra}"
        );
        drop(folder.run(&head, &[one, two], &[host]));
        let mut run = loadgen("run --no-roof");
        run.arg("--results")
            .arg(folder.path().join("kept"))
            .arg("--plan")
            .arg(folder.path().join("plan.toml"));
        run.arg("--json").arg(folder.path().join("result.json")).env("RUST_LOG", "trace");
        let output = run.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));

        let all =
            |name: &str| -> BTreeSet<String> { taps.iter().flat_map(|tap| tap.secrets(name)).collect() };
        let (members, signing, channel) = (all("members"), all("signing"), all("channel"));
        // The plan has a `channel`, too, by its name.
        let channel: BTreeSet<String> = channel.into_iter().filter(|text| text.len() > 20).collect();
        let servers = if is_accountable { 1 } else { 2 };
        assert_eq!((members.len(), signing.len(), channel.len()), (1, servers, servers));
        let decoded = members.iter().chain(&signing).chain(&channel);
        let mut secrets: Vec<Vec<u8>> = decoded.map(|text| STANDARD_NO_PAD.decode(text).unwrap()).collect();
        let members = secrets[0].clone();
        secrets.extend((0..20).map(|user| signing_seed(&members, 0, user)));
        let result: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("result.json")).unwrap()).unwrap();
        let plan: twincast_loadgen::plan::Plan = serde_json::from_value(result["plan"].clone()).unwrap();
        let workload = twincast_loadgen::workload::Workload::new(&plan, 0);
        for (round, sender) in
            (1..=plan.all_rounds()).flat_map(|round| (0..20).map(move |user| (round, user)))
        {
            let mut message = Vec::new();
            workload.message(round, sender, 0, &mut message);
            // After what says where it is from, which is small numbers.
            secrets.push(message[24..56].to_vec());
        }
        let mut left = files(folder.path());
        left.push(("standard output".into(), output.stdout));
        left.push(("standard error".into(), output.stderr));
        let (_, log) = left.iter().find(|(name, _)| name.ends_with("agents.log")).unwrap();
        assert!(contains(log, "trace") || contains(log, "debug"), "the agents tell all they can");
        none_is_in(&secrets, &left);
    }
}
