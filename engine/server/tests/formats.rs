//! Every profile and scheme goes through the same tiles: shares are bytes to a server, and lengths are all that it knows
//! of them.

mod common;

use common::model::{frame, submit_frame};
use common::{Client, Model, Party, TestServer, config, group, run_to_end};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::{Config, ConfigError, GroupConfig, SchemeName};
use twincast_server::{Server, StartError};

fn paper(profile: &str) -> GroupConfig {
    GroupConfig { profile: profile.into(), frame_bytes: 256, ..group(2, 70) }
}

fn one_to_many(profile: &str) -> GroupConfig {
    let frame_bytes = if profile == "compact" { 48 } else { 256 };
    let scheme = SchemeName::OneToMany;
    GroupConfig { profile: profile.into(), scheme, subgroups_max: 5, frame_bytes, ..group(2, 70) }
}

fn algorithm4(profile: &str) -> GroupConfig {
    let frame_bytes = if profile == "compact" { 48 } else { 256 };
    GroupConfig { profile: profile.into(), scheme: SchemeName::Algorithm4, frame_bytes, ..group(2, 70) }
}

/// On both sides: all dial where there is something to dial, and rounds are right to the last byte.
fn plays(group: &GroupConfig, cell_bytes: [usize; 2]) {
    for side in ServerSide::BOTH {
        let base = config(vec![group.clone()]);
        let server =
            TestServer::start(Config { side: side.index() as u8 + 1, insecure_baseline: true, ..base });
        let mut party = Party::new(server.address(), group, side, 1);
        for users in [(0..20).collect(), (20..70).collect::<Vec<u32>>()] {
            party.join(users);
        }
        assert_eq!(party.model.cell_bytes, cell_bytes[side.index()]);
        assert_eq!(party.welcome.unwrap().share_bytes.get() as usize, party.model.cell_bytes);
        if party.model.chooses {
            // Whoever is there counts as one who dialled.
            let open = party.model.epoch_open_with(70);
            party.expect_all(&open, "the epoch's opening");
        } else {
            party.dial();
            party.expect_open();
        }
        for round in 1..4 {
            party.play(round);
        }
    }
}

#[test]
fn paper_profiles_are_served_where_they_are_asked_for() {
    plays(&paper("paper-xor"), [771; 2]);
    plays(&GroupConfig { slots: 2, ..paper("paper-add") }, [772; 2]);
}

#[test]
fn paper_profiles_are_refused_otherwise_and_the_sentence_says_why() {
    for profile in ["paper-xor", "paper-add"] {
        let config = config(vec![paper(profile)]);
        let error = Server::start(config.clone()).expect_err("nobody asked for it");
        assert!(matches!(error, StartError::Config(ConfigError::Baseline { .. })), "{error}");
        let (status, _, stderr) = run_to_end("", "--config", &config.to_toml());
        assert_eq!(status, Some(2), "{stderr}");
        for part in [profile, "one server alone can find recipients or forge", "engine/docs/THREAT_MODEL.md"]
        {
            assert!(stderr.contains(part), "{stderr}");
        }
        let asked = Config { insecure_baseline: true, ..config };
        let (status, stdout, stderr) = run_to_end("", "--check", &asked.to_toml());
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stdout.contains("good"), "{stdout}");
    }
}

#[test]
fn algorithm_4_gives_s1_pairs() {
    plays(&algorithm4("compact"), [192, 96]);
    plays(&algorithm4("paper-add"), [1_544, 772]);
}

#[test]
fn one_to_many_chooses_halves_round_by_round() {
    plays(&one_to_many("compact"), [96; 2]);
    plays(&one_to_many("paper-xor"), [771; 2]);
}

#[test]
fn a_choice_that_there_is_not_is_refused_and_the_others_play_on() {
    let group = one_to_many("compact");
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::attach(server.address(), &group, [(0..69).collect(), vec![69]], 1);
    let open = party.model.epoch_open_with(70);
    party.expect_all(&open, "the epoch's opening");
    let mut tail = vec![0; 2 * 70 + 10 * 96];
    tail[2 * 33] = 10;
    let seat = &mut party.seats[1].client;
    seat.send(&submit_frame(1, 69, &tail));
    seat.expect_error(Code::ChoiceOutOfRange, 69, u32::MAX, 1);
    // Nobody dials here.
    seat.send(&common::model::dial_frame(1, 0, 69, 0, &[0; 9]));
    seat.expect_error(Code::DialClosed, 69, 0, 0);
    party.play(1);
    // A length that another epoch might have, but not this one: an error of form.
    let mut offender = party.take(1);
    offender.send(&submit_frame(2, 69, &tail[2..]));
    let (_, last) = offender.drain();
    assert!(common::client::is_error(&last.expect("a frame"), Code::LengthWrong));
    party.submit_seat(2, 0);
    party.expect(2);
}

/// One server, five groups with five settings: each as if it were alone.
#[test]
fn groups_with_different_settings_share_a_server() {
    let groups = [
        GroupConfig { id: 0, ..group(0, 33) },
        GroupConfig { id: 1, ..paper("paper-add") },
        GroupConfig { id: 2, ..algorithm4("compact") },
        GroupConfig { id: 3, confirm: true, slots: 3, frame_bytes: 160, ..group(3, 20) },
        GroupConfig { id: 4, members: 6, ..one_to_many("compact") },
    ];
    let mut base = config(groups.to_vec());
    base.insecure_baseline = true;
    base.front.executors = 2;
    let server = TestServer::start(base);
    let mut parties: Vec<Party> = groups
        .iter()
        .map(|group| {
            let all = (0..group.members).collect();
            let mut party = Party::attach(server.address(), group, [all], u64::from(group.id));
            if party.model.chooses {
                let open = party.model.epoch_open_with(group.members);
                party.expect_all(&open, "the epoch's opening");
            } else {
                party.dial();
                if group.confirm { party.confirm(&[]) } else { party.expect_open() }
            }
            party
        })
        .collect();
    for round in 1..4 {
        parties.iter_mut().for_each(|party| party.submit(round));
        parties.iter_mut().rev().for_each(|party| party.expect(round));
    }
}

/// A body larger than any that the group could have is refused at its header, whatever the scheme.
#[test]
fn bodies_beyond_every_length_are_refused_at_their_header() {
    for group in [paper("paper-xor"), algorithm4("compact"), one_to_many("compact")] {
        let base = Config { insecure_baseline: true, ..config(vec![group.clone()]) };
        let server = TestServer::start(base);
        let model = Model::new(&group, ServerSide::One, 1);
        let submit = 16 + if model.chooses { 140 } else { 0 } + model.halves * model.cell_bytes;
        for (kind, bytes) in [(0x05, submit + 1), (0x02, 24 + 10), (0x06, 9), (0x07, 23)] {
            let (mut client, _) = Client::attach(server.address(), ServerSide::One, 2, &[0]);
            let mut header = frame(kind, &[]);
            header[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
            client.send(&header);
            let (_, last) = client.drain();
            let last = last.expect("a frame");
            let refused = [Code::LengthWrong, Code::FrameTooLarge];
            assert!(refused.iter().any(|&code| common::client::is_error(&last, code)), "{kind} of {bytes}");
        }
    }
}
