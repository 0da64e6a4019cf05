//! Runs over private channels and plain ones, in accountable groups, and against who is on the way.

use super::common::{good_run, loadgen, number, told};
use serde_json::Value;

const RUN: &str = "--group 130 --hosts 3";

fn counts(result: &Value) -> [u64; 4] {
    ["tampered", "incomplete", "absent", "lost"].map(|count| number(result, &format!("/totals/{count}")))
}

#[test]
fn channels_are_private_and_users_registered_unless_the_run_says_otherwise() {
    let private = good_run(&format!("{RUN} --rounds 2 --no-roof"));
    let plan = &private["plan"];
    assert_eq!((&plan["channel"], &plan["identities"]), (&"noise".into(), &"registered".into()));
    let open = good_run(&format!("{RUN} --rounds 2 --no-roof --identities open"));
    let plain = good_run(&format!("{RUN} --rounds 2 --no-roof --channel plain"));
    assert_eq!(plain["plan"]["identities"], "open");
    // The same frames, and what seals them: less than a hundredth.
    let bytes = |result: &Value| number(result, "/servers/0/egress_bytes");
    for sealed in [&private, &open] {
        let over = bytes(sealed) as f64 / bytes(&plain) as f64;
        assert!((1.0..1.01).contains(&over), "{over}");
        assert_eq!(sealed["bytes"][6], plain["bytes"][6], "frames of the rounds");
    }
    let registered = good_run(&format!("{RUN} --rounds 2 --no-roof --channel plain --identities registered"));
    assert!(number(&registered, "/bytes/0/measured/up/0") > number(&plain, "/bytes/0/measured/up/0"));
}

#[test]
fn an_accountable_group_delivers_the_same_and_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().display();
    // Every member asks for headers at least twice.
    let flags = "--rounds 4 --warmup 1 --header-rounds 2 --slots 2 --no-roof";
    let result = good_run(&format!("{RUN} {flags} --accountable --results {kept}"));
    assert_eq!(counts(&result), [0; 4]);
    assert_eq!((number(&result, "/guard/evidence"), number(&result, "/plan/header_rounds")), (0, 2));
    assert!(evidence_in(folder.path()).is_empty());
    // Nothing passed that the model does not have: headers have a line of their own, and what they take at the most.
    for row in result["bytes"].as_array().unwrap() {
        let all = |of: &str| -> u64 {
            let flows =
                ["up", "down"].map(|way| [0, 1].map(|side| number(row, &format!("/{of}/{way}/{side}"))));
            flows.as_flattened().iter().sum()
        };
        let (model, measured) = (all("model"), all("measured"));
        let right = match row["part"].as_str().unwrap() {
            "headers" => (1..=model).contains(&measured),
            "grants" => measured >= model,
            _ => measured == model,
        };
        assert!(right, "{row}");
    }
    assert!(result["guard"]["server_cpu_ns_per_byte"].as_f64().unwrap() > 0.0);
}

/// The files of evidence in the one folder of results.
fn evidence_in(results: &std::path::Path) -> Vec<String> {
    let run = std::fs::read_dir(results).unwrap().next().unwrap().unwrap().path();
    let names = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap());
    let evidence = names.filter(|entry| entry.file_name().to_string_lossy().starts_with("evidence-"));
    evidence.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect()
}

#[test]
fn what_is_done_to_sealed_records_breaks_their_connection_and_harms_nobody_else() {
    for kind in ["net-flip", "net-drop", "net-replay", "net-reorder"] {
        let flags = format!("--rounds 3 --fault {kind}@2 --users-per-connection 20");
        let result = good_run(&format!("{RUN} {flags}"));
        assert_eq!(result["fault"]["as_expected"], true, "{kind}");
        assert_eq!(number(&result, "/fault/times"), 1, "{kind}");
        // Twenty users are gone in round 3, and absent for the other 110.
        assert_eq!(counts(&result), [0, 0, 20 * 110, lost(&result)], "{kind}");
        assert_eq!(result["guard"]["broken"].as_array().unwrap().len(), 1, "{kind}");
        let said = result["guard"]["broken"][0].as_str().unwrap();
        assert!(said.contains("the private channel with S1 is broken"), "{kind}: {said}");
    }
    // In the first round, and all that a host plays.
    let first = good_run(&format!("{RUN} --rounds 2 --fault net-flip@1"));
    assert_eq!(counts(&first)[..3], [0, 0, 44 * 86]);
}

