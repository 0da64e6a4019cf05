//! Two stored results beside each other: `report compare` and `report show`.
//!
//! Each row is a figure of A and of B (medians over the repeats), the ratio of their geometric means, B over A, and the
//! 95% confidence interval of that ratio by Welch's test on the logarithms. A row has a verdict only where both sides
//! have [`REPEATS_MIN`] repeats.

mod load;

use crate::coordinator::{RunError, print};
use crate::json_file::JsonFile;
use crate::report;
use crate::result::{self, RunResult};
use crate::stats::{REPEATS_MIN, Ratio, Spread};
use crate::units::{bits_per_s, memory, micros, seconds, thousands};
use load::{Side, load};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-compare/1";

/// What it means that B is less, and that it is more.
type Words = [&'static str; 2];
const TIME: Words = ["faster", "slower"];
const RATE: Words = ["slower", "faster"];
const COST: Words = ["less", "more"];

/// The verdict that more repeats would change.
const TOO_FEW: &str = "too few repeats";
/// How the names of figures begin that are measured with the first run only, however many repeats there are.
const MEASURED_ONCE: &str = "roof.";

/// A figure that is compared.
struct Shown {
    /// What a person calls it.
    name: &'static str,
    /// Its name in a summary.
    figure: &'static str,
    /// How it is written.
    form: fn(f64) -> String,
    words: Words,
}

const fn shown(name: &'static str, figure: &'static str, form: fn(f64) -> String, words: Words) -> Shown {
    Shown { name, figure, form, words }
}

/// Figures of a share or of an answer, which say nothing beside each other.
const OF_ONE: [&str; 3] = ["shares_per_s", "server_cpu_ns_per_share", "host_cpu_ns_per_share"];

/// The figures that are compared, in their order.
const ROWS: [Shown; 18] = [
    shown("round time p50", "round_seconds.p50", seconds, TIME),
    shown("round time p99", "round_seconds.p99", seconds, TIME),
    shown("message latency p50", "message_latency_us.p50", us, TIME),
    shown("message latency p99", "message_latency_us.p99", us, TIME),
    shown("delivery latency p50", "delivery_latency_us.p50", us, TIME),
    shown("delivery latency p99", "delivery_latency_us.p99", us, TIME),
    shown("dialling", "dial.seconds", seconds, TIME),
    shown("shares (answers)/s", "shares_per_s", whole, RATE),
    shown("egress, a server", "egress_bits_per_s", bits_per_s, RATE),
    shown("of the link's goodput", "link_fraction", three_places, RATE),
    shown("time of a message", "cost.message_us", us, TIME),
    shown("server CPU of one, ns", "server_cpu_ns_per_share", one_place, COST),
    shown("server CPU of a byte, ns", "guard.server_cpu_ns_per_byte", three_places, COST),
    shown("egress of a member", "guard.egress_bytes_per_member", whole, COST),
    shown("host CPU of one, ns", "host_cpu_ns_per_share", one_place, COST),
    shown("server CPU over roof", "roof.server_cpu_ratio", three_places, COST),
    shown("server memory", "server_rss_bytes", mebibytes, COST),
    shown("host memory", "host_rss_bytes", mebibytes, COST),
];

/// Two results beside each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where A was read.
    pub a: String,
    /// Where B was read.
    pub b: String,
    /// In which fields A and B differ that a comparison rests on, and what else to mind; sentences.
    pub warnings: Vec<String>,
    /// Each group size that both have.
    pub cells: Vec<Compared>,
}

/// One group size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Members of a group; of A, where the two differ.
    pub group: u64,
    /// Figures that both have.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, as in a summary.
    pub figure: String,
    /// Of A.
    pub a: Spread,
    /// Of B.
    pub b: Spread,
    /// B over A; none where one is 0.
    pub ratio: Option<Ratio>,
    /// `faster`, `slower`, `less`, `more`, `no difference shown`, `too few repeats`, or `measured once`: of a figure that
    /// no number of repeats measures again.
    pub verdict: String,
}

/// Compares two stored results and prints the table.
///
/// # Errors
/// [`RunError::Usage`]: one of them is no result, or the JSON file cannot be opened. [`RunError::Report`]: it could not be
/// written, or nothing can be printed.
pub fn compare(a: &Path, b: &Path, json: Option<&Path>) -> Result<(), RunError> {
    let comparison = Comparison::of((a, &load(a)?), (b, &load(b)?))?;
    let written = json.map_or(Ok(()), |path| JsonFile::open(path)?.write(&comparison));
    print(&comparison.render()).and(written)
}

