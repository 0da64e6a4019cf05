//! Successive halving: many candidates with few rounds, the best of them with more, and the last against the default.
//!
//! The default is in every rung, measured several times between the others, and never dropped. The order within a rung is
//! drawn, so that a machine that drifts favours nobody. Before each run an estimate out of the runs so far says whether it
//! still fits; what the final comparison takes is set aside first.

mod last;
mod times;

use super::knobs::{Candidate, Knob, Value};
use super::space::Space;
use super::table;
use super::tune_file::{ROUNDS_MAX, Settings};
use super::verdict::{Pair, median};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use times::Times;
use twincast_loadgen::plan::Plan;

/// The default is measured once for so many others in a rung.
const OTHERS_PER_DEFAULT: usize = 5;
/// Drawn combinations, at the most, for each knob turned alone.
const DRAWN_PER_SINGLE: usize = 2;
/// The most candidates of the first rung.
const CANDIDATES_MAX: usize = 128;
/// Combinations of the best single values, at the most: of the best two, of the best three, of all.
const COMBINED_MAX: usize = 3;
/// What the first rung may take of the time without the final comparison, for each value to be tried alone.
const FIRST_PART: f64 = 0.6;
/// How much longer than the first run said the least budget is, which is told to who gave less.
const SPARE_TOLD: f64 = 1.25;

/// A machine on which candidates can be measured.
pub trait Measure {
    /// Seconds since some instant.
    fn now_s(&self) -> f64;

    /// Makes one run.
    ///
    /// # Errors
    /// Nothing was measured.
    fn measure(&mut self, candidate: &Candidate, rounds: u32) -> Result<Run, Failure>;
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it cost, less is better: of each round, or of the whole run.
    pub costs: Vec<f64>,
    /// Seconds of all its measured rounds together.
    pub rounds_s: f64,
}

/// Why there is no run.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A signal.
    Interrupted,
    /// It failed its checks, or did not come to a result.
    Bad {
        /// A sentence.
        why: String,
        /// Whether what was asked for cannot be on this machine.
        is_usage: bool,
    },
}

/// What became of a candidate in a rung.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is in the next one, or is the pick.
    Kept,
    /// Others were better.
    Dropped,
    /// It is out; why.
    Failed(String),
    /// The budget had no room for it.
    NoTime,
}

/// A candidate in a rung.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which one.
    pub candidate: Candidate,
    /// Its runs in this rung.
    pub runs: Vec<Run>,
    /// What became of it; the default is always kept.
    pub fate: Fate,
}

/// Candidates that were measured in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Measured rounds of each run.
    pub rounds: u32,
    /// How many of the rows are combinations of the best single values of the first rung, new in this one.
    pub combined: usize,
    /// The default first.
    pub rows: Vec<Row>,
}

/// The last two against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Final {
    /// Which candidate.
    pub pick: Candidate,
    /// Measured rounds of each run.
    pub rounds: u32,
    /// Runs side by side; the median cost of each.
    pub pairs: Vec<Pair>,
    /// Why the pick is out, if it failed here.
    pub failed: Option<String>,
}

/// All that a search has found, so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Rung by rung.
    pub rungs: Vec<Rung>,
    /// Knobs turned alone for which there was no time.
    pub not_tried: Vec<Candidate>,
    /// The end; none: there was nothing to compare with the default, or it did not come to it.
    pub last: Option<Final>,
    /// Runs, all together.
    pub runs: u32,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Why a search ended without its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// A signal.
    Interrupted,
    /// The default itself could not be measured.
    Default {
        /// A sentence.
        why: String,
        /// Whether what was asked for cannot be on this machine.
        is_usage: bool,
    },
    /// The budget is too small to find anything.
    TooLittle {
        /// Seconds from which on it can be done, as far as the first run says.
        needed_s: f64,
    },
}

/// Is told how it goes.
pub trait Watch {
    /// A rung begins, or the final comparison: what it is, how many runs it has, and the seconds of the budget that are left.
    fn stage(&mut self, what: &str, runs: usize, left_s: f64);
    /// A run begins.
    fn run(&mut self, candidate: &Candidate, left_s: f64);
    /// It is over.
    fn done(&mut self);
}

/// Searches. What was found until the end or the stop is there in either case.
pub fn search(
    space: &Space,
    settings: &Settings,
    machine: &mut dyn Measure,
    watch: &mut dyn Watch,
) -> (Found, Result<(), Stop>) {
    let began_s = machine.now_s();
    let mut search = Search {
        space,
        settings,
        rng: Xoshiro256PlusPlus::seed_from_u64(settings.seed),
        began_s,
        times: Times::default(),
        tried: vec![space.plan.clone()],
        found: Found::default(),
        machine,
        watch,
    };
    let end = search.all();
    search.found.seconds = search.machine.now_s() - began_s;
    (search.found, end)
}

