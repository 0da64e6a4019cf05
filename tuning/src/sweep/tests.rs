//! The search against a machine that is made up: its noise, its clock and its best settings are known.

use super::knobs::{Candidate, Knob, Value};
use super::outcome::Outcome;
use super::search::{Failure, Fate, Found, Measure, Run, Stop, Watch, search};
use super::space::{Space, tests::space};
use super::table;
use super::tune_file::{Objective, Settings};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_loadgen::plan::Plan;

/// Seconds of a round of the default.
const ROUND_S: f64 = 0.4;
/// Seconds of a run that are no round.
const START_S: f64 = 1.5;

/// A machine on which a plan costs what `cost` says, times its noise; the second number is drawn for each run.
struct Fake<'a> {
    space: &'a Space,
    cost: fn(&Plan) -> f64,
    is_bad: fn(&Candidate) -> bool,
    /// Of each round, and of all rounds of a run together: standard deviations, as parts.
    noise: [f64; 2],
    /// By how much the machine slows down in a second, as a part.
    drift: f64,
    /// How many of a hundred runs are twice as slow as the others.
    stalls: u32,
    /// Seconds of a run that are no round, at the least and at the most.
    start_s: [f64; 2],
    /// The run at which somebody presses Ctrl-C.
    interrupted_at: Option<u32>,
    rng: Xoshiro256PlusPlus,
    clock_s: f64,
    runs: u32,
}

impl<'a> Fake<'a> {
    fn new(space: &'a Space, seed: u64, cost: fn(&Plan) -> f64) -> Fake<'a> {
        Fake {
            space,
            cost,
            is_bad: |_| false,
            noise: [0.04, 0.015],
            drift: 0.0,
            stalls: 0,
            start_s: [START_S; 2],
            interrupted_at: None,
            // Not the seed of the search, whose draws would be the same.
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5eed),
            clock_s: 0.0,
            runs: 0,
        }
    }

    /// About normal: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0
    }
}

impl Measure for Fake<'_> {
    fn now_s(&self) -> f64 {
        self.clock_s
    }

    fn measure(&mut self, candidate: &Candidate, rounds: u32) -> Result<Run, Failure> {
        self.runs += 1;
        let [least_s, most_s] = self.start_s;
        self.clock_s += least_s + (most_s - least_s) * self.rng.random::<f64>();
        if self.interrupted_at == Some(self.runs) {
            return Err(Failure::Interrupted);
        }
        if (self.is_bad)(candidate) {
            return Err(Failure::Bad { why: "2 messages were lost".into(), is_usage: false });
        }
        let [of_a_round, of_a_run] = self.noise;
        let stall = if self.rng.random_range(0..100) < self.stalls { 2.0 } else { 1.0 };
        let run = (1.0 + of_a_run * self.normal()).max(0.1) * (1.0 + self.drift * self.clock_s) * stall;
        let cost = ROUND_S * (self.cost)(&self.space.plan_of(candidate)) * run;
        let costs: Vec<f64> =
            (0..rounds).map(|_| cost * (1.0 + of_a_round * self.normal()).max(0.1)).collect();
        let rounds_s = costs.iter().sum();
        self.clock_s += rounds_s;
        Ok(Run { costs, rounds_s })
    }
}

/// Nobody looks.
struct Nobody;

impl Watch for Nobody {
    fn stage(&mut self, _: &str, _: usize, _: f64) {}
    fn run(&mut self, _: &Candidate, _: f64) {}
    fn done(&mut self) {}
}

fn settings(budget_s: f64, seed: u64) -> Settings {
    Settings { budget_s, seed, ..Settings::default() }
}

fn searched(machine: &mut Fake<'_>, settings: &Settings) -> (Found, Result<(), Stop>) {
    let space = machine.space;
    search(space, settings, machine, &mut Nobody)
}

fn outcome_of(machine: &mut Fake<'_>, settings: &Settings) -> Outcome {
    let (found, end) = searched(machine, settings);
    assert_eq!(end, Ok(()), "seed {}", settings.seed);
    Outcome::of("fake", machine.space, settings, &found, false)
}