/// Prints what a run or an experiment has printed.
///
/// # Errors
/// As [`compare`].
pub fn show(path: &Path) -> Result<(), RunError> {
    if !path.is_dir() {
        return print(&rendered(path)?);
    }
    let kept = |name: &str| std::fs::read_to_string(path.join(name)).ok();
    let mut text = kept("report.txt").unwrap_or_default();
    if text.is_empty() {
        let runs = runs(path)?.into_iter().map(|run| rendered(&run));
        text = runs.collect::<Result<Vec<String>, RunError>>()?.join("\n");
    }
    if let Some(sentence) = kept("failure.txt") {
        writeln!(
            text,
            "{}It ended with an error: {}",
            if text.is_empty() { "" } else { "\n" },
            sentence.trim()
        )
        .expect("a string takes it");
    }
    if text.is_empty() {
        load(path)?;
    }
    print(&text)
}

/// The report of a stored run.
fn rendered(path: &Path) -> Result<String, RunError> {
    let whole = load::read(path)?;
    let schema = whole["schema"].as_str().unwrap_or("none").to_owned();
    let refused = |why: &str| RunError::Usage(format!("{} {why}", path.display()));
    if schema != result::SCHEMA {
        return Err(refused(&format!(
            "is of schema {schema}; give a folder, or a run of {}",
            result::SCHEMA
        )));
    }
    let result: RunResult = serde_json::from_value(whole)
        .map_err(|error| refused(&format!("is of another version of this program: {error}")))?;
    Ok(report::render(&result))
}

