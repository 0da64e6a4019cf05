//! The real binary: what it prints, what it keeps, what it refuses.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use twincast_tune::constants::{Constants, KernelRate, Origin, SCHEMA};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary, at home here.
    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-tune"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.env_remove("XDG_STATE_HOME").env("HOME", self.0.path()).output().unwrap()
    }

    /// Runs it and says what it printed; it must end well.
    fn printed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", told(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().for_each(|line| assert!(line.chars().count() <= 100, "{arguments}: {line}"));
        text
    }

    /// Runs it and says what it refused; nothing may be printed then.
    fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &[][..]), "{}", told(&output));
        told(&output)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(value).unwrap()).unwrap();
    }
}

/// Without the breaks of lines.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where the binary keeps constants in a [`Place`].
const KEPT: &str = ".local/state/twincast/constants.json";

fn constants() -> Constants {
    let rate = |queries| KernelRate {
        queries,
        queries_measured: queries,
        records: queries,
        records_measured: queries,
        gb_per_s: 200.0,
        instructions: "avx2".into(),
    };
    Constants {
        schema: SCHEMA.into(),
        origin: Origin {
            cpu: "Some CPU".into(),
            cores: 2,
            memory_bytes: 64 << 30,
            optimised: true,
            ..Origin::here()
        },
        kernel: vec![rate(10_000)],
        verify_us: 20.0,
        verify_one_us: 40.0,
        sign_us: 10.0,
        seal_us: 0.5,
        open_us: 0.5,
        digest_us: 1.0,
        answer_gather_ns: 50.0,
        gather_gb_per_s: 20.0,
        split_us: 1.0,
        decode_ns: 40.0,
        send_cpu_s_per_gb: 0.1,
        receive_cpu_s_per_gb: 0.2,
        plain_send_gb_per_s: 3.0,
        server_send_us: 8.0,
        server_receive_us: 4.0,
        member_send_us: 6.0,
        member_receive_us: 5.0,
    }
}

#[test]
fn without_constants_it_says_how_to_get_them_and_with_them_it_plans() {
    let place = Place::new();
    let plan = "plan --group 300 --link 10gbit --cores 2";
    let refusal = place.refused(plan);
    assert!(refusal.contains(KEPT) && refusal.contains("--measure"), "{refusal}");
    let measured = place.printed(&format!("{plan} --measure --measure-seconds 0.1"));
    assert!(measured.contains("Group of 300, K = 1, U = 1: 300 connections"), "{measured}");
    let kept = Constants::load(&place.path(KEPT)).unwrap();
    assert_eq!(kept.origin.cpu, Origin::here().cpu);
    let queries: Vec<u64> = kept.kernel.iter().map(|rate| rate.queries).collect();
    assert_eq!(queries, [300, 1_000, 10_000, 100_000]);
    // What was kept is what later runs read.
    assert_eq!(place.printed(plan), measured);
    assert_eq!(Constants::load(&place.path(KEPT)).unwrap(), kept);
}