struct Search<'a> {
    space: &'a Space,
    settings: &'a Settings,
    machine: &'a mut dyn Measure,
    watch: &'a mut dyn Watch,
    rng: Xoshiro256PlusPlus,
    began_s: f64,
    /// How long runs took.
    times: Times,
    /// Plans that are candidates already.
    tried: Vec<Plan>,
    found: Found,
}

impl Search<'_> {
    fn all(&mut self) -> Result<(), Stop> {
        let Settings { rounds, budget_s, repeats, .. } = *self.settings;
        self.watch.stage("the default, to see how long a run takes", 1, budget_s);
        let first = match self.run(&Candidate::default(), rounds)? {
            Ok(run) => run,
            Err(Failure::Bad { why, is_usage }) => return Err(Stop::Default { why, is_usage }),
            Err(Failure::Interrupted) => unreachable!("it stops the search"),
        };
        // A candidate, the default beside it, and the pairs.
        let least_s = self.run_s(rounds) * (1 + defaults(1) + 2 * repeats as usize) as f64;
        if self.left_s() < least_s {
            return Err(Stop::TooLittle { needed_s: (budget_s - self.left_s() + least_s) * SPARE_TOLD });
        }
        let final_rounds = self.final_rounds();
        let mut candidates = self.first(self.search_s(final_rounds));
        let (mut rounds, mut default_runs) = (rounds, vec![first]);
        let (mut pick, mut combined) = (None, Vec::new());
        while !candidates.is_empty() {
            let left_s = self.search_s(final_rounds);
            let Some(fits) = self.fitting(&mut candidates, rounds, left_s) else {
                self.only(pick.as_slice());
                break;
            };
            self.only(&candidates);
            combined.retain(|candidate| candidates.contains(candidate));
            let runs = std::mem::take(&mut default_runs);
            let rung = self.rung(candidates, combined.len(), fits, runs, final_rounds)?;
            let mut best = best_of(&rung);
            // Of a rung that the budget has cut off before anybody was measured nothing is learnt.
            if let Some(best) = best.first() {
                pick = Some(best.clone());
            }
            // Where all others were as bad, the best of the rung before is no pick if it failed in this one.
            pick = pick.filter(|pick| !has_failed(&rung, pick));
            let is_first = self.found.rungs.is_empty();
            let keep = best.len().div_ceil(self.settings.eta as usize);
            best.truncate(keep);
            combined = if is_first { self.combined(&rung) } else { Vec::new() };
            self.found.rungs.push(rung);
            self.only(&best);
            if best.len() + combined.len() <= 1 {
                break;
            }
            candidates = best;
            candidates.extend(combined.iter().cloned());
            rounds = rounds.saturating_mul(self.settings.eta).min(ROUNDS_MAX);
        }
        match pick {
            Some(pick) => self.last(pick, final_rounds),
            None => Ok(()),
        }
    }

    /// Seconds of the budget that are left.
    fn left_s(&self) -> f64 {
        self.settings.budget_s - (self.machine.now_s() - self.began_s)
    }

    /// The same, without what the final comparison takes.
    fn search_s(&self, final_rounds: u32) -> f64 {
        self.left_s() - f64::from(2 * self.settings.repeats) * self.run_s(final_rounds)
    }

    /// How long a run of so many rounds is taken to be.
    fn run_s(&self, rounds: u32) -> f64 {
        self.times.of_any().run_s(rounds)
    }

    /// In the rung before, only these are kept: they are in the next one, or are the pick.
    fn only(&mut self, kept: &[Candidate]) {
        let Some(rung) = self.found.rungs.last_mut() else { return };
        for row in &mut rung.rows[1..] {
            if row.fate == Fate::Kept && !kept.contains(&row.candidate) {
                row.fate = Fate::Dropped;
            }
        }
    }

    /// One run, whose times are remembered; an end of all if it was interrupted.
    fn run(&mut self, candidate: &Candidate, rounds: u32) -> Result<Result<Run, Failure>, Stop> {
        let left_s = self.left_s();
        self.watch.run(candidate, left_s);
        let before_s = self.machine.now_s();
        let run = self.machine.measure(candidate, rounds);
        let seconds = self.machine.now_s() - before_s;
        self.watch.done();
        self.found.runs += 1;
        match &run {
            Ok(run) => self.times.push(candidate, rounds, seconds, run.rounds_s),
            Err(Failure::Interrupted) => return Err(Stop::Interrupted),
            Err(Failure::Bad { .. }) => {}
        }
        Ok(run)
    }

    /// The candidates of the first rung: each knob alone, and drawn combinations as far as the time has room for all rungs.
    fn first(&mut self, seconds: f64) -> Vec<Candidate> {
        let mut singles = Vec::new();
        let mut by_knob: Vec<Vec<Candidate>> =
            self.space.singles().into_iter().map(|(_, values)| values).collect();
        by_knob.iter_mut().for_each(|values| values.shuffle(&mut self.rng));
        // One value of each knob, then a second of each, and so on: whatever is cut off, every knob had its turn.
        while by_knob.iter().any(|values| !values.is_empty()) {
            by_knob.shuffle(&mut self.rng);
            let turn: Vec<Candidate> = by_knob.iter_mut().filter_map(Vec::pop).collect();
            singles.extend(turn.into_iter().filter(|candidate| self.is_new(candidate)));
        }
        let most = (singles.len() * (1 + DRAWN_PER_SINGLE)).min(CANDIDATES_MAX);
        // Trying every value comes before many rounds, which later rungs can do without.
        let in_part = |number: usize| {
            let runs = (number + defaults(number)) as f64;
            number <= singles.len() && runs * self.run_s(self.settings.rounds) <= FIRST_PART * seconds
        };
        let fits = |number: usize| self.whole_s(number) <= seconds || in_part(number);
        let fit = (1..=most).rev().find(|number| fits(*number)).unwrap_or(1);
        if fit < singles.len() {
            self.found.not_tried = singles.split_off(fit);
        }
        let drawn = fit.saturating_sub(singles.len());
        let drawn: Vec<Candidate> = (0..drawn).map_while(|_| self.drawn()).collect();
        singles.extend(drawn);
        singles
    }

    /// How long all rungs take that begin with so many candidates.
    fn whole_s(&self, mut number: usize) -> f64 {
        let (mut rounds, mut seconds, mut combined) = (self.settings.rounds, 0.0, COMBINED_MAX);
        loop {
            seconds += (number + defaults(number)) as f64 * self.run_s(rounds);
            let next = number.div_ceil(self.settings.eta as usize) + std::mem::take(&mut combined);
            if next <= 1 || number <= 1 {
                return seconds;
            }
            (number, rounds) = (next.min(number), rounds.saturating_mul(self.settings.eta));
        }
    }

    /// Whether no candidate comes to the same plan; it does from now on.
    fn is_new(&mut self, candidate: &Candidate) -> bool {
        let plan = self.space.plan_of(candidate);
        let new = !self.tried.contains(&plan);
        if new {
            self.tried.push(plan);
        }
        new
    }

    /// Two or more knobs turned, drawn; none if all there are have been drawn.
    fn drawn(&mut self) -> Option<Candidate> {
        const TRIES: usize = 64;
        let choices: Vec<_> = self.space.choices.iter().filter(|choice| !choice.values.is_empty()).collect();
        if choices.len() < 2 {
            return None;
        }
        for _ in 0..TRIES {
            let number = self.rng.random_range(2..=choices.len());
            let turns: Vec<(Knob, Value)> = choices
                .sample(&mut self.rng, number)
                .map(|choice| (choice.knob, choice.values.clone()))
                .collect::<Vec<_>>()
                .into_iter()
                .filter_map(|(knob, values)| Some((knob, values.choose(&mut self.rng)?.clone())))
                .collect();
            let candidate = self.space.turned(&turns);
            if self.is_new(&candidate) {
                return Some(candidate);
            }
        }
        None
    }

    /// The best values of knobs that were turned alone, together: where each beats the default.
    fn combined(&mut self, rung: &Rung) -> Vec<Candidate> {
        let Some(default) = rung.rows[0].cost() else { return Vec::new() };
        let mut winners: Vec<(f64, Knob, Value)> = Vec::new();
        for (knob, values) in self.space.singles() {
            let cost_of =
                |candidate: &Candidate| rung.rows.iter().find(|row| row.candidate == *candidate)?.cost();
            let best = values
                .iter()
                .filter_map(|candidate| Some((cost_of(candidate)?, candidate)))
                .min_by(|one, other| one.0.total_cmp(&other.0));
            if let Some((cost, candidate)) = best.filter(|(cost, _)| *cost < default) {
                winners.push((cost, knob, candidate.changes[&knob].clone()));
            }
        }
        winners.sort_by(|one, other| one.0.total_cmp(&other.0));
        let turns: Vec<(Knob, Value)> = winners.into_iter().map(|(_, knob, value)| (knob, value)).collect();
        let mut lengths = vec![2, 3, turns.len()];
        lengths.retain(|length| (2..=turns.len()).contains(length));
        lengths.dedup();
        let all = lengths.into_iter().map(|length| self.space.turned(&turns[..length]));
        let all: Vec<Candidate> = all.collect();
        all.into_iter().filter(|candidate| self.is_new(candidate)).take(COMBINED_MAX).collect()
    }

    /// Rounds of the next rung, or fewer where the time has no room for them; candidates that even then have none are cut
    /// off. None: there is no room for two of them.
    fn fitting(&self, candidates: &mut Vec<Candidate>, rounds: u32, seconds: f64) -> Option<u32> {
        let least = self.settings.rounds;
        let is_first = self.found.rungs.is_empty();
        loop {
            let number = candidates.len();
            let each_s = seconds / (number + defaults(number)) as f64;
            let fit = self.times.of_any().rounds_in(each_s).min(rounds);
            if fit >= least || is_first {
                return Some(fit.max(least));
            }
            if number <= 2 {
                return None;
            }
            candidates.pop();
        }
    }

    /// Measures candidates and, between them, the default, which may have been measured already.
    fn rung(
        &mut self,
        candidates: Vec<Candidate>,
        combined: usize,
        rounds: u32,
        of_default: Vec<Run>,
        final_rounds: u32,
    ) -> Result<Rung, Stop> {
        let mut order: Vec<usize> = (1..=candidates.len()).collect();
        order.shuffle(&mut self.rng);
        let mut schedule = Vec::new();
        for part in order.chunks(OTHERS_PER_DEFAULT) {
            let (early, late) = part.split_at(part.len() / 2);
            schedule.extend(early);
            schedule.push(0);
            schedule.extend(late);
        }
        let name = format!(
            "rung {}: {}, {} in each run",
            self.found.rungs.len() + 1,
            contestants(self.found.rungs.is_empty(), candidates.len(), combined),
            table::counted(rounds.into(), "round")
        );
        self.watch.stage(&name, schedule.len(), self.left_s());
        let row = |candidate| Row { candidate, runs: Vec::new(), fate: Fate::NoTime };
        let all = std::iter::once(Candidate::default()).chain(candidates);
        let mut rung = Rung { rounds, combined, rows: all.map(row).collect() };
        rung.rows[0].runs = of_default;
        rung.rows[0].fate = Fate::Kept;
        for index in schedule {
            // The default is what everybody is held against: a rung in which it was not measured says nothing.
            let needed = index == 0 && rung.rows[0].runs.is_empty();
            if self.search_s(final_rounds) < self.run_s(rounds) && !needed {
                continue;
            }
            let candidate = rung.rows[index].candidate.clone();
            let end = self.run(&candidate, rounds);
            let row = &mut rung.rows[index];
            match end {
                Ok(Ok(run)) => {
                    row.runs.push(run);
                    row.fate = Fate::Kept;
                }
                Ok(Err(Failure::Bad { why, is_usage })) if index == 0 => {
                    self.found.rungs.push(rung);
                    return Err(Stop::Default { why, is_usage });
                }
                Ok(Err(Failure::Bad { why, .. })) => row.fate = Fate::Failed(why),
                Ok(Err(Failure::Interrupted)) => unreachable!("it stops the search"),
                Err(stop) => {
                    self.found.rungs.push(rung);
                    return Err(stop);
                }
            }
        }
        Ok(rung)
    }
}

