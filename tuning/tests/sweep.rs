//! `sweep`, the real binary on a tiny group: what it prints and writes, and what it refuses.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use twincast_server::config::Config;

/// A folder with a plan.
struct Place(tempfile::TempDir);

/// Three values in all and one round in the first runs; so long a budget that a busy machine has room, which nobody waits for.
const PLAN: &str = "[run]\ngroup = 130\nhosts = 2\nlink = \"loopback\"\n\n[tune]\nbudget_seconds = 3600\nrounds = 1\nrepeats_max = 6\n\n\
                    [tune.values]\nfan_out_threads = [2]\nfan_out_cores = [\"none\"]\nslab_bytes = []\n\
                    slabs_per_connection = []\nconnections_per_host = [3]\nzero_copy = []\nzero_copy_bytes_min = []\n\
                    send_buffer_bytes = []\n";

impl Place {
    fn new(plan: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(place.path("plan.toml"), plan).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-tune"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it and says what it refused, in one line; nothing is printed or written then.
    fn refused(&self, arguments: &str) -> String {
        let before = self.names();
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(2), &[][..]),
            "{arguments}: {said}"
        );
        assert_eq!(self.names(), before, "{arguments}");
        said
    }

    fn names(&self) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_search_ends_with_a_table_figures_and_a_configuration() {
    let place = Place::new(PLAN);
    std::fs::write(
        place.path("base.toml"),
        "side = 1\nlisten = \"127.0.0.1:0\"\n\n# Ours, and not to be lost.\n[fan_out]\nslabs = 24\n\n[[groups]]\nid = 3\nmembers = 9\n",
    )
    .unwrap();
    let output = place.run("sweep --plan plan.toml --config base.toml --out tuned.toml --json sweep.json");
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    for part in [
        "Group of 130, 2 hosts",
        " candidates and the default, 1 round in each run",
        "fan_out_threads 2",
        "fan_out_cores none",
        "connections_per_host 3",
        "each knob alone, in the first rung",
        "(one value",
        "64, fixed: a select word has 64 bits",
        "the pick against the default",
        "tuned.toml",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(errors.contains("rung 1: "), "a line for each rung where there is no terminal: {errors}");

    let json: Value = serde_json::from_str(&place.read("sweep.json")).unwrap();
    assert_eq!(json["schema"], "twincast-sweep/1");
    assert_eq!(json["plan"]["server"]["slabs"], 24, "the base is the default");
    assert_eq!((&json["interrupted"], &json["tile_senders"]), (&false.into(), &64.into()));
    let first = json["rungs"][0]["rows"].as_array().unwrap();
    assert!(first[0]["changes"].as_object().unwrap().is_empty() && first.len() >= 4, "{json:#}");
    assert!(first.iter().all(|row| row["fate"] != "failed"), "{json:#}");
    let last = &json["comparison"];
    assert!(
        last["pairs"].as_array().unwrap().len() == 6 && last["noise"].as_f64().unwrap() >= 0.0,
        "{json:#}"
    );
    let verdict = json["verdict"].as_str().unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(verdict) && verdict.contains("the default against itself"), "{said}");

    let written = place.read("tuned.toml");
    let config = Config::from_toml(&written).unwrap();
    assert!(written.starts_with("# Written by `twincast-tune sweep`"), "{written}");
    assert!(written.contains("# Ours, and not to be lost.\n[fan_out]"), "{written}");
    assert_eq!((config.fan_out.slabs, config.groups[0].id), (24, 3), "what is no knob is as it was");
    let best = &json["best"];
    let threads = best["fan_out_threads"].as_u64().unwrap_or(1);
    assert_eq!(config.fan_out.threads as u64, threads, "{best}: {written}");
    assert_eq!(written.contains("cores = \"none\""), best["fan_out_cores"] == "none", "{best}: {written}");
    assert_eq!(json["beats"].as_bool().unwrap(), !best.as_object().unwrap().is_empty(), "{best}");

    // A second time it would have to write over what it wrote, and measures nothing.
    let refusal = place.refused("sweep --plan plan.toml --out tuned.toml");
    assert!(refusal.contains("--out tuned.toml: it is there already, and is not written over"), "{refusal}");
}

