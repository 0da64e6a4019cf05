//! Flags, the plans that they make, and those that are refused.

use super::super::{Cli, Command};
use super::*;
use crate::fault::FaultKind;
use crate::plan::Many;
use clap::Parser as _;
use clap::error::ErrorKind;
use twincast_protocol::format::Scheme;

fn args(line: &str) -> Result<crate::cli::LocalArgs, clap::Error> {
    let words = ["twincast-loadgen", "local"].into_iter().chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| match cli.command {
        Command::Local(args) => *args,
        _ => unreachable!("the line says local"),
    })
}

fn plan(line: &str) -> Plan {
    args(line).unwrap().plan.plan().unwrap()
}

#[test]
fn the_defaults_are_the_main_job() {
    let plan = plan("");
    assert_eq!((plan.group, plan.groups, plan.hosts, plan.rounds, plan.warmup), (1_000, 1, 5, 5, 1));
    assert_eq!((plan.slots, plan.peers, plan.confirm, plan.ahead), (1, Peers::Random, true, 0));
    assert_eq!((plan.users_per_connection, plan.verify), (200, Verify::All));
    assert_eq!((plan.profile, plan.frame_bytes, plan.message_bytes), (ProfileName::Compact, 288, 256));
    assert_eq!((plan.epoch_rounds, plan.keys, plan.linked, plan.box_mib), (0, false, true, 0));
    assert_eq!(plan.fault, None);
    assert!(args("").unwrap().outputs().roof);
}

#[test]
fn every_flag_reaches_the_plan() {
    let line = "--group 130 --groups 2 --hosts 3 --rounds 4 --warmup 2 --slots 2 --peers subset:3 --no-confirm \
                --users-per-connection 1 --ahead 1 --verify sample:0.5 --seed 9 --json x.json --no-roof";
    let plan = plan(line);
    assert_eq!((plan.group, plan.groups, plan.hosts, plan.rounds, plan.warmup), (130, 2, 3, 4, 2));
    assert_eq!((plan.slots, plan.peers, plan.confirm, plan.ahead), (2, Peers::Subset(3), false, 1));
    assert_eq!((plan.users_per_connection, plan.verify, plan.seed), (1, Verify::Sample(0.5), 9));
    let outputs = args(line).unwrap().outputs();
    assert_eq!((outputs.json, outputs.roof), (Some("x.json".into()), false));
}

#[test]
fn every_flag_of_epochs_keys_and_faults_reaches_the_plan() {
    let plan = plan(
        "--epoch-rounds 9 --announce-rounds 3 --churn 4 --keys --keys-kappa 250 --no-link --box 8 --round-timeout 70",
    );
    assert_eq!((plan.epoch_rounds, plan.announce_rounds, plan.churn), (9, 3, 4));
    assert_eq!((plan.keys, plan.keys_kappa, plan.linked), (true, 250, false));
    assert_eq!((plan.box_mib, plan.round_timeout_ms), (8, 70));
    assert_eq!(plan.message_bytes, 256, "the default frame has room for the seal");
    let broken = args("--fault delay:100@3").unwrap();
    assert!(!broken.outputs().roof);
    let plan = broken.plan.plan().unwrap();
    assert_eq!((plan.warmup, plan.round_timeout_ms), (0, 5_000));
    assert_eq!(plan.fault, Some(Fault { kind: FaultKind::Delay, round: 3, hold_ms: 100 }));
}

