//! Each fault between unmodified servers and hosts has exactly the effect that it must have.

use super::common::{good_run, loadgen, number, told};
use serde_json::Value;

const RUN: &str = "--group 130 --hosts 3 --rounds 3";
const PAPER: &str = "--insecure-baseline --profile";

/// A run with a fault: that it passed says that every count is as it must be.
fn fault(arguments: &str) -> Value {
    let result = good_run(&format!("{RUN} {arguments}"));
    assert_eq!(result["fault"]["as_expected"], true);
    assert!(number(&result, "/fault/times") > 0);
    result
}

fn counts(result: &Value) -> [u64; 4] {
    ["tampered", "incomplete", "absent", "lost"].map(|count| number(result, &format!("/totals/{count}")))
}

#[test]
fn a_flipped_bit_is_tampered_for_one_user_and_nobody_else() {
    for flags in ["", "--slots 2 --no-link", "--peers subset:130"] {
        let result = fault(&format!("--fault flip@2 {flags}"));
        assert_eq!(counts(&result)[..3], [1, 0, 0], "{flags}");
    }
    for profile in ["paper-xor", "paper-add"] {
        for peers in ["self", "subgroup:25%", "many:4 --noise 0..2"] {
            let result = fault(&format!("--fault flip@2 {PAPER} {profile} --peers {peers}"));
            assert_eq!(counts(&result)[..3], [1, 0, 0], "{profile} {peers}");
        }
    }
}

#[test]
fn a_tile_that_one_server_withholds_is_incomplete_for_its_readers() {
    // Host 0 plays 44 of the 130, over one connection.
    assert_eq!(counts(&fault("--fault drop@2"))[..3], [0, 44 * 64, 0]);
    assert_eq!(counts(&fault("--fault drop@1 --users-per-connection 5"))[..3], [0, 5 * 64, 0]);
    assert_eq!(counts(&fault(&format!("--fault drop@3 {PAPER} paper-add")))[..3], [0, 44 * 64, 0]);
}

#[test]
fn cells_of_the_round_before_are_tampered() {
    assert_eq!(counts(&fault("--fault replay@2"))[..3], [44 * 64, 0, 0]);
    assert_eq!(counts(&fault(&format!("--fault replay@3 {PAPER} paper-xor")))[..3], [44 * 64, 0, 0]);
}

#[test]
fn a_frame_that_cannot_be_stops_the_client_which_names_it() {
    for (kind, said) in [
        ("drop-frame", "S1 sent a RoundEnd frame with tiles 3, where it must be 2"),
        ("replay-frame", "S1 sent a Deliver frame with round 1, where it must be 2"),
    ] {
        let output = loadgen(&format!("local {RUN} --fault {kind}@2")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains(said) && stdout.contains("host 0"), "{stdout}");
    }
}

#[test]
fn a_server_that_is_late_costs_nothing_within_the_limit() {
    assert_eq!(counts(&fault("--fault delay:300@2")), [0; 4]);
}

#[test]
fn a_server_that_is_later_than_the_limit_costs_the_round() {
    let result = fault("--fault delay:2500@2 --round-timeout 1000");
    assert_eq!(counts(&result), [0, 130 * 130, 0, 130]);
    // Both other rounds are whole.
    assert_eq!(number(&result, "/totals/accepted"), 2 * 130);
}

#[test]
fn half_a_submission_harms_nobody_but_its_sender() {
    let linked = fault("--fault half-submit@2 --round-timeout 1500");
    assert_eq!(counts(&linked), [0, 0, 130, 1]);
    let alone = fault("--fault half-submit@2 --round-timeout 1500 --no-link");
    assert_eq!(counts(&alone), [0, 130, 0, 1]);
    let paper = fault(&format!("--fault half-submit@3 --round-timeout 1500 {PAPER} paper-xor"));
    assert_eq!(counts(&paper), [0, 0, 130, 1]);
}

#[test]
fn a_host_that_dies_takes_its_members_along_and_nobody_else() {
    for flags in ["--fault kill-host@2", "--fault kill-host@1 --no-link --users-per-connection 9"] {
        let result = fault(flags);
        let [tampered, incomplete, absent, _] = counts(&result);
        assert_eq!((tampered, incomplete), (0, 0), "{flags}");
        assert!(absent > 0 && absent.is_multiple_of(87 * 43), "{flags}: {absent}");
        assert_eq!(result["hosts"].as_array().unwrap().len(), 2);
    }
    fault(&format!("--fault kill-host@3 {PAPER} paper-add --peers subgroup:25%"));
}

#[cfg(feature = "fault-swap-half")]
#[test]
fn the_wrong_half_is_noticed_where_bits_are_confirmed_and_nowhere_else() {
    assert_eq!(counts(&fault("--fault swap-half@2"))[..3], [1, 0, 0]);
    for flags in ["", "--insecure-baseline --profile paper-xor", "--insecure-baseline --profile paper-add"] {
        let silent = fault(&format!("--fault swap-half@2 --no-confirm {flags}"));
        assert_eq!(counts(&silent), [0, 0, 0, 1], "{flags}: the user misses the message, and nobody is told");
    }
}