/// Small slabs and two threads are each better, and together better still.
fn planted(plan: &Plan) -> f64 {
    let slabs = if plan.server.slab_bytes == Some(65_536) { 0.85 } else { 1.0 };
    let threads = match plan.server.fan_out_threads {
        Some(2) => 0.88,
        Some(8) => 1.3,
        _ => 1.0,
    };
    slabs * threads
}

fn flat(_: &Plan) -> f64 {
    1.0
}

#[test]
fn a_planted_optimum_is_found_within_the_budget() {
    let space = space(8);
    for seed in 1..=40 {
        let mut machine = Fake::new(&space, seed, planted);
        let outcome = outcome_of(&mut machine, &settings(400.0, seed));
        let best = &outcome.best;
        assert!(outcome.beats, "seed {seed}: {}", outcome.verdict);
        assert_eq!(best.changes.get(&Knob::SlabBytes), Some(&Value::Whole(65_536)), "seed {seed}: {best}");
        assert_eq!(best.changes.get(&Knob::FanOutThreads), Some(&Value::Whole(2)), "seed {seed}: {best}");
        assert!(outcome.seconds <= 1.02 * 400.0, "seed {seed}: {} s", outcome.seconds);
        let text = table::outcome(&outcome);
        assert!(text.lines().all(|line| line.chars().count() <= table::COLUMNS), "seed {seed}: {text}");
    }
}

#[test]
fn a_flat_machine_has_nothing_that_beats_the_default() {
    let space = space(8);
    let (calm, rough) = ([0.04, 0.015], [0.3, 0.15]);
    for (what, budget_s, noise, drift, stalls) in [
        ("steady", 150.0, calm, 0.0, 0),
        ("slowing down", 150.0, calm, 0.000_5, 0),
        ("rough", 150.0, rough, 0.0, 10),
        ("steady, with time for the most pairs", 1_500.0, calm, 0.0, 0),
    ] {
        let beaten: Vec<u64> = (1..=100)
            .filter(|seed| {
                let mut machine = Fake::new(&space, *seed, flat);
                (machine.noise, machine.drift, machine.stalls) = (noise, drift, stalls);
                outcome_of(&mut machine, &settings(budget_s, *seed)).beats
            })
            .collect();
        assert!(
            beaten.len() <= 5,
            "on a machine that is {what} noise beats the default with seeds {beaten:?}"
        );
    }
}

#[test]
fn the_default_is_in_every_rung_and_never_dropped() {
    let space = space(8);
    for seed in 1..=20 {
        // Everything is better than the default.
        let mut machine = Fake::new(&space, seed, |plan| if *plan == default() { 2.0 } else { 1.0 });
        let (found, end) = searched(&mut machine, &settings(300.0, seed));
        assert_eq!(end, Ok(()), "seed {seed}");
        assert!(found.rungs.len() > 1, "seed {seed}");
        for rung in &found.rungs {
            let row = &rung.rows[0];
            assert!(row.candidate.is_default() && row.fate == Fate::Kept, "seed {seed}: {row:?}");
            assert!(!row.runs.is_empty(), "seed {seed}: it is measured in each");
        }
        assert!(found.last.as_ref().unwrap().pairs.len() >= 5, "seed {seed}");
    }
}

/// The plan of the default of [`space`].
fn default() -> Plan {
    space(8).plan
}

