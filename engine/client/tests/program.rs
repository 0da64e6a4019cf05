//! The program `twincast-client` against two servers over TCP that know how to register, and no more.

mod model;

use model::{Ends, GROUP};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use tempfile::TempDir;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::accountable::evidence::{Case, Evidence, Receipt, Receipts, RosterReceipt};
use twincast_protocol::channel::StaticKey;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::{Body, Code, HEADER_BYTES, Register, Registered};

const USER: UserId = UserId(9);

/// What the servers do with a registration.
#[derive(Clone, Copy)]
enum Answer {
    Signs,
    /// It has the key from that epoch on, whatever it is asked.
    SignsFor(Epoch),
    Refuses(Code),
    HangsUp,
}

/// Two servers, and a folder for a client file.
struct Place {
    folder: TempDir,
    addresses: [String; 2],
    channel: [StaticKey; 2],
    signing: [[u8; 32]; 2],
}

impl Place {
    fn new(answers: [Answer; 2]) -> Place {
        let mut rng = StdRng::seed_from_u64(1);
        let channel = [StaticKey::random(&mut rng), StaticKey::random(&mut rng)];
        let signing = [[1; 32], [2; 32]];
        let addresses = ServerSide::BOTH.map(|side| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let (channel, answer) = (channel.clone(), answers[side.index()]);
            thread::spawn(move || {
                for socket in listener.incoming() {
                    serve(socket.unwrap(), side, channel.clone(), signing, answer);
                }
            });
            address
        });
        Place { folder: TempDir::new().unwrap(), addresses, channel, signing }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("me.toml")
    }

    fn verifying(&self) -> [VerifyingKey; 2] {
        self.signing.map(|seed| SigningKey::from_seed(&seed).verifying_key())
    }

    /// `init` with these arguments changed.
    fn init(&self, changed: &[(&str, &str)]) -> Output {
        let [one, two] = self.channel.each_ref().map(|key| hex::encode(key.public()));
        let [verifying1, verifying2] = self.verifying().map(|key| hex::encode(key.to_bytes()));
        let (group, user, file) = (GROUP.0.to_string(), USER.0.to_string(), self.file());
        let all = [
            ("--group", &group[..]),
            ("--user", &user),
            ("--s1", &self.addresses[0]),
            ("--s2", &self.addresses[1]),
            ("--s1-key", &one),
            ("--s2-key", &two),
            ("--s1-verifying", &verifying1),
            ("--s2-verifying", &verifying2),
            ("--out", file.to_str().unwrap()),
        ];
        let of = |(name, value)| {
            let changed = changed.iter().find(|(of, _)| *of == name);
            [name, changed.map_or(value, |(_, value)| *value)]
        };
        program(&[&["init"], &all.map(of).concat()[..]].concat())
    }

    fn register(&self) -> Output {
        program(&["register", self.file().to_str().unwrap()])
    }
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twincast-client")).args(arguments).output().unwrap()
}