#[test]
fn an_adversary_on_the_line_of_an_accountable_group_harms_nobody_else_and_nobody_is_blamed() {
    let folder = tempfile::tempdir().unwrap();
    // The users of the connection are members 0, 3 .. 57. With three rounds between turns all of them ask for headers at the
    // end of round 3, so that what is done in round 2 is done to tiles, and in round 4 maybe to headers.
    for (kind, header_rounds, fault_round) in
        [("net-flip", 3, 2), ("net-drop", 3, 4), ("net-replay", 2, 3), ("net-reorder", 1, 2)]
    {
        let kept = folder.path().join(kind);
        // Everybody has a turn after the fault, at which whoever had doubts would ask.
        let rounds = fault_round + header_rounds;
        let flags = format!(
            "--accountable --header-rounds {header_rounds} --rounds {rounds} --fault {kind}@{fault_round} \
             --users-per-connection 20 --results {}",
            kept.display()
        );
        let result = good_run(&format!("{RUN} {flags}"));
        assert_eq!(result["fault"]["as_expected"], true, "{kind}");
        assert_eq!(number(&result, "/fault/times"), 1, "{kind}");
        // Twenty users are gone after the round of the fault, and absent for the other 110, who get all that the others
        // send. What they had sent in the round of the fault came.
        let absent = header_rounds * 20 * 110;
        assert_eq!(counts(&result), [0, 0, absent, lost(&result)], "{kind}");
        let broken = result["guard"]["broken"].as_array().unwrap();
        assert_eq!(broken.len(), 1, "{kind}: {broken:?}");
        let said = broken[0].as_str().unwrap();
        assert!(said.contains("the private channel with S1 is broken"), "{kind}: {said}");
        // What an adversary does to a channel is nobody's doing whose key signs anything.
        assert_eq!(number(&result, "/guard/evidence"), 0, "{kind}: {}", result["guard"]["verdicts"]);
        assert!(evidence_in(&kept).is_empty(), "{kind}");
    }
}

/// What the plan's seed makes of it: messages of those who are gone.
fn lost(result: &Value) -> u64 {
    number(result, "/fault/expected/lost")
}

#[cfg(feature = "fault-swap-half")]
#[test]
fn a_server_that_hands_out_the_wrong_half_is_named_by_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().display();
    let flags = "--rounds 6 --header-rounds 4 --accountable --fault swap-half@2";
    let result = good_run(&format!("{RUN} {flags} --results {kept}"));
    assert_eq!(counts(&result)[..3], [1, 0, 0]);
    let verdicts = result["guard"]["verdicts"].as_array().unwrap();
    assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict["against"] == 1), "{verdicts:?}");
    assert!(verdicts[0]["verdict"].as_str().unwrap().starts_with("server S1 is at fault: "));
    let files = evidence_in(folder.path());
    assert_eq!(files.len(), verdicts.len());
    let evidence = twincast_protocol::accountable::Evidence::from_text(&files[0]).unwrap();
    let verdict = twincast_protocol::accountable::blame(&evidence, &evidence.servers);
    assert_eq!(Some(verdict.to_string().as_str()), verdicts[0]["verdict"].as_str());
}

#[test]
fn the_price_of_each_guard_is_told_in_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("price.json");
    let flags = "--rounds 3 --header-rounds 4 --repeats 2 --link loopback";
    let output = loadgen(&format!("price {RUN} {flags} --json {}", json.display())).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in
        ["noise / plain", "accountable / noise", "handshakes of a server", "uploads verified, 64 at once"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let price: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let names: Vec<_> = price["runs"].as_array().unwrap().iter().map(|runs| runs["name"].clone()).collect();
    assert_eq!(names, ["plain", "noise", "accountable"]);
    // Three rounds are no whole period of headers.
    assert_eq!(price["runs"][0]["plan"]["rounds"], 4);
    for bound in ["at most 1.02 times is wanted: ", "at most 2.00 times is wanted: "] {
        assert!(printed.contains(bound), "{bound}: {printed}");
    }
    for beside in price["ratios"].as_array().unwrap() {
        let egress = &beside["figures"]["guard.egress_bytes_per_member"];
        assert_eq!(egress["n"], 2);
        assert!((1.0..1.2).contains(&egress["median"].as_f64().unwrap()), "{egress}");
    }
}

#[test]
fn guards_that_do_not_go_together_are_refused() {
    for (flags, said) in [
        ("--fault flip@1 --channel noise", "it changes frames, which nobody on the way sees"),
        ("--fault net-flip@1 --channel plain", "nothing tells a client that a plain channel was changed"),
        ("--accountable --identities open", "--accountable and --identities open do not go together"),
        ("--accountable --delivery answer", "--accountable and --delivery answer do not go together"),
        ("--accountable --fault flip@1", "--accountable and --fault flip do not go together"),
        ("--accountable --epoch-rounds 9 --header-rounds 4", "give at least --epoch-rounds 10"),
        ("--header-rounds 3", "--header-rounds belongs to --accountable"),
        ("--fault net-drop@1 --users-per-connection 1", "give a larger --group"),
    ] {
        let output = loadgen(&format!("local {RUN} {flags}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}: {}", told(&output));
        assert!(told(&output).contains(said), "{flags}: {}", told(&output));
    }
}