#[test]
fn the_budget_is_kept_and_one_that_is_too_small_is_refused_with_the_least() {
    let space = space(8);
    for seed in 1..=20 {
        for budget_s in [45.0, 60.0, 90.0, 150.0, 400.0, 1_500.0] {
            let mut machine = Fake::new(&space, seed, planted);
            let (found, end) = searched(&mut machine, &settings(budget_s, seed));
            assert_eq!(end, Ok(()), "seed {seed}, {budget_s} s");
            assert!(found.seconds <= 1.02 * budget_s, "seed {seed}, {budget_s} s: took {} s", found.seconds);
            let pairs = found.last.unwrap().pairs.len();
            assert!((5..=40).contains(&pairs), "seed {seed}, {budget_s} s: {pairs} pairs");
            let is_spent = found.seconds >= 0.8 * budget_s || pairs == 40;
            assert!(is_spent, "seed {seed}: {} s of {budget_s} and {pairs} pairs", found.seconds);
        }
        let mut machine = Fake::new(&space, seed, planted);
        let (found, end) = searched(&mut machine, &settings(5.0, seed));
        let Err(Stop::TooLittle { needed_s }) = end else { panic!("seed {seed}: {end:?}") };
        assert_eq!(found.runs, 1, "seed {seed}: the first run has told it");
        let mut machine = Fake::new(&space, seed, planted);
        let (found, end) = searched(&mut machine, &settings(needed_s, seed));
        assert_eq!(end, Ok(()), "seed {seed}: {needed_s} s were said to do");
        assert!(found.seconds <= 1.02 * needed_s, "seed {seed}: {} s of {needed_s}", found.seconds);
    }
}

#[test]
fn the_budget_is_kept_and_used_where_starts_are_slow_or_uneven() {
    let space = space(8);
    for seed in 1..=20 {
        for start_s in [[0.01, 0.01], [0.3, 3.0], [8.0, 8.0], [5.0, 15.0]] {
            let mut machine = Fake::new(&space, seed, planted);
            machine.start_s = start_s;
            let (found, end) = searched(&mut machine, &settings(400.0, seed));
            assert_eq!(end, Ok(()), "seed {seed}, {start_s:?}");
            // One run may come out longer than any before it.
            let over_s = 400.0 + start_s[1] - start_s[0];
            assert!(found.seconds <= 1.02 * over_s, "seed {seed}, {start_s:?}: {} s", found.seconds);
            let last = found.last.unwrap();
            let is_spent = found.seconds >= 0.75 * 400.0 || last.pairs.len() == 40;
            assert!(is_spent, "seed {seed}, {start_s:?}: {} s, {last:?}", found.seconds);
        }
    }
}

/// Remembers what was announced: the stage, and its runs.
#[derive(Default)]
struct Announced(Vec<(String, usize)>);

impl Watch for Announced {
    fn stage(&mut self, what: &str, runs: usize, _: f64) {
        self.0.push((what.to_owned(), runs));
    }
    fn run(&mut self, _: &Candidate, _: f64) {}
    fn done(&mut self) {}
}

#[test]
fn pairs_are_settled_before_the_first_and_follow_the_time_that_is_left() {
    let space = space(8);
    for seed in 1..=20 {
        for budget_s in [60.0, 150.0, 400.0, 3_000.0] {
            let (mut announced, mut machine) = (Announced::default(), Fake::new(&space, seed, planted));
            let (found, _) = search(&space, &settings(budget_s, seed), &mut machine, &mut announced);
            let last = found.last.unwrap();
            let (said, runs) = announced.0.last().unwrap();
            assert_eq!(*runs, 2 * last.pairs.len(), "seed {seed}, {budget_s} s: {said}");
            assert!(said.contains(&format!(": {} pairs, ", last.pairs.len())), "{said}");
        }
        // Where all else has its share already, runs are longer, and not only more.
        let most = Settings { repeats_max: 6, ..settings(3_000.0, seed) };
        let (found, _) = searched(&mut Fake::new(&space, seed, planted), &most);
        let longest = found.rungs.iter().map(|rung| rung.rounds).max().unwrap();
        let last = found.last.unwrap();
        assert_eq!((last.pairs.len(), last.rounds), (6, longest), "seed {seed}");
        // Rounds of a hundredth of a start: as many as make up for it, though a rung has three.
        let mut machine = Fake::new(&space, seed, |_| 0.01);
        let (found, _) = searched(&mut machine, &Settings { eta: 2, ..settings(300.0, seed) });
        let measured_s = 0.01 * ROUND_S * f64::from(found.last.unwrap().rounds);
        assert!(measured_s > 0.9 * START_S, "seed {seed}: {measured_s} s");
    }
}

