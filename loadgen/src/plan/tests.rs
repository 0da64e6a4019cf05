use super::*;
use crate::fault::FaultKind;

/// The main job over plain channels, whose frames a test can look at.
pub(crate) fn plan() -> Plan {
    Plan { channel: ChannelName::Plain, identities: IdentitiesName::Open, ..Plan::default() }
}

pub(crate) fn many(recipients: u32, spread: u32, noise_max: u32) -> Many {
    Many { recipients, spread, noise_min: 0, noise_max }
}

#[test]
fn a_plan_travels_as_it_is() {
    let all_peers =
        [Peers::Own, Peers::Random, Peers::Subset(3), Peers::Subgroup(25), Peers::Many(many(4, 2, 1))];
    for peers in all_peers {
        for verify in [Verify::All, Verify::Sample(0.5), Verify::Count] {
            let fault = Some(Fault { kind: FaultKind::Flip, round: 3, hold_ms: 0 });
            let plan = Plan { peers, verify, fault, profile: ProfileName::PaperAdd, ..plan() };
            let line = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), plan, "{line}");
        }
    }
}

/// The main job in answer delivery.
pub(crate) fn answer_plan() -> Plan {
    let message_bytes = answer::message_bytes_max().min(MESSAGE_BYTES as usize) as u32;
    let frame_bytes = ANSWER_FRAME_BYTES;
    Plan { delivery: Delivery::Answer, frame_bytes, message_bytes, confirm: false, ..plan() }
}

#[test]
fn a_plan_from_before_there_was_a_choice_is_broadcast() {
    let mut old = serde_json::to_value(plan()).unwrap();
    let keys = ["delivery", "answer_threads", "channel", "identities", "accountable", "header_rounds"];
    for key in keys {
        assert!(old.as_object_mut().unwrap().remove(key).is_some());
    }
    assert_eq!(serde_json::from_value::<Plan>(old).unwrap(), plan());
    let answer = answer_plan();
    let line = serde_json::to_string(&answer).unwrap();
    assert!(line.contains("\"delivery\":\"answer\""), "{line}");
    assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), answer);
    assert_eq!((answer.message_bytes, answer.format().unwrap().frame_bytes()), (256, 272));
}

#[test]
fn what_guards_a_run_has_names() {
    let line = serde_json::to_string(&Plan::default()).unwrap();
    assert!(line.contains("\"channel\":\"noise\",\"identities\":\"registered\""), "{line}");
    for name in ["noise", "plain"] {
        assert_eq!(name.parse::<ChannelName>().unwrap().to_string(), name);
    }
    for name in ["registered", "open"] {
        assert_eq!(name.parse::<IdentitiesName>().unwrap().to_string(), name);
    }
    assert!("tls".parse::<ChannelName>().unwrap_err().contains("noise or plain"));
    assert!("".parse::<IdentitiesName>().unwrap_err().contains("registered or open"));
}

#[test]
fn settings_are_told_as_a_configuration_says_them() {
    let server = ServerSettings {
        fan_out_threads: Some(2),
        fan_out_cores: Some(Cores::List(vec![0, 1])),
        front_cores: Some(Cores::default()),
        zero_copy: Some(ZeroCopy::Off),
        ..ServerSettings::default()
    };
    let said = "both servers set up with front.cores = \"auto\", fan_out.threads = 2, fan_out.cores = [0, 1], \
                fan_out.zero_copy = \"off\"";
    assert_eq!(server.in_words().as_deref(), Some(said));
    assert_eq!(ServerSettings::default().in_words(), None);
}

#[test]
fn the_scheme_follows_from_profile_and_recipients() {
    let scheme = |profile, peers| Plan { profile, peers, ..plan() }.scheme();
    let batch = Peers::Many(many(5, 2, 3));
    for peers in [Peers::Own, Peers::Subset(9), Peers::Subgroup(25), batch] {
        assert_eq!(scheme(ProfileName::Compact, peers), Scheme::Plain);
    }
    let paper = ProfileName::PaperXor;
    assert_eq!(scheme(paper, Peers::Random), Scheme::Plain);
    assert_eq!(scheme(paper, Peers::Subset(1)), Scheme::Plain);
    assert_eq!(scheme(paper, Peers::Subset(2)), Scheme::Algorithm4);
    assert_eq!(scheme(paper, Peers::Subgroup(25)), Scheme::Algorithm4);
    assert_eq!(scheme(paper, batch), Scheme::OneToMany { subgroups_max: 6 });
}

#[test]
fn a_batch_is_spread_over_its_rounds_and_every_recipient_has_one_turn() {
    for (recipients, spread) in [(8, 1), (8, 3), (5, 5), (7, 2)] {
        let many = many(recipients, spread, 0);
        for batch in 0..3 {
            let rounds = 1 + batch * u64::from(spread)..=(batch + 1) * u64::from(spread);
            assert!(rounds.clone().all(|round| many.batch(round) == batch));
            let turns: Vec<u32> = rounds.flat_map(|round| many.part(round)).collect();
            assert_eq!(turns, (0..recipients).collect::<Vec<_>>(), "{recipients} over {spread}");
        }
        assert!((1..20).all(|round| many.part(round).len() as u32 <= many.recipients_max()));
    }
}

#[test]
fn rounds_fall_into_epochs_and_rosters_move_on() {
    let plan = Plan { group: 10, rounds: 7, warmup: 1, epoch_rounds: 3, churn: 2, ..plan() };
    assert_eq!([1, 3, 4, 6, 7, 8].map(|round| plan.epoch_of(round)), [0, 0, 1, 1, 2, 2]);
    assert_eq!((plan.epochs(), plan.roster(0), plan.roster(2)), (3, 0..=9, 4..=13));
    assert_eq!(plan.roster(3), 4..=13, "nobody goes at the end of the run");
    let endless = Plan { epoch_rounds: 0, ..plan };
    assert_eq!((endless.epochs(), endless.epoch_of(8)), (1, 0));
}

#[test]
fn a_rate_is_an_interval() {
    let plan = plan();
    assert_eq!(plan.interval(), None);
    let open = Plan { rate: Some(2.5), ..plan.clone() };
    assert_eq!(open.interval(), Some(Duration::from_millis(400)));
    for none in [0.0, -1.0, f64::NAN] {
        assert_eq!(Plan { rate: Some(none), ..plan.clone() }.interval(), None);
    }
}

#[test]
fn a_part_of_the_group_is_never_nobody() {
    assert_eq!(
        [(100, 25), (130, 25), (3, 1), (7, 50), (2, 100)].map(|(n, p)| subgroup(n, p)),
        [25, 33, 1, 4, 2]
    );
}

#[test]
fn sealing_takes_its_room_from_the_message() {
    let format = plan().format().unwrap();
    assert_eq!((message_bytes_max(&format, false), message_bytes_max(&format, true)), (285, 268));
    for name in ["compact", "paper-xor", "paper-add"] {
        assert_eq!(name.parse::<ProfileName>().unwrap().to_string(), name);
    }
    assert!("paper".parse::<ProfileName>().unwrap_err().contains("paper-xor"));
}