impl Row {
    /// The median of all that its runs cost; none: there is none.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        median(self.costs())
    }

    /// What its runs cost, one after another.
    #[must_use]
    pub fn costs(&self) -> Vec<f64> {
        self.runs.iter().flat_map(|run| run.costs.iter().copied()).collect()
    }
}

/// How often the default is measured beside so many others.
pub(super) fn defaults(others: usize) -> usize {
    others.div_ceil(OTHERS_PER_DEFAULT)
}

/// All that were measured but the default, the best first.
fn best_of(rung: &Rung) -> Vec<Candidate> {
    let mut good: Vec<(f64, &Candidate)> = rung.rows[1..]
        .iter()
        .filter(|row| row.fate == Fate::Kept)
        .filter_map(|row| Some((row.cost()?, &row.candidate)))
        .collect();
    good.sort_by(|one, other| one.0.total_cmp(&other.0));
    good.into_iter().map(|(_, candidate)| candidate.clone()).collect()
}

fn has_failed(rung: &Rung, candidate: &Candidate) -> bool {
    rung.rows.iter().any(|row| row.candidate == *candidate && matches!(row.fate, Fate::Failed(_)))
}

/// Who is in a rung, in words: so many candidates, of which some are combinations that are new in it.
pub(super) fn contestants(is_first: bool, candidates: usize, combined: usize) -> String {
    let best = match candidates - combined {
        1 => "the best one".to_owned(),
        best => format!("the best {best}"),
    };
    match (is_first, combined) {
        (true, _) => format!("{} and the default", table::counted(candidates as u64, "candidate")),
        (false, 0) => format!("{best} and the default"),
        (false, _) => {
            format!(
                "{best}, {} of the best values, and the default",
                table::counted(combined as u64, "combination")
            )
        }
    }
}