fn serve(
    mut socket: TcpStream,
    side: ServerSide,
    keys: [StaticKey; 2],
    signing: [[u8; 32]; 2],
    answer: Answer,
) {
    let mut rng = StdRng::seed_from_u64(2);
    let mut ends = Ends::new(&mut rng);
    ends.keys = keys;
    let (mut buffer, mut said) = ([0; 4096], Vec::new());
    while let Ok(bytes @ 1..) = socket.read(&mut buffer) {
        if matches!(answer, Answer::HangsUp) {
            return;
        }
        let (opened, answers) = ends.take(0, side, &buffer[..bytes], &mut rng);
        said.extend(opened);
        socket.write_all(&answers).unwrap();
        let Some(body) = said.get(HEADER_BYTES..HEADER_BYTES + size_of::<Register>()) else { continue };
        let (register, of) = Register::read(body).unwrap();
        assert_eq!(of, side);
        let key = VerifyingKey::from_bytes(&register.key).unwrap();
        let epoch = match answer {
            Answer::SignsFor(epoch) => epoch,
            _ => Epoch(register.epoch.get()),
        };
        let user = UserId(register.user.get());
        let statement = statements::key(GROUP, epoch, user, &key);
        let signatures = signing.map(|seed| SigningKey::from_seed(&seed).sign(&statement));
        let answer = match answer {
            Answer::Refuses(code) => code.frame(u32::MAX, u32::MAX, 0),
            _ => Registered::new(GROUP, epoch, user, signatures).frame(),
        };
        let sealed = ends.seal(0, side, &answer, &mut rng);
        socket.write_all(&sealed).unwrap();
        return;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

/// The certificate in a client file, and whether the secret in it shows in `output`.
fn certificate(file: &Path, output: &Output) -> (SigningKey, Option<Certificate>) {
    let read = fs::read_to_string(file).unwrap();
    let table: toml::Table = read.parse().unwrap();
    let digits = table["signing_key"].as_str().unwrap();
    assert!(!text(&output.stdout).contains(digits) && !text(&output.stderr).contains(digits));
    let key = SigningKey::from_seed(&hex::decode(digits).unwrap().try_into().unwrap());
    let signature = |server: &str| {
        let digits = table[server].get("signature")?.as_str()?;
        hex::decode(digits).unwrap().try_into().ok()
    };
    let signatures = signature("s1").zip(signature("s2"));
    let verifying = key.verifying_key();
    (
        key,
        signatures.map(|(one, two)| Certificate { key: verifying, epoch: Epoch(0), signatures: [one, two] }),
    )
}

#[test]
fn a_client_file_is_made_once_and_is_its_owners_alone() {
    let place = Place::new([Answer::Signs; 2]);
    let made = place.init(&[]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(mode(&place.file()), 0o600);
    let (key, none) = certificate(&place.file(), &made);
    assert!(none.is_none());
    let public = hex::encode(key.verifying_key().to_bytes());
    assert!(text(&made.stdout).contains(&public));
    assert!(text(&made.stderr).contains("admin --config FILE add --group 7 --user 9 --key"));

    let before = fs::read(place.file()).unwrap();
    let again = place.init(&[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is not overwritten"), "{}", text(&again.stderr));
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_and_nothing_written() {
    let place = Place::new([Answer::Signs; 2]);
    let zeros = "0".repeat(64);
    let one = format!("01{}", "0".repeat(62));
    for (changed, status, says) in [
        (("--s1-key", "abc"), 2, "64 hexadecimal digits"),
        (("--s1-verifying", &zeros[..]), 2, "--s1-verifying"),
        (("--s1-key", &zeros[..]), 2, "a point of small order"),
        (("--s2-key", &one[..]), 2, "a point of small order"),
        (("--s2-key", &hex::encode(place.channel[0].public())[..]), 1, "have the same key"),
        (("--out", "/nonexistent/me.toml"), 1, "cannot write /nonexistent/me.toml"),
        (("--s1", "127.0.0.1"), 2, "an address is HOST:PORT"),
        (("--s2", "::1:7101"), 2, "an address is HOST:PORT"),
        (("--s2", &place.addresses[0][..]), 1, "S1 and S2 have the same address"),
    ] {
        let refused = place.init(&[changed]);
        assert_eq!(refused.status.code(), Some(status), "{changed:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(says), "{changed:?}: {}", text(&refused.stderr));
        assert!(!place.file().exists());
    }
}

#[test]
fn who_has_no_verifying_keys_is_not_told_to_register() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("me.toml");
    let made = program(&[
        "init",
        "--group",
        "1",
        "--user",
        "2",
        "--plain",
        "--s1",
        "127.0.0.1:1",
        "--s2",
        "127.0.0.1:2",
        "--out",
        file.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let said = text(&made.stderr);
    assert!(
        !said.contains("next, if the group takes registrations") && said.contains("cannot register"),
        "{said}"
    );
}

#[test]
fn a_folder_is_no_client_file_and_its_mode_is_nobodys_fault() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().to_str().unwrap();
    for command in [&["register", path][..], &["talk", path, "--to", "1"]] {
        let refused = program(command);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("is no client file") && !said.contains("chmod"), "{said}");
    }
}

/// Two receipts of S1 that contradict each other.
fn contradiction() -> Evidence {
    let (group, epoch, round, server) = (GROUP, Epoch(2), RoundNumber(3), ServerSide::One);
    let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let receipts = [0, 1].map(|word| {
        let present = vec![word];
        let statement = statements::receipt(group, epoch, round, server, &[9; 32], &present);
        RosterReceipt {
            roster_hash: [9; 32],
            receipt: Receipt { present, signature: keys[0].sign(&statement) },
        }
    });
    let servers = keys.each_ref().map(SigningKey::verifying_key);
    Evidence { servers, case: Case::Receipts(Box::new(Receipts { group, epoch, round, server, receipts })) }
}

#[test]
fn a_judgement_that_nobody_reads_is_no_panic() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("evidence");
    fs::write(&file, contradiction().to_text()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-client"));
    let done = command.arg("blame").arg(&file).stdout(writer).output().unwrap();
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()));
    assert!(text(&program(&["blame", file.to_str().unwrap()]).stdout).contains("server S1 is at fault"));
}

#[test]
fn a_registration_keeps_both_servers_signatures_and_may_be_repeated() {
    let place = Place::new([Answer::Signs; 2]);
    place.init(&[]);
    for _ in 0..2 {
        let done = place.register();
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        assert!(text(&done.stdout).contains("user 9 is registered in group 7 at both servers"));
        let (_, kept) = certificate(&place.file(), &done);
        assert!(kept.unwrap().verify(GROUP, USER, &place.verifying()));
        assert_eq!(mode(&place.file()), 0o600);
        assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 2, "beside it is what it signs");
    }
}

#[test]
fn a_key_that_was_rotated_comes_with_the_epoch_that_both_servers_gave_it() {
    let place = Place::new([Answer::SignsFor(Epoch(3)); 2]);
    place.init(&[]);
    let done = place.register();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("from epoch 3 on"), "{}", text(&done.stderr));
    let file = fs::read_to_string(place.file()).unwrap();
    assert!(file.contains("epoch = 3\n"));
    assert!(!text(&place.register().stderr).contains("from epoch"), "it is in the file");

    let place = Place::new([Answer::SignsFor(Epoch(3)), Answer::SignsFor(Epoch(4))]);
    place.init(&[]);
    let done = place.register();
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("S1 has this key from epoch 3 on and S2 from epoch 4"));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_remedy() {
    let place = Place::new([Answer::Signs; 2]);
    place.init(&[]);
    for loose in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(place.file(), fs::Permissions::from_mode(loose)).unwrap();
        for command in [&["register"][..], &["talk", "--to", "1"]] {
            let file = place.file();
            let refused = program(&[command, &[file.to_str().unwrap()]].concat());
            assert_eq!(refused.status.code(), Some(1));
            assert!(text(&refused.stderr).contains("chmod 600"), "{}", text(&refused.stderr));
        }
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    for (code, says) in [
        (Code::RegistrationClosed, "twincast-server admin --config FILE add --group 7 --user 9 --key"),
        (Code::AccountTaken, "ask both operators to rotate it"),
        (Code::KeysUnequal, "somebody else registers as user 9"),
        (Code::RegistrationHalf, "no link now"),
        (Code::GroupUnknown, "group 7 is what the client file says"),
        (Code::StrangersFull, Code::StrangersFull.sentence()),
    ] {
        let place = Place::new([Answer::Signs, Answer::Refuses(code)]);
        place.init(&[]);
        let before = fs::read(place.file()).unwrap();
        let refused = place.register();
        assert_eq!(refused.status.code(), Some(1));
        let stderr = text(&refused.stderr);
        assert!(stderr.contains("user 9 is not registered: S2 refuses"), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains(code.sentence()), "{stderr}");
        assert_eq!(fs::read(place.file()).unwrap(), before, "nothing is kept of half a registration");
    }
}

#[test]
fn servers_that_are_not_there_or_hang_up_are_named() {
    let place = Place::new([Answer::Signs, Answer::HangsUp]);
    place.init(&[]);
    let hung_up = text(&place.register().stderr);
    assert!(hung_up.contains("S2 closed the connection without an answer"), "{hung_up}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let other = place.folder.path().join("other.toml");
    place.init(&[("--s2", &free), ("--out", other.to_str().unwrap())]);
    let refused = program(&["register", other.to_str().unwrap()]);
    let unreachable = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(unreachable.contains(&format!("S2 cannot be reached at {free}")), "{unreachable}");
}
