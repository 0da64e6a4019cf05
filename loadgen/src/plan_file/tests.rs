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
    // What follows in the tables of the servers.
    let ports = |one: &str, two: &str| {
        LOCAL.replacen(
            "true\n[[servers]]\nlocal = true\n",
            &format!("true\n{one}[[servers]]\nlocal = true\n{two}"),
            1,
        )
    };
    let agents = |at: [&str; 2]| {
        let [one, two] = at.map(|at| format!("[[servers]]\nagent = \"{at}\"\n"));
        format!("token_file = \"token\"\n{one}{two}[[hosts]]\nlocal = true\naddress = \"10.0.0.9\"\n")
    };
    let reached = LOCAL.replace("local = true", "local = true\naddress = \"10.0.0.9\"");
    for (text, said) in [
        (local("x = 1\n"), ["my plan.toml:1: unknown field `x`", "`token_file`"]),
        (
            local("[run]\nrounds = 2\nroundz = 3\n"),
            ["my plan.toml:3: unknown key `roundz` in [run]", "users_per_connection"],
        ),
        (local("[run]\nhosts = 3\n"), ["my plan.toml:2: run.hosts follows", "leave it out"]),
        (local("[run]\n\ngroup = 1\n"), ["my plan.toml:3: run.group: ", "from 2 to 262,144"]),
        (local("[run]\nkeys = 1\n"), ["my plan.toml:2: run.keys: give true or false", ""]),
        (local("[run]\npeers = true\n"), ["my plan.toml:2: run.peers: give a number or a word", ""]),
        (local("[run]\npeers = \"all\"\n"), ["my plan.toml:2: run.peers: ", "subset:K"]),
        (local("[run]\ngroup = [2, 3]\n"), ["my plan.toml:2: run.group: ", "[sweep]"]),
        (
            local("[run]\ngroup = 5\n[sweep]\ngroup = [2, 3]\n"),
            ["my plan.toml:4: sweep.group and run.group", ""],
        ),
        (local("[sweep]\ngroup = [1]\n"), ["my plan.toml:2: sweep.group: ", "from 2 to 262,144"]),
        (local("[sweep]\ngroups = [1]\n"), ["my plan.toml:2: unknown field `groups`", "`group`"]),
        (local("repeats = 0\n"), ["my plan.toml:1: repeats: ", "give a whole number from 1"]),
        (local("name = \"../x\"\n"), ["my plan.toml:1: name: ", "letters"]),
        (local("[run]\nrounds = 1\nrounds = 2\n"), ["my plan.toml:3: duplicate key", ""]),
        ("x".into(), ["my plan.toml:1: ", ""]),
        ("[run]\n".into(), ["my plan.toml: there are no [[servers]]", "plan.example.toml"]),
        (
            LOCAL.replace("[[servers]]\nlocal = true\n[[servers]]", "[[servers]]"),
            ["there are 1 [[servers]]", "two"],
        ),
        (" \n".into(), ["my plan.toml:1: the file is empty", "plan.example.toml"]),
        (local("[run]\ngroup = 1_000\nshared = true\n"), ["my plan.toml:3: unknown key `shared`", ""]),
        (
            format!("[run]\ngroup = 2\n{LOCAL}[[hosts]]\nlocal = true\n"),
            ["my plan.toml:2: run.group: [[hosts]] has 3 and group is 2", ""],
        ),
        (
            format!("[sweep]\ngroup = [50, 2]\n{LOCAL}[[hosts]]\nlocal = true\n"),
            ["my plan.toml:2: sweep.group: [[hosts]] has 3 and group is 2", ""],
        ),
        (
            ports("port = 7100\n", "port = 7100\n"),
            ["my plan.toml:4: server 2: port = 7100 is the port of server 1 at 127.0.0.1", "any free one"],
        ),
        (
            ports("port = 7100\n", "port = 7200\nlink_port = 7100\n"),
            ["my plan.toml:4: server 2: link_port = 7100 is the port of server 1", ""],
        ),
        (
            ports("", "port = 7200\nlink_port = 7200\n"),
            ["my plan.toml:3: server 2: link_port = 7200 is the port of server 2", ""],
        ),
        (
            agents(["10.0.0.1:7400\"\nport = 7400 # \"", "10.0.0.1:7401"]),
            ["my plan.toml:2: server 1 at 10.0.0.1:7400: port = 7400 is its agent's own", ""],
        ),
        (
            agents(["10.0.0.1:7400", "[fd00::2]:7400"]),
            [
                "my plan.toml:4: server 2 at [fd00::2]:7400: it is at fd00::2 and server 1 at 10.0.0.1:7400",
                "IPv6",
            ],
        ),
        (
            agents(["10.0.0.1:7400", "localhost:7400"]),
            [
                "my plan.toml:4: server 2 at 127.0.0.1:7400: 127.0.0.1 is reached on its own machine",
                "10.0.0.1",
            ],
        ),
        (agents(["10.0.0.1:0", "x"]), ["my plan.toml:3: server 1: agent = \"10.0.0.1:0\" has port 0", ""]),
        (agents(["10.0.0.1", "x"]), ["my plan.toml:3: server 1: agent = \"10.0.0.1\" is no address", "7400"]),
        (
            agents(["no such:7400", "x"]),
            ["my plan.toml:3: server 1: agent = \"no such:7400\" is no address", ""],
        ),
        (
            agents(["fd00::2:7400", "x"]),
            ["my plan.toml:3: server 1: agent = \"fd00::2:7400\" is no address", ""],
        ),
        (
            agents(["nobody.invalid:7400", "x"]),
            ["my plan.toml:3: server 1: agent = \"nobody.invalid:7400\" is not known", "IP:PORT"],
        ),
        (
            LOCAL.replacen("local = true", "local = true\naddress = \"10.0.0 1\"", 1),
            ["my plan.toml:3: server 1: address = ", "\"NAME\""],
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
            format!("token_file = \"token\"\n{LOCAL}[[hosts]]\nagent = \"10.0.0.1\"\n"),
            ["my plan.toml:11: host 2: agent = \"10.0.0.1\" is no address", "\"NAME:PORT\""],
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

#[test]
fn servers_are_set_up_as_the_plan_says_and_what_a_search_tries_is_left_to_it() {
    let run =
        "[run]\nfan_out_threads = 2\nfan_out_cores = [0, 1]\nfront_cores = \"none\"\nslab_bytes = 65536\n";
    let tune = "[tune]\nbudget = \"10 min\"\nslabs = [4, 8]\n";
    let plan = read(&format!("{run}{tune}{LOCAL}")).unwrap();
    let server = &plan.experiment.plans[0].server;
    let said = "both servers set up with front.cores = \"none\", fan_out.threads = 2, fan_out.cores = [0, 1], \
                fan_out.slab_bytes = 65536";
    assert_eq!(server.in_words().as_deref(), Some(said));
    let sentence = read(&format!("[run]\nslab_bytes = 5000\n{LOCAL}")).unwrap_err();
    assert!(
        sentence.contains("my plan.toml:2: run.slab_bytes: ") && sentence.contains("4,096"),
        "{sentence}"
    );
    let sentence = read(&format!("[run]\nfan_out_cores = \"0,1\"\n{LOCAL}")).unwrap_err();
    assert!(sentence.contains("give --fan-out-threads 2"), "{sentence}");
}

fn read_trials(text: &str) -> Result<crate::trials::TrialsFile, String> {
    let folder = folder_with_token();
    let path = folder.path().join("my plan.toml");
    std::fs::write(&path, text).unwrap();
    let strip = |sentence: String| sentence.replace(&format!("{}/", folder.path().display()), "");
    read_for_trials(&path).map_err(strip)
}

#[test]
fn trials_run_here_unless_the_file_says_where() {
    let here = read_trials("repeats = 3\n[run]\ngroup = 50\nhosts = 3\n[tune]\nslabs = [4, 8]\n").unwrap();
    assert_eq!((here.plan.group, here.plan.hosts, here.name.as_str()), (50, 3, "my-plan"));
    assert_eq!(here.plan.link.rate, crate::net::LINK_DEFAULT, "as in local");
    assert!(here.is_here() && here.tune.unwrap().contains_key("slabs"));
    let named = read_trials(&format!("[sweep]\ngroup = [50]\n{LOCAL}")).unwrap();
    assert!(named.is_here() && named.tune.is_none());
    assert_eq!((named.plan.group, named.plan.hosts, named.plan.link.rate), (50, 2, LinkRate::Loopback));
    let far = LOCAL.replace("local = true", "local = true\naddress = \"10.0.0.9\"");
    assert!(!read_trials(&far).unwrap().is_here());
}

#[test]
fn what_is_wrong_with_trials_is_told_with_its_line_and_key() {
    for (text, said) in [
        ("[run]\ngroup = 50\nfault = \"flip@1\"\n".to_owned(), "my plan.toml:3: run.fault breaks one run"),
        ("[sweep]\ngroup = [50, 60]\n".into(), "my plan.toml:2: sweep.group has 2 sizes"),
        ("[run]\ngroup = 1\n".into(), "my plan.toml:2: run.group: "),
        (format!("[run]\nhosts = 2\n{LOCAL}"), "my plan.toml:2: run.hosts follows"),
        ("[[hosts]]\nlocal = true\n".into(), "there are no [[servers]]"),
        ("[[servers]]\nlocal = true\n".into(), "there are no [[hosts]]"),
        ("".into(), "the file is empty"),
    ] {
        let sentence = read_trials(&text).expect_err(&text);
        assert!(sentence.contains(said), "{text}: {sentence}");
    }
}

#[test]
fn names_are_looked_up_and_agents_are_shared_where_the_plan_says_so() {
    let far = "[[servers]]\nagent = \"localhost:7401\"\n[[servers]]\nagent = \"127.0.0.1:7402\"\n\
               [[hosts]]\nlocal = true\naddress = \"localhost\"\n";
    for (head, expected) in [("", false), ("shared = true\n", true)] {
        let plan = read(&format!("token_file = \"token\"\n{head}{far}")).unwrap();
        let Site::Agent(agent) = &plan.deployment.servers[0].site else { panic!("an agent") };
        assert!(agent.address.port() == 7401 && agent.address.ip().is_loopback());
        assert_eq!(agent.shared, expected);
        assert!(plan.deployment.hosts[0].address.is_loopback());
    }
}