#[test]
fn runs_are_guarded_unless_a_fault_changes_frames() {
    use crate::plan::{ChannelName, IdentitiesName};
    let of = |line: &str| {
        let plan = plan(line);
        (plan.channel, plan.identities, plan.accountable, plan.header_rounds)
    };
    let (noise, open) = (ChannelName::Noise, IdentitiesName::Open);
    assert_eq!(of(""), (noise, IdentitiesName::Registered, false, 0));
    assert_eq!(of("--identities open"), (noise, open, false, 0));
    for plain in ["--channel plain", "--fault flip@1", "--fault kill-host@1"] {
        assert_eq!(of(plain), (ChannelName::Plain, open, false, 0), "{plain}");
    }
    assert_eq!(of("--fault net-drop@1").0, noise);
    let signed = (noise, IdentitiesName::Registered, true, 16);
    assert_eq!(of("--accountable"), signed);
    assert_eq!(of("--accountable --fault net-drop@1"), signed);
    let plain = of("--accountable --channel plain --header-rounds 3");
    assert_eq!(plain, (ChannelName::Plain, IdentitiesName::Registered, true, 3));
    let boxed = plan("--accountable --group 1000 --slots 2").box_mib;
    assert!((122..160).contains(&boxed), "2 x 1,000 x 1,000 x 64 bytes and what goes with them: {boxed} MiB");
    assert_eq!(plan("--accountable --box 700").box_mib, 700);
}

#[test]
fn messages_fill_the_frame_that_was_asked_for() {
    let paper = "--insecure-baseline --profile paper-xor";
    let bytes = |line: &str| (plan(line).frame_bytes, plan(line).message_bytes);
    assert_eq!(bytes("--frame-bytes 16"), (16, 13));
    assert_eq!(bytes("--frame-bytes 1024 --keys"), (1024, 1021 - 17));
    assert_eq!(bytes(paper), (256, 256));
    assert_eq!(bytes(&format!("{paper} --keys")), (256, 239));
    assert_eq!(bytes(&format!("{paper} --frame-bytes 1000")), (1000, 1000));
}

#[test]
fn many_messages_go_in_slots_or_in_subgroups() {
    let compact = plan("--peers many:6");
    assert_eq!((compact.slots, compact.confirm, compact.recipients_each()), (6, true, 1));
    let dealt = plan("--profile paper-add --insecure-baseline --peers many:6 --noise 1..3 --spread 2");
    assert_eq!((dealt.slots, dealt.confirm), (1, false));
    assert_eq!(dealt.scheme(), Scheme::OneToMany { subgroups_max: 6 });
    let many = Many { recipients: 6, spread: 2, noise_min: 1, noise_max: 3 };
    assert_eq!(dealt.dealt(), Some(many));
}

#[test]
fn answer_delivery_has_frames_of_its_own_and_nothing_to_confirm() {
    let plan = plan(
        "--delivery answer --group 100000 --slots 3 --peers subset:7 --answer-threads 4 --frame-bytes 272",
    );
    assert_eq!((plan.delivery, plan.slots, plan.answer_threads), (Delivery::Answer, 3, 4));
    assert_eq!((plan.frame_bytes, plan.message_bytes, plan.confirm, plan.linked), (272, 256, false, true));
    assert_eq!((plan.users_per_connection, plan.messages_each()), (512, 1));
    // A host keeps two rounds of a connection's answers, so that one server never waits for the other for want of room.
    assert!(plan.host_skew_bytes >= 2 * (72 + 512 * 3 * 352), "{}", plan.host_skew_bytes);
    assert_eq!(super::tests::plan("").delivery, Delivery::Broadcast);
}

#[test]
fn defaults_follow_the_other_flags() {
    assert_eq!(plan("--rounds 1").warmup, 0);
    assert_eq!(plan("--rounds 1 --warmup 3").warmup, 3);
    assert_eq!(plan("--group 3").hosts, 3);
    assert_eq!(plan("--group 10000").users_per_connection, 512);
    assert_eq!(plan("--group 7 --hosts 2").users_per_connection, 4);
}