#[test]
fn a_rung_is_announced_and_told_with_those_that_are_in_it() {
    let space = space(8);
    let (mut announced, mut machine) = (Announced::default(), Fake::new(&space, 1, planted));
    let settings = settings(400.0, 1);
    let (found, _) = search(&space, &settings, &mut machine, &mut announced);
    let text = table::outcome(&Outcome::of("fake", &space, &settings, &found, false));
    let [first, second] = [&found.rungs[0], &found.rungs[1]];
    let kept = first.rows[1..].iter().filter(|row| row.fate == Fate::Kept).count();
    assert!(second.combined > 0 && kept + second.combined == second.rows.len() - 1, "{text}");
    let of_first =
        format!("rung 1: {} candidates and the default, 3 rounds in each run", first.rows.len() - 1);
    let of_second = format!("rung 2: the best {kept}, {} combination", second.combined);
    for said in [of_first, of_second] {
        assert!(announced.0.iter().any(|(stage, _)| stage.starts_with(&said)), "{said}: {:?}", announced.0);
        assert!(text.contains(&format!("\n{said}")), "{said}: {text}");
    }
    for (rung, next) in found.rungs.iter().zip(&found.rungs[1..]) {
        for row in rung.rows.iter().filter(|row| row.fate == Fate::Kept) {
            assert!(next.rows.iter().any(|other| other.candidate == row.candidate), "{row:?} went on");
        }
    }
}

#[test]
fn what_is_within_noise_is_told_to_be() {
    let space = space(8);
    for seed in 1..=5 {
        let mut machine = Fake::new(&space, seed, flat);
        machine.noise = [0.3, 0.3];
        let outcome = outcome_of(&mut machine, &settings(200.0, seed));
        let first = &outcome.rungs[0];
        let reach = |index: usize| first.rows[index].spread.unwrap() * first.rows[index].figure.unwrap();
        let of_default = first.rows[0].figure.unwrap();
        assert!(first.rows[0].within_noise.is_none(), "the default is not held against itself");
        for (index, row) in first.rows.iter().enumerate().skip(1).filter(|(_, row)| row.figure.is_some()) {
            let far = (row.figure.unwrap() - of_default).abs();
            let within = far <= reach(0).max(reach(index));
            assert_eq!(row.within_noise, Some(within), "seed {seed}: {row:?}");
        }
        let text = table::outcome(&outcome);
        let [_, alone] = text.split("each knob alone").collect::<Vec<_>>()[..] else { panic!("{text}") };
        let alone = alone.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = alone.matches("within noise)").count();
        let all = outcome.effects.iter().filter(|effect| effect.within_noise == Some(true)).count();
        assert!(told == all && alone.contains("its own spread is "), "seed {seed}: {told} of {all}: {text}");
    }
    // Nothing is noise where there is none.
    let mut machine = Fake::new(&space, 1, planted);
    machine.noise = [1e-6, 1e-6];
    let outcome = outcome_of(&mut machine, &settings(400.0, 1));
    let two = outcome
        .effects
        .iter()
        .find(|effect| (effect.knob, &effect.value) == (Knob::FanOutThreads, &Value::Whole(2)));
    assert_eq!(two.unwrap().within_noise, Some(false));
}

#[test]
fn candidates_that_fail_are_out_with_their_reason() {
    let space = space(8);
    for seed in 1..=10 {
        let mut machine = Fake::new(&space, seed, planted);
        machine.is_bad = |candidate| candidate.changes.contains_key(&Knob::SlabBytes);
        let settings = settings(300.0, seed);
        let outcome = outcome_of(&mut machine, &settings);
        assert!(!outcome.best.changes.contains_key(&Knob::SlabBytes), "seed {seed}: {}", outcome.best);
        let failed: Vec<_> = outcome.rungs[0].rows.iter().filter(|row| row.fate == "failed").collect();
        assert!(failed.len() >= 2, "seed {seed}");
        assert!(failed.iter().all(|row| row.why.as_deref() == Some("2 messages were lost") && row.runs == 0));
        assert!(table::outcome(&outcome).contains("2 messages were lost"), "seed {seed}");
        let later = outcome.rungs[1..].iter().flat_map(|rung| &rung.rows);
        assert!(later.clone().all(|row| row.fate != "failed"), "seed {seed}: none comes again");
    }
}