#[test]
fn a_plan_has_bytes_memory_and_a_choice_for_people_and_for_programs() {
    let place = Place::new();
    place.write("constants.json", &constants());
    let line = "plan --group 10000 --link 10gbit --cores 2 --constants constants.json --json plan.json";
    let text = place.printed(line);
    for said in [
        "Some CPU",
        "broadcast",
        "3.52 MB",
        "33.60 GB",
        "9.41 Gbit/s of payload",
        "answer kernel",
        "Use answer: a round takes",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let plan = place.json("plan.json");
    assert_eq!(plan["schema"], "twincast-plan/1");
    assert_eq!(plan["choice"]["delivery"], "answer");
    let [broadcast, answer] = plan["deliveries"].as_array().unwrap().as_slice() else {
        panic!("two deliveries")
    };
    assert_eq!((&broadcast["delivery"], &answer["delivery"]), (&json!("broadcast"), &json!("answer")));
    assert_eq!(answer["bytes"]["round_payload_down"], 3_520_000);
    assert_eq!(answer["bytes"]["dial"]["up"], json!([12_820_000, 12_820_000]));
    assert_eq!(answer["memory"]["dialled_bytes"], 2 * 12_560_000);
    // Two cores at 200 GB/s each.
    let kernel_s = answer["times"]["kernel_s"].as_f64().unwrap();
    assert!((kernel_s - 0.088).abs() < 1e-9, "{kernel_s}");
}

#[test]
fn what_nobody_has_measured_is_marked_as_a_prediction() {
    let place = Place::new();
    place.write("constants.json", &constants());
    let text = flat(&place.printed(
        "plan --group 1000000 --link 100gbit --mtu 9000 --cores 48 --memory 768gib --constants constants.json",
    ));
    for said in [
        "! PREDICTION for another machine",
        "! PREDICTION for 48 cores",
        "broadcast has 65,536 members at the most",
        "no link carries broadcast in a minute",
        "Use answer: ",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let text =
        flat(&place.printed("plan --group 1000000 --link 100gbit --cores 48 --constants constants.json"));
    assert!(text.contains("Use neither: ") && text.contains("there are 64.00 GiB"), "{text}");
}

#[test]
fn wrong_input_is_refused_by_name_with_the_remedy() {
    let place = Place::new();
    place.write("constants.json", &constants());
    place.write("other.json", &Constants { schema: "twincast-constants/9".into(), ..constants() });
    place.write("result.json", &json!({"schema": "twincast-result/1", "plan": {"groups": 1}}));
    let epochs = json!({"schema": "twincast-result/1", "plan": {"groups": 1, "epoch_rounds": 4}});
    place.write("epochs.json", &epochs);
    std::fs::create_dir(place.path("empty")).unwrap();
    let plan = "plan --group 20 --link 10gbit --cores 1 --constants constants.json";
    assert!(place.printed(plan).contains("Use broadcast"));
    for (arguments, said) in [
        ("plan --group 1 --link 1gbit --cores 1", "--group <N>': give a whole number from 2 to 1,000,000"),
        ("plan --group 1000001 --link 1gbit --cores 1", "give a whole number from 2 to 1,000,000"),
        ("plan --group 9 --link off --cores 1", "--link <RATE>': give a rate such as 1gbit"),
        ("plan --group 9 --link 1gbit --cores 0", "--cores <C>': give a whole number from 1"),
        ("plan --group 9 --link 1gbit --cores 1 --memory 3", "as in 64gib"),
        ("plan --group 9 --link 1gbit", "--cores <C>"),
        ("plan --group 10 --link 1gbit --cores 1 --hosts 20", "a group of 10 is on 10 hosts at the most"),
        (
            "plan --group 9 --link 1gbit --cores 1 --constants other.json",
            "other.json: constants of schema twincast-constants/9",
        ),
        ("plan --group 9 --link 1gbit --cores 1 --constants none.json", "none.json: there are no constants"),
        (
            "plan --group 9 --link 1gbit --cores 1 --constants constants.json --json no/x.json",
            "--json no/x.json: ",
        ),
        ("plan --group 9 --link 1gbit --cores 1 --constants no/c.json --measure", "--constants no/c.json: "),
        ("compare", "--results"),
        ("compare --results none.json", "none.json: No such file"),
        ("compare --results empty", "empty: holds no results"),
        ("compare --results constants.json", "constants.json: is of schema twincast-constants/1"),
        ("compare --results epochs.json --constants constants.json", "epochs.json: has epochs of 4 rounds"),
        ("compare --results result.json --constants constants.json", "result.json: has no rounds"),
        ("", "Usage"),
    ] {
        let refusal = place.refused(arguments);
        assert!(refusal.contains(said), "{arguments}: {refusal}");
    }
}

#[test]
fn results_are_compared_with_what_was_predicted() {
    let place = Place::new();
    place.write("constants.json", &constants());
    let result = |delivery: Option<&str>, group: u32, round_s: f64| {
        let mut value = json!({
            "schema": "twincast-result/1",
            "failures": [],
            "plan": {
                "group": group, "groups": 1, "hosts": 5, "rounds": 2, "slots": 1, "profile": "compact",
                "frame_bytes": 288, "confirm": true, "users_per_connection": 512, "verify": "all",
                "link": {"rate": "loopback", "mtu": 1500}
            },
            "environment": {"cpu": "Some CPU", "cores": 2},
            "link": {"medium": "loopback", "not_shaped": null},
            "round_seconds": {"p50": round_s},
            "servers": [{"cpu_seconds": 0.3}, {"cpu_seconds": 0.3}],
            "hosts": [{"cpu_seconds": 0.2}]
        });
        if let Some(delivery) = delivery {
            value["plan"]["delivery"] = delivery.into();
        }
        value
    };
    place.write("folder/run-1.json", &result(None, 1_000, 0.25));
    place.write("folder/run-2.json", &result(None, 2_000, 1.0));
    place.write("answer.json", &result(Some("answer"), 10_000, 0.8));
    let text =
        place.printed("compare --results folder answer.json --constants constants.json --json compared.json");
    for said in [
        "Everything on one machine",
        "broadcast, K = 1, U = 512 at most, 5 hosts, loopback at MTU 1500, 2 cores of Some CPU",
        "growth, 1,000 to 2,000 members: predicted 2.00, measured 2.00",
        "PREDICTION, not measured: each server on 48 such cores, K = 1, U = 1",
        "1,000,000 answer",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let compared = place.json("compared.json");
    assert_eq!(compared["schema"], "twincast-predictions/1");
    let rows = compared["rows"].as_array().unwrap();
    let sizes: Vec<_> = rows.iter().map(|row| row["group"]["members"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1_000, 2_000, 10_000]);
    assert_eq!(rows[2]["round_s"]["measured"], 0.8);
    // Both servers verify and work out all answers, on the two cores that clients have too.
    let servers_s = rows[2]["servers_s"]["predicted"].as_f64().unwrap();
    assert!((servers_s - 2.0 * (0.21 + 0.176)).abs() < 0.01, "{servers_s}");
    // The same plan as the table's, by the other command.
    let plan = "plan --group 1000000 --link 100gbit --cores 48 --constants constants.json --json plan.json";
    place.printed(plan);
    assert_eq!(compared["large"][3], place.json("plan.json"));
}

#[test]
fn a_standard_output_that_is_full_is_told() {
    let place = Place::new();
    place.write("constants.json", &constants());
    let full = std::fs::File::options().write(true).open(Path::new("/dev/full")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-tune"));
    command
        .args("plan --group 9 --link 1gbit --cores 1 --constants constants.json --json plan.json".split(' '));
    let output = command.current_dir(place.0.path()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("standard output: No space left"), "{}", told(&output));
    assert_eq!(place.json("plan.json")["schema"], "twincast-plan/1", "the file is whole all the same");
}