/// The runs of a folder, by number.
fn runs(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let refused = |error| RunError::Usage(format!("{}: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(refused)?.flatten();
    let mut runs: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("run-")?.strip_suffix(".json")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    runs.sort();
    Ok(runs.into_iter().map(|(_, path)| path).collect())
}

impl Comparison {
    fn of(a: (&Path, &[Side]), b: (&Path, &[Side])) -> Result<Comparison, RunError> {
        let pairs: Vec<(&Side, &Side)> = match (a.1, b.1) {
            ([one], [other]) => vec![(one, other)],
            (of_a, of_b) => of_a
                .iter()
                .filter_map(|one| Some((one, of_b.iter().find(|other| other.group == one.group)?)))
                .collect(),
        };
        if pairs.is_empty() {
            let (a, b) = (a.0.display(), b.0.display());
            return Err(RunError::Usage(format!("{a} and {b} have no group size in common")));
        }
        let left_out = a.1.len() + b.1.len() - 2 * pairs.len();
        let mut warnings: Vec<String> = Vec::new();
        if left_out > 0 {
            warnings.push(format!("{left_out} group sizes are in one of the two only, and left out"));
        }
        if pairs.iter().any(|(one, other)| one.delivery() != other.delivery()) {
            let sentence = "one is of shares and the other of answers: what is told of one share is left out";
            warnings.push(sentence.into());
        }
        warnings.extend(differences("plans", &pairs, |side| &side.plan));
        warnings.extend(differences("environments", &pairs, |side| &side.environment));
        for (name, failures) in [
            ("A", pairs.iter().map(|(one, _)| one.failures).sum::<usize>()),
            ("B", pairs.iter().map(|(_, other)| other.failures).sum()),
        ] {
            if failures > 0 {
                warnings
                    .push(format!("{name} failed {failures} checks: its figures may be of another thing"));
            }
        }
        Ok(Comparison {
            schema: SCHEMA.into(),
            a: a.0.display().to_string(),
            b: b.0.display().to_string(),
            warnings,
            cells: pairs
                .iter()
                .map(|(one, other)| Compared { group: one.group, rows: rows(one, other) })
                .collect(),
        })
    }

    fn render(&self) -> String {
        let mut text = format!("A: {}\nB: {}\n", self.a, self.b);
        self.warnings.iter().for_each(|warning| line(&mut text, &format!("Mind: {warning}.")));
        for cell in &self.cells {
            line(&mut text, &format!("\nGroups of {}", thousands(cell.group)));
            let head = ["A", "B", "B/A", "95% interval", "n"];
            line(&mut text, &columns("", &head.map(str::to_owned), "verdict"));
            cell.rows.iter().for_each(|row| line(&mut text, &row.render()));
        }
        let rows = || self.cells.iter().flat_map(|cell| &cell.rows);
        if rows().any(|row| row.verdict == TOO_FEW) {
            line(
                &mut text,
                &format!(
                    "\nToo few repeats for an interval: give local or sweep --repeats {REPEATS_MIN} or more for both."
                ),
            );
        }
        line(
            &mut text,
            "\nA and B are medians over the repeats; B/A is of geometric means, its interval by Welch's test on \
             logarithms.\nEach row is tested alone: of twenty figures that do not differ, about one looks as if it did.",
        );
        text
    }
}

/// The figures of both sides.
fn rows(a: &Side, b: &Side) -> Vec<Row> {
    let row = |Shown { figure, words, .. }: &Shown| {
        let (of_a, of_b) = (a.figures.get(*figure)?, b.figures.get(*figure)?);
        let ratio = Ratio::of(of_a, of_b);
        let verdict = match ratio.map(|ratio| ratio.differs()) {
            Some(Some(Ordering::Less)) => words[0],
            Some(Some(Ordering::Greater)) => words[1],
            Some(None) if figure.starts_with(MEASURED_ONCE) => "measured once",
            Some(None) => TOO_FEW,
            Some(Some(Ordering::Equal)) | None => "no difference shown",
        };
        Some(Row {
            figure: (*figure).into(),
            a: Spread::of(of_a)?,
            b: Spread::of(of_b)?,
            ratio,
            verdict: verdict.into(),
        })
    };
    let is_same = a.delivery() == b.delivery();
    ROWS.iter().filter(|shown| is_same || !OF_ONE.contains(&shown.figure)).filter_map(row).collect()
}

impl Row {
    fn render(&self) -> String {
        let known = ROWS.iter().find(|shown| shown.figure == self.figure);
        let form = known.map_or(three_places as fn(f64) -> String, |shown| shown.form);
        let name = known.map_or(self.figure.as_str(), |shown| shown.name);
        let ratio = self.ratio.map_or_else(|| "-".into(), |ratio| format!("{:.3}", ratio.ratio));
        let interval = self.ratio.and_then(|ratio| ratio.interval);
        let interval = interval.map_or_else(|| "-".into(), |[low, high]| format!("{low:.3} .. {high:.3}"));
        let n = format!("{}, {}", self.a.n, self.b.n);
        columns(name, &[form(self.a.median), form(self.b.median), ratio, interval, n], &self.verdict)
    }
}

fn columns(name: &str, figures: &[String; 5], verdict: &str) -> String {
    let [a, b, ratio, interval, n] = figures;
    format!("{name:<24}{a:>14}{b:>14}{ratio:>9}{interval:>18}{n:>8}  {verdict}")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The fields in which the two sides of any pair differ, in one sentence.
fn differences(what: &str, pairs: &[(&Side, &Side)], of: fn(&Side) -> &Value) -> Option<String> {
    let mut fields = BTreeSet::new();
    for (a, b) in pairs {
        let (a, b) = (leaves(of(a)), leaves(of(b)));
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names.into_iter().filter(|name| a.get(*name) != b.get(*name)) {
            let told =
                |side: &BTreeMap<String, Value>| side.get(name).map_or("nothing".into(), Value::to_string);
            fields.insert(format!("{name} ({} and {})", told(&a), told(&b)));
        }
    }
    let fields: Vec<String> = fields.into_iter().collect();
    (!fields.is_empty()).then(|| format!("the {what} differ in {}", fields.join(", ")))
}

/// Every value by its path.
fn leaves(of: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    collect("", of, &mut all);
    all
}

fn collect(path: &str, of: &Value, into: &mut BTreeMap<String, Value>) {
    match of {
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, value)| collect(&format!("{path}{dot}{name}"), value, into));
        }
        leaf => {
            into.insert(path.into(), leaf.clone());
        }
    }
}

fn us(value: f64) -> String {
    micros(Some(value))
}

fn whole(value: f64) -> String {
    thousands(value.max(0.0) as u64)
}

fn one_place(value: f64) -> String {
    format!("{value:.1}")
}

fn three_places(value: f64) -> String {
    format!("{value:.3}")
}