#[test]
fn a_value_out_of_bounds_names_flag_bound_and_remedy() {
    for (line, flag, remedy) in [
        ("--group 1", "--group", "from 2 to 262,144"),
        ("--group 262145", "--group", "from 2 to 262,144"),
        ("--delivery pull", "--delivery", "give broadcast or answer"),
        ("--answer-threads 0", "--answer-threads", "from 1 to 256"),
        ("--groups 0", "--groups", "from 1 to 1,024"),
        ("--hosts 0", "--hosts", "from 1 to 64"),
        ("--rounds 0", "--rounds", "from 1 to 1,000,000"),
        ("--rounds x", "--rounds", "from 1 to 1,000,000"),
        ("--warmup 10001", "--warmup", "from 0 to 10,000"),
        ("--slots 0", "--slots", "from 1 to 256"),
        ("--peers me", "--peers", "give self, random, subset:K"),
        ("--users-per-connection 0", "--users-per-connection", "from 1 to 16,384"),
        ("--ahead 2", "--ahead", "from 0 to 1"),
        ("--verify sample:2", "--verify", "above 0 and at most 1"),
        ("--profile paper", "--profile", "give compact, paper-xor or paper-add"),
        ("--frame-bytes 8", "--frame-bytes", "from 16 to 65,536"),
        ("--frame-bytes 65552", "--frame-bytes", "from 16 to 65,536"),
        ("--noise 3..1", "--noise", "give MIN..MAX"),
        ("--epoch-rounds 1", "--epoch-rounds", "from 2 to 1,000,000"),
        ("--link 0", "--link", "give a rate such as 1gbit"),
        ("--rate 0", "--rate", "from 0.001 to 100000"),
        ("--link fast", "--link", "from 1mbit to 400gbit"),
        ("--mtu 10", "--mtu", "from 576 to 65,521"),
        ("--box none", "--box", "(in MiB), or off"),
        ("--fault melt@1", "--fault", "give KIND@ROUND"),
    ] {
        let error = args(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert_eq!(error.kind(), ErrorKind::ValueValidation, "{line}");
        let text = error.to_string();
        assert!(text.contains(flag) && text.contains(remedy), "{line}: {text}");
    }
    assert_eq!(args("--fast").unwrap_err().exit_code(), 2);
}

#[test]
fn flags_that_do_not_go_together_are_refused_with_the_remedy() {
    const PAPER: &str = "--insecure-baseline --profile paper-xor";
    for (line, why, remedy) in [
        ("--group 3 --hosts 4", "more than the 3 members", "at most --hosts 3"),
        ("--group 3 --peers subset:4", "subset:4 is more", "at most subset:3"),
        ("--profile paper-add", "engine/docs/THREAT_MODEL.md", "add --insecure-baseline"),
        ("--group 131 PAPER --peers subgroup:25%", "needs an even group", "give --group 132"),
        ("--group 130 PAPER --peers subgroup:51%", "more than half of 130", "subset:65 or subgroup:50%"),
        ("--group 130 PAPER --peers subset:66", "at most half", "--profile compact"),
        ("--frame-bytes 100", "no frame of --profile compact", "a multiple of 16"),
        ("PAPER --frame-bytes 255", "no frame of --profile paper-xor", "256, or more"),
        ("PAPER --frame-bytes 128 --peers many:3", "no frame of --profile paper-xor", "256, or more"),
        ("--noise 1..2", "belong to --peers many:K", "leave them out"),
        ("--peers many:4 --noise 1..2", "always all filled", "paper --profile"),
        ("--peers many:4 --slots 2", "takes 4 slots", "leave --slots out"),
        ("--peers many:300", "at most 256", "at most many:256"),
        ("--group 5 --peers many:6", "more than the 5 members", "at most many:5"),
        ("PAPER --peers many:4 --slots 2", "deals one slot", "leave --slots out"),
        ("PAPER --peers many:4 --spread 5", "some rounds would have none", "at most --spread 4"),
        ("--group 8 PAPER --peers many:6 --noise 0..3", "up to 9 subgroups", "less noise"),
        ("--group 100 --keys-kappa 101", "more partitions", "from 2 to 100"),
        ("--announce-rounds 3", "belongs to --epoch-rounds", "give that too"),
        ("--churn 3", "epochs that change", "give --epoch-rounds too"),
        ("--epoch-rounds 3 --announce-rounds 4", "more than the 3 rounds", "at most 3"),
        ("--epoch-rounds 3 --churn 2", "leaves 1", "at least --epoch-rounds 4"),
        ("--group 10 --epoch-rounds 9 --churn 6", "more than half", "at most 5"),
        ("--fault flip@6", "flip@6", "from 1 to the last of --rounds, 5"),
        ("--fault replay@1", "replay@1", "from 2 to the last"),
        ("--fault flip@1 --epoch-rounds 3", "do not go together", "leave --epoch-rounds out"),
        ("--fault flip@1 --link 1gbit", "do not go together", "give --link loopback"),
        ("--fault flip@1 --warmup 1", "do not go together", "leave --warmup out"),
        ("--fault flip@1 --ahead 1", "do not go together", "leave --ahead out"),
        ("--fault flip@1 --rate 2", "do not go together", "leave --rate out"),
        ("--rate 2 --epoch-rounds 6 --churn 3", "--churn and --rate", "leave one of the two out"),
        ("--fault flip@1 --verify count", "do not go together", "leave --verify out"),
        ("--fault kill-host@1 --hosts 1", "needs a host that is left", "at least --hosts 2"),
        ("--group 65537", "65,536 members", "--delivery answer"),
        ("--answer-threads 2", "belongs to --delivery answer", "leave it out"),
        ("ANSWER PAPER", "--profile paper-xor do not go together", "give compact"),
        ("ANSWER --peers subgroup:25%", "whoever asks", "give subset:K"),
        ("ANSWER --peers many:3", "one record a round", "give --slots K"),
        ("ANSWER --peers subset:0", "asks for somebody", "at least subset:1"),
        ("ANSWER --group 3 --peers subset:4", "subset:4 is more", "at most subset:3"),
        ("ANSWER --frame-bytes 288", "has 272 bytes", "leave --frame-bytes out"),
        ("ANSWER --verify count", "every answer is verified", "leave --verify out"),
        ("ANSWER --verify sample:0.5", "every answer is verified", "leave --verify out"),
        ("ANSWER --no-confirm", "nothing to confirm", "leave --no-confirm out"),
        ("ANSWER --keys", "keys that the run gives", "leave --keys out"),
        ("ANSWER --keys-kappa 3", "keys that the run gives", "leave --keys-kappa out"),
        ("ANSWER --no-link", "over their link", "leave --no-link out"),
        ("ANSWER --box 8", "no confirmations", "leave --box out"),
        ("ANSWER --fault flip@2", "told of shares", "leave --fault out"),
        ("ANSWER --noise 1..2", "belong to --peers many:K", "leave them out"),
        ("--fault delay:5000@1", "too near to the time limit", "less than 3750 or at least 12500"),
    ] {
        let line = line.replace("PAPER", PAPER).replace("ANSWER", "--delivery answer");
        let sentence = args(&line).unwrap().plan.plan().expect_err(&line);
        assert!(sentence.contains(why) && sentence.contains(remedy), "{line}: {sentence}");
    }
}

#[test]
fn help_teaches_every_flag() {
    use clap::CommandFactory as _;
    let mut command = Cli::command();
    let local = command.find_subcommand_mut("local").unwrap();
    let help = local.render_long_help().to_string();
    let flags = [
        "--profile",
        "--insecure-baseline",
        "--frame-bytes",
        "--epoch-rounds",
        "--announce-rounds",
        "--churn",
        "--keys",
        "--keys-kappa",
        "--no-link",
        "--box",
        "--noise",
        "--spread",
        "--round-timeout",
        "--fault",
        "--delivery",
        "--answer-threads",
    ];
    for word in
        flags.into_iter().chain(["subgroup:P%", "many:K", "THREAT_MODEL.md", "kill-host", "half-submit"])
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}
