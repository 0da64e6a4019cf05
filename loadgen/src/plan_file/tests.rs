//! Plans that are good, and what is said of others.

use super::*;
use crate::coordinator::place::Site;
use crate::net::{LinkRate, Medium};
use std::os::unix::fs::PermissionsExt as _;

/// Two servers and two hosts on this machine.
const LOCAL: &str = "[[servers]]\nlocal = true\n[[servers]]\nlocal = true\n[[hosts]]\nlocal = true\n[[hosts]]\nlocal = true\n";

fn folder_with_token() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

fn read(text: &str) -> Result<PlanFile, String> {
    let folder = folder_with_token();
    let path = folder.path().join("my plan.toml");
    std::fs::write(&path, text).unwrap();
    let strip = |sentence: String| sentence.replace(&format!("{}/", folder.path().display()), "");
    PlanFile::read(&path, &[]).map_err(strip)
}

#[test]
fn the_example_is_a_good_plan() {
    let text = include_str!("../../plan.example.toml");
    let plan = read(text).unwrap();
    assert_eq!(plan.experiment.name, "five-hosts");
    let groups: Vec<u32> = plan.experiment.plans.iter().map(|plan| plan.group).collect();
    assert_eq!((groups, plan.experiment.repeats), (vec![100, 500, 1000], 3));
    assert!(plan.experiment.plans.iter().all(|plan| plan.hosts == 5));
    assert_eq!(plan.deployment.medium, Medium::Machines);
    let [one, two] = &plan.deployment.servers;
    assert_eq!((one.socket().to_string().as_str(), two.link_port), ("10.0.0.1:7100", 7200));
    assert_eq!(plan.deployment.hosts[3].name, "host 3 at bench@client4 (ssh)");
    assert!(matches!(plan.deployment.hosts[4].site, Site::Here));
    assert!(plan.in_words().contains("host 0 at 10.0.0.11:7400, reached by the others at 10.0.0.11"));
}

#[test]
fn the_keys_of_a_run_are_the_flags_of_local() {
    let run = "name = \"x\"\nrepeats = 2\n[run]\ngroup = 50\nrounds = 3\npeers = \"subset:3\"\nkeys = true\n\
               no_confirm = false\nrate = 2.5\nbox = 4\nseed = 9\n";
    let plan = read(&format!("{run}{LOCAL}")).unwrap();
    let Experiment { name, plans, repeats, .. } = &plan.experiment;
    let [plan] = plans.as_slice() else { panic!("one plan") };
    assert_eq!((name.as_str(), *repeats, plan.group, plan.rounds, plan.hosts), ("x", 2, 50, 3, 2));
    assert!(plan.keys && plan.confirm && plan.box_mib == 4 && plan.seed == 9 && plan.rate == Some(2.5));
    assert_eq!(plan.link.rate, LinkRate::Loopback, "nothing is shaped");
    assert_eq!(read(LOCAL).unwrap().experiment.name, "my-plan");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_key() {
    let local = |head: &str| format!("{head}{LOCAL}");
    let reached = LOCAL.replace("local = true", "local = true\naddress = \"10.0.0.9\"");
    for (text, said) in [
        (local("x = 1\n"), ["my plan.toml:1: unknown field `x`", "`token_file`"]),
        (
            local("[run]\nrounds = 2\nroundz = 3\n"),
            ["my plan.toml:3: unknown key `roundz` in [run]", "users_per_connection"],
        ),
        (local("[run]\nhosts = 3\n"), ["my plan.toml:2: run.hosts follows", "leave it out"]),
        (local("[run]\n\ngroup = 1\n"), ["my plan.toml:3: run.group: ", "from 2 to 65,536"]),
        (local("[run]\nkeys = 1\n"), ["my plan.toml:2: run.keys: give true or false", ""]),
        (local("[run]\npeers = true\n"), ["my plan.toml:2: run.peers: give a number or a word", ""]),
        (local("[run]\npeers = \"all\"\n"), ["my plan.toml:2: run.peers: ", "subset:K"]),
        (local("[run]\ngroup = [2, 3]\n"), ["my plan.toml:2: run.group: ", "[sweep]"]),
        (
            local("[run]\ngroup = 5\n[sweep]\ngroup = [2, 3]\n"),
            ["my plan.toml:4: sweep.group and run.group", ""],
        ),
        (local("[sweep]\ngroup = [1]\n"), ["my plan.toml:2: sweep.group: ", "from 2 to 65,536"]),
        (local("[sweep]\ngroups = [1]\n"), ["my plan.toml:2: unknown field `groups`", "`group`"]),
        (local("repeats = 0\n"), ["my plan.toml:1: repeats: ", "give a whole number from 1"]),
        (local("name = \"../x\"\n"), ["my plan.toml:1: name: ", "letters"]),
        (local("[run]\nrounds = 1\nrounds = 2\n"), ["my plan.toml:3: duplicate key", ""]),
        ("x".into(), ["my plan.toml:1: ", ""]),
        ("[run]\n".into(), ["missing field `servers`", ""]),
        (
            LOCAL.replace("[[servers]]\nlocal = true\n[[servers]]", "[[servers]]"),
            ["there are 1 [[servers]]", "two"],
        ),
        (format!("{LOCAL}speed = 3\n"), ["my plan.toml:9: unknown field `speed`", "`link_port`"]),
        (format!("{LOCAL}port = 3\n"), ["my plan.toml:7: host 1: port and link_port are a server's", ""]),
        (format!("{LOCAL}ssh = \"a@b\"\n"), ["my plan.toml:7: host 1: give one of", ""]),
        (
            format!("{reached}[[hosts]]\nssh = \"-oProxyCommand=x\"\n"),
            ["my plan.toml:13: host 2: ", "is no machine"],
        ),
        (format!("{reached}[[hosts]]\nssh = \"a@b\"\n"), ["my plan.toml:13: host 2: give address", ""]),
        (
            format!("{LOCAL}[[hosts]]\nagent = \"10.0.0.1\"\n"),
            ["my plan.toml:10: invalid socket address", ""],
        ),
        (format!("{LOCAL}[[hosts]]\nagent = \"10.0.0.1:1\"\n"), ["token_file is missing", ""]),
        (
            format!("token_file = \"none\"\n{LOCAL}[[hosts]]\nagent = \"10.0.0.1:1\"\n"),
            ["the token file", "urandom"],
        ),
        (
            format!(
                "token_file = \"token\"\n[run]\nfault = \"flip@1\"\n{LOCAL}[[hosts]]\nagent = \"127.0.0.1:1\"\n"
            ),
            ["my plan.toml:3: run.fault", "local = true"],
        ),
    ] {
        let sentence = read(&text).expect_err(&text);
        assert!(said.iter().all(|said| sentence.contains(said)), "{text}\n  {sentence}\n  {said:?}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}