fn mebibytes(value: f64) -> String {
    memory(value.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{figures, value};

    /// Runs of the stored sample with these round times and rates.
    fn side(rounds: &[f64], change: impl Fn(&mut Side)) -> Side {
        let whole = value(&crate::result::tests::sample());
        let mut side = Side {
            group: 130,
            plan: whole["plan"].clone(),
            environment: whole["environment"].clone(),
            failures: 0,
            figures: figures(&whole)
                .into_iter()
                .map(|(name, value)| (name, vec![value; rounds.len()]))
                .collect(),
        };
        side.figures.insert("round_seconds.p50".into(), rounds.to_vec());
        side.figures.insert("shares_per_s".into(), rounds.iter().map(|round| 100.0 / round).collect());
        change(&mut side);
        side
    }

    fn compared(a: &Side, b: &Side) -> Comparison {
        let (a, b) = (std::slice::from_ref(a), std::slice::from_ref(b));
        Comparison::of((Path::new("a"), a), (Path::new("b"), b)).unwrap()
    }

    fn verdict<'a>(comparison: &'a Comparison, figure: &str) -> &'a str {
        let rows = &comparison.cells[0].rows;
        &rows.iter().find(|row| row.figure == figure).unwrap().verdict
    }

    const SLOW: [f64; 3] = [0.020, 0.021, 0.019];
    const FAST: [f64; 3] = [0.010, 0.0105, 0.0095];

    #[test]
    fn times_and_rates_have_their_verdicts() {
        let comparison = compared(&side(&SLOW, |_| ()), &side(&FAST, |_| ()));
        assert_eq!(verdict(&comparison, "round_seconds.p50"), "faster");
        assert_eq!(verdict(&comparison, "shares_per_s"), "faster");
        assert_eq!(verdict(&comparison, "server_cpu_ns_per_share"), "no difference shown");
        assert_eq!(comparison.warnings, Vec::<String>::new());
        let text = comparison.render();
        assert!(
            text.contains("round time p50") && text.contains("0.500") && !text.contains("Mind"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 132), "{text}");
        let back = compared(&side(&FAST, |_| ()), &side(&SLOW, |_| ()));
        assert_eq!(verdict(&back, "round_seconds.p50"), "slower");
        assert_eq!(verdict(&back, "shares_per_s"), "slower");
    }

    #[test]
    fn too_few_repeats_are_said_to_be() {
        let comparison = compared(&side(&SLOW[..2], |_| ()), &side(&FAST, |_| ()));
        assert_eq!(verdict(&comparison, "round_seconds.p50"), "too few repeats");
        assert!(comparison.render().contains("--repeats 3"));
    }

    #[test]
    fn what_is_measured_once_by_design_asks_for_no_more_repeats() {
        let once = |side: &mut Side| {
            side.figures.insert("roof.server_cpu_ratio".into(), vec![1.25]);
        };
        let comparison = compared(&side(&SLOW, once), &side(&FAST, once));
        assert_eq!(verdict(&comparison, "roof.server_cpu_ratio"), "measured once");
        assert!(!comparison.render().contains("Too few repeats"), "{}", comparison.render());
        let few = compared(&side(&SLOW[..1], once), &side(&FAST, once));
        assert!(few.render().contains("Too few repeats"), "{}", few.render());
    }

    #[test]
    fn fields_that_differ_are_named() {
        let other = side(&FAST, |side| {
            side.plan["seed"] = 7.into();
            side.plan["link"]["mtu"] = 9_000.into();
            side.environment["kernel"] = "Linux 1".into();
            side.failures = 2;
        });
        let warnings = compared(&side(&SLOW, |_| ()), &other).warnings;
        assert_eq!(warnings[0], "the plans differ in link.mtu (1500 and 9000), seed (1 and 7)");
        assert!(warnings[1].starts_with("the environments differ in kernel ("), "{warnings:?}");
        assert!(warnings[2].starts_with("B failed 2 checks"), "{warnings:?}");
    }

    #[test]
    fn a_share_is_not_compared_with_an_answer() {
        let answered = side(&FAST, |side| side.plan["delivery"] = "answer".into());
        let comparison = compared(&side(&SLOW, |_| ()), &answered);
        let told: Vec<&str> = comparison.cells[0].rows.iter().map(|row| row.figure.as_str()).collect();
        assert!(told.contains(&"round_seconds.p50"), "{told:?}");
        assert!(OF_ONE.iter().all(|figure| !told.contains(figure)), "{told:?}");
        assert!(comparison.warnings[0].starts_with("one is of shares"), "{:?}", comparison.warnings);
        let same = compared(&answered, &answered);
        assert_eq!(verdict(&same, "shares_per_s"), "no difference shown");
        // A result from before there were answers is of shares.
        let old = side(&SLOW, |side| drop(side.plan.as_object_mut().unwrap().remove("delivery")));
        assert_eq!(verdict(&compared(&old, &side(&FAST, |_| ())), "shares_per_s"), "faster");
    }

    #[test]
    fn sweeps_are_compared_where_they_have_the_same_groups() {
        let at = |group| side(&SLOW, |side| side.group = group);
        let (a, b) = ([at(100), at(200)], [at(200), at(300)]);
        let comparison = Comparison::of((Path::new("a"), &a), (Path::new("b"), &b)).unwrap();
        assert_eq!(comparison.cells.iter().map(|cell| cell.group).collect::<Vec<_>>(), [200]);
        assert!(comparison.warnings[0].starts_with("2 group sizes"), "{:?}", comparison.warnings);
        let none = Comparison::of((Path::new("a"), &a), (Path::new("b"), &[at(7), at(8)]));
        assert!(matches!(none, Err(RunError::Usage(_))));
    }
}