#[test]
fn a_dry_run_tells_and_measures_nothing() {
    let place = Place::new(PLAN);
    let output = place.run("sweep --plan plan.toml --dry-run --budget 90");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("Nothing was measured") && said.contains("90 s at the most"), "{said}");
    assert!(said.contains("connections_per_host  default 1; tried: 3"), "{said}");
    assert_eq!(place.names(), ["plan.toml"]);
}

#[test]
fn what_cannot_be_is_refused_by_name_before_anything_is_measured() {
    let refused = |plan: &str, arguments: &str| Place::new(plan).refused(arguments);
    let sweep = "sweep --plan plan.toml";
    for (plan, arguments, said) in [
        (PLAN, "sweep --plan none.toml", "none.toml"),
        (PLAN, "sweep --plan plan.toml --budget 0", "more than 0 seconds"),
        (PLAN, "sweep --plan plan.toml --budget soon", "give a number of seconds"),
        (PLAN, "sweep --plan plan.toml --config none.toml", "--config none.toml"),
        (PLAN, "sweep --plan plan.toml --config plan.toml", "--config plan.toml"),
        (PLAN, "sweep --plan plan.toml --out no/such/tuned.toml", "directory that exists"),
        (PLAN, "sweep --plan plan.toml --out x --json x", "are the same file"),
        ("[tune]\nbudget_seconds = 0\n", sweep, "plan.toml:2: tune.budget_seconds"),
        ("[run]\ngroup = 9\n[tune.values]\nslab = [1]\n", sweep, "plan.toml:4: unknown knob `slab`"),
        (
            "[tune]\ntile_senders = 32\n",
            sweep,
            "plan.toml:2: `tile_senders` is no knob: a tile is 64 senders",
        ),
        ("[tune]\nsecond = 1\n", sweep, "unknown key `second` in [tune]; known are budget_seconds"),
        ("[run]\ngruop = 9\n", sweep, "gruop"),
        (
            "[run]\ngroup = 9\nhosts = 3\n[tune.values]\nconnections_per_host = [4]\n",
            sweep,
            "connections_per_host: 4 cannot be: a host has 3 users",
        ),
        (
            "[run]\ngroup = 9\n[tune.values]\nfan_out_cores = [\"none\", [0, 1023]]\n",
            "sweep --plan plan.toml --dry-run",
            "plan.toml: tune.values.fan_out_cores: there is no core 1023 here for servers; give some of 0",
        ),
        (
            "[run]\ngroup = 9\nfan_out_cores = [1023]\n",
            sweep,
            "plan.toml: run.fan_out_cores: there is no core 1023 here",
        ),
    ] {
        let refusal = refused(plan, arguments);
        assert!(refusal.contains(said), "{plan}{arguments}: {refusal}");
    }
}

#[test]
fn a_budget_that_is_too_small_is_refused_with_the_least_one() {
    let refusal = Place::new(PLAN);
    let output = refusal.run("sweep --plan plan.toml --budget 0.01");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("a budget of 0.01 s is too little") && said.contains("give --budget"), "{said}");
    assert_eq!(refusal.names(), ["plan.toml"]);
}

#[test]
fn ctrl_c_ends_it_with_what_is_known_and_no_configuration() {
    let place = Place::new(PLAN);
    let mut child = place
        .command("sweep --plan plan.toml --json sweep.json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once the first rung is announced a run has been made, and another goes on.
    let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("rung 1: ") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut errors, &mut line).unwrap() > 0, "it ended early");
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut errors, &mut rest).unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}{rest}");
    assert!(said.contains("rung 1") && said.contains("stopped before its end"), "{said}");
    assert!(rest.contains("no configuration was written"), "{rest}");
    assert_eq!(place.names(), ["plan.toml", "sweep.json"]);
    let json: Value = serde_json::from_str(&place.read("sweep.json")).unwrap();
    assert_eq!(json["interrupted"], true);
}
