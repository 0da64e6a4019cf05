//! The public face of the MCMix model, and the table of what it costs.

use twincast_baselines::mcmix::{Cost, McmixError, run_conversation, run_dialling};

#[test]
fn a_round_of_a_thousand_is_right_and_its_cost_adds_up() -> Result<(), McmixError> {
    let talk = run_conversation(1000, 256, 1)?;
    let calls = run_dialling(1000, 2)?;
    assert_eq!((talk.client_bytes_in, talk.client_bytes_out), (3 * 264_000, 3 * 256_000));
    assert_eq!((calls.client_bytes_in, calls.client_bytes_out), (3 * 16_000, 3 * 8000));
    for cost in [talk, calls] {
        assert!(cost.local_seconds_by_party.iter().all(|seconds| *seconds > 0.0));
        // Fewer rounds than there are levels times rounds of the widest comparison, and the few before,
        // between and after.
        assert!(cost.rounds > 6 * cost.sort_levels && cost.rounds < 9 * cost.sort_levels + 60, "{cost:?}");
        // Both sorts at least split once for each row that is not the first of all.
        assert!(cost.comparisons >= 2 * 999);
        let latency_only = cost.network_seconds(1.0, f64::INFINITY);
        assert!((latency_only - cost.rounds as f64).abs() < 1e-9);
        let busiest = *cost.bytes_by_party.iter().max().expect("there are three parties");
        assert!((cost.network_seconds(0.0, 8.0) - busiest as f64).abs() < 1e-6);
    }
    Ok(())
}

/// Prints what `cargo test --release -p twincast-baselines --test mcmix -- --ignored --nocapture` is asked
/// for.
#[test]
#[ignore = "prints a table and checks nothing that the other tests do not"]
fn table() -> Result<(), McmixError> {
    println!(
        "protocol      users  local s (each party)     rounds  levels  comparisons  MB a party          net s at 0.1 ms, 1 Gb/s"
    );
    for users in [100, 1000, 10_000, 100_000] {
        print("conversation", &run_conversation(users, 256, 3)?);
        print("dialling", &run_dialling(users, 4)?);
    }
    Ok(())
}

fn print(protocol: &str, cost: &Cost) {
    let [a, b, c] = cost.local_seconds_by_party;
    let megabytes = cost.bytes_by_party.map(|bytes| bytes as f64 / 1e6);
    println!(
        "{protocol:12} {:6}  {a:.4} {b:.4} {c:.4}  {:6}  {:6}  {:11}  {:.3} {:.3} {:.3}  {:.4}",
        cost.users,
        cost.rounds,
        cost.sort_levels,
        cost.comparisons,
        megabytes[0],
        megabytes[1],
        megabytes[2],
        cost.network_seconds(1e-4, 1e9),
    );
}