#[test]
fn a_pick_that_fails_in_the_end_and_a_search_in_which_all_fail_keep_the_default() {
    let space = space(8);
    let mut machine = Fake::new(&space, 1, planted);
    machine.is_bad = |candidate| !candidate.is_default();
    let outcome = outcome_of(&mut machine, &settings(200.0, 1));
    assert!(outcome.comparison.is_none() && !outcome.beats && outcome.best.is_default());
    assert!(outcome.verdict.contains("Keep the default"), "{}", outcome.verdict);
    // The same, but the pick fails only where it is held against the default: in its last runs.
    let settings = settings(200.0, 1);
    let (found, _) = searched(&mut Fake::new(&space, 1, planted), &settings);
    let mut last = found.last.clone().unwrap();
    last.failed = Some("server 1 died".into());
    let found = Found { last: Some(last), ..found };
    let outcome = Outcome::of("fake", &space, &settings, &found, false);
    assert!(!outcome.beats && outcome.best.is_default(), "{}", outcome.verdict);
    assert!(outcome.verdict.contains("server 1 died"), "{}", outcome.verdict);
}

#[test]
fn a_default_that_fails_ends_the_search() {
    let space = space(8);
    let mut machine = Fake::new(&space, 1, planted);
    machine.is_bad = Candidate::is_default;
    let (found, end) = searched(&mut machine, &settings(200.0, 1));
    assert_eq!(end, Err(Stop::Default { why: "2 messages were lost".into(), is_usage: false }));
    assert_eq!(found.runs, 1);
}

#[test]
fn the_same_seed_searches_in_the_same_way() {
    let space = space(8);
    let found = |seed, of_the_search| {
        searched(&mut Fake::new(&space, seed, planted), &settings(300.0, of_the_search)).0
    };
    assert_eq!(found(3, 3), found(3, 3));
    assert_ne!(found(3, 3), found(3, 4), "another seed draws other combinations");
}

#[test]
fn an_interrupt_leaves_what_is_known() {
    let space = space(8);
    let whole = searched(&mut Fake::new(&space, 1, planted), &settings(300.0, 1)).0;
    for at in [1, 2, 9, whole.runs - 1] {
        let mut machine = Fake::new(&space, 1, planted);
        machine.interrupted_at = Some(at);
        let settings = settings(300.0, 1);
        let (found, end) = searched(&mut machine, &settings);
        assert_eq!((end, found.runs), (Err(Stop::Interrupted), at), "run {at}");
        let outcome = Outcome::of("fake", &space, &settings, &found, true);
        assert!(!outcome.beats && outcome.interrupted && outcome.best.is_default(), "run {at}");
        assert!(outcome.verdict.contains("stopped before its end"), "run {at}");
        assert!(table::outcome(&outcome).contains("default"), "run {at}");
        assert_eq!(found.rungs.is_empty(), at == 1, "run {at}");
    }
}

#[test]
fn shares_per_cpu_second_are_better_when_there_are_more() {
    let objective = Objective::SharesPerCpuS;
    assert_eq!(objective.figure(1e-6).round(), 1e6);
    assert!((objective.better(0.8) - 0.25).abs() < 1e-12 && objective.better(1.25) < 0.0);
    assert!((Objective::Round.better(0.8) - 0.2).abs() < 1e-12);
    let space = space(8);
    let settings = Settings { objective, ..settings(300.0, 1) };
    let outcome = outcome_of(&mut Fake::new(&space, 1, planted), &settings);
    let [low, high] = outcome.comparison.as_ref().unwrap().better_interval.unwrap();
    assert!(outcome.beats && 0.0 < low && low < high, "{}", outcome.verdict);
    assert!(outcome.verdict.contains("more shares per CPU second"), "{}", outcome.verdict);
    let first = &outcome.rungs[0];
    let worst = first.rows.iter().filter_map(|row| Some((row.better?, row.figure?)));
    let worst = worst.min_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
    assert!(worst.1 < first.rows[0].figure.unwrap(), "what is worse has fewer shares");
}
