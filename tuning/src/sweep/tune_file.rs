//! The table `[tune]` of a plan file: how long is searched, and among what.

use super::knobs::{Knob, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::{Spanned, Value as Toml};
use twincast_protocol::receive::TILE_SENDERS;
use twincast_ring::{SLAB_BYTES_MAX, SLAB_BYTES_MIN, SLABS_MAX};
use twincast_server::config::{Cores, CoresNamed, ZeroCopy};
use twincast_server::limits::{SEND_BUFFER_BYTES_MAX, SEND_BUFFER_BYTES_MIN, THREADS_MAX};

/// Seconds that a search takes unless somebody says otherwise.
pub const BUDGET_S_DEFAULT: f64 = 300.0;
/// The longest: a week.
pub const BUDGET_S_MAX: f64 = 604_800.0;
/// Rounds of a run of the first rung.
pub const ROUNDS_DEFAULT: u32 = 3;
/// The most.
pub const ROUNDS_MAX: u32 = 10_000;
/// One of so many goes on to the next rung, which has so many times the rounds.
pub const ETA_DEFAULT: u32 = 3;
/// The most.
pub const ETA_MAX: u32 = 10;
/// The fewest pairs of runs of the final comparison: from five on an interval says something.
pub const REPEATS_MIN: u32 = 5;
/// The most.
pub const REPEATS_MAX: u32 = 100;
/// The most pairs of that comparison, if nobody says otherwise: four times as many would halve the interval.
pub const REPEATS_MAX_DEFAULT: u32 = 40;
/// The most values of a knob.
pub const VALUES_MAX: usize = 64;
/// The largest threshold: nothing is ever sent without a copy.
const ZERO_COPY_BYTES_MAX: u64 = 1 << 30;

const KEYS: [&str; 8] =
    ["budget_seconds", "seed", "rounds", "eta", "repeats", "repeats_max", "objective", "values"];

/// What the best settings are best at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The least median round, in seconds.
    #[default]
    Round,
    /// The most shares (answers) for each CPU second of both servers.
    SharesPerCpuS,
}

/// How a search goes about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Seconds that it may take, the final comparison included.
    pub budget_s: f64,
    /// What is drawn and shuffled follows from it.
    pub seed: u64,
    /// Rounds of a run of the first rung.
    pub rounds: u32,
    /// One of so many goes on to the next rung, which has so many times the rounds.
    pub eta: u32,
    /// Pairs of runs of the final comparison; more, if the budget has room.
    pub repeats: u32,
    /// The most pairs, whatever is left of the budget.
    pub repeats_max: u32,
    /// What is looked at.
    pub objective: Objective,
}

/// Values by knob, of those that the file names.
pub type Named = BTreeMap<Knob, Vec<Value>>;

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneFile {
    /// How.
    pub settings: Settings,
    /// Among what.
    pub named: Named,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            budget_s: BUDGET_S_DEFAULT,
            seed: 1,
            rounds: ROUNDS_DEFAULT,
            eta: ETA_DEFAULT,
            repeats: REPEATS_MIN,
            repeats_max: REPEATS_MAX_DEFAULT,
            objective: Objective::Round,
        }
    }
}

/// As much of the file as is of interest here. Twice, since only what is asked for by type has a place in the text.
#[derive(Deserialize)]
struct Tables {
    tune: Option<BTreeMap<Spanned<String>, Spanned<Toml>>>,
}

#[derive(Deserialize)]
struct ValueTables {
    tune: Option<ValueTable>,
}

#[derive(Deserialize)]
struct ValueTable {
    values: Option<BTreeMap<Spanned<String>, Spanned<Toml>>>,
}

/// What is wrong, and where.
type Problem = (Range<usize>, String);

/// Reads the table of a file that the load generator has read.
///
/// # Errors
/// A sentence with the file, the line and the key.
pub fn read(path: &Path) -> Result<TuneFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    of(&text).map_err(|(span, what)| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        format!("{}:{line}: {what}", path.display())
    })
}

fn of(text: &str) -> Result<TuneFile, Problem> {
    let broken = |error: toml::de::Error| {
        (error.span().unwrap_or(0..0), error.message().replace('\n', " ").trim().to_owned())
    };
    let tables: Tables = toml::from_str(text).map_err(broken)?;
    let mut settings = Settings::default();
    for (key, value) in tables.tune.iter().flatten() {
        put(&mut settings, key, value)?;
    }
    let (least, most) = (settings.repeats, &mut settings.repeats_max);
    if *most < least {
        match tables.tune.iter().flatten().find(|(key, _)| key.get_ref() == "repeats_max") {
            Some((_, value)) => {
                let what = format!("tune.repeats_max: give at least repeats, which is {least}");
                return Err((value.span(), what));
            }
            // Only the usual one is below what was asked for.
            None => *most = least,
        }
    }
    let tables: ValueTables = toml::from_str(text).map_err(broken)?;
    let mut named = Named::new();
    for (key, values) in tables.tune.and_then(|tune| tune.values).iter().flatten() {
        let knob = Knob::named(key.get_ref()).ok_or_else(|| (key.span(), unknown_knob(key.get_ref())))?;
        let read = all(knob, values.get_ref())
            .map_err(|what| (values.span(), format!("tune.values.{knob}: {what}")))?;
        named.insert(knob, read);
    }
    Ok(TuneFile { settings, named })
}

fn put(settings: &mut Settings, key: &Spanned<String>, value: &Spanned<Toml>) -> Result<(), Problem> {
    let name = key.get_ref().as_str();
    let bad = |what: String| (value.span(), format!("tune.{name}: {what}"));
    let within = |least: u32, most: u32| {
        let number = value.get_ref().as_integer().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| bad(format!("give a whole number from {least} to {most}")))
    };
    match name {
        "budget_seconds" => {
            let seconds = value.get_ref().as_float();
            let seconds = seconds.or_else(|| value.get_ref().as_integer().map(|seconds| seconds as f64));
            settings.budget_s = seconds
                .ok_or_else(|| bad("give a number of seconds".into()))
                .and_then(|seconds| budget(seconds).map_err(bad))?;
        }
        "seed" => {
            let seed = value.get_ref().as_integer().and_then(|seed| u64::try_from(seed).ok());
            settings.seed = seed.ok_or_else(|| bad("give a whole number, 0 or more".into()))?;
        }
        "rounds" => settings.rounds = within(1, ROUNDS_MAX)?,
        "eta" => settings.eta = within(2, ETA_MAX)?,
        "repeats" => settings.repeats = within(REPEATS_MIN, REPEATS_MAX)?,
        "repeats_max" => settings.repeats_max = within(REPEATS_MIN, REPEATS_MAX)?,
        "objective" => {
            settings.objective = match value.get_ref().as_str() {
                Some("round") => Objective::Round,
                Some("shares_per_cpu_s") => Objective::SharesPerCpuS,
                _ => return Err(bad("give \"round\" or \"shares_per_cpu_s\"".into())),
            };
        }
        "values" if value.get_ref().is_table() => {}
        "values" => return Err(bad(format!("give a table [tune.values] with {}", knobs()))),
        _ if Knob::named(name).is_some() => {
            return Err((key.span(), format!("`{name}` belongs into [tune.values]")));
        }
        _ if is_tile(name) => return Err((key.span(), unknown_knob(name))),
        _ => {
            let known = KEYS.join(", ");
            return Err((key.span(), format!("unknown key `{name}` in [tune]; known are {known}")));
        }
    }
    Ok(())
}

/// Whether so many seconds can be a budget.
///
/// # Errors
/// What would be right.
pub fn budget(seconds: f64) -> Result<f64, String> {
    if seconds > 0.0 && seconds <= BUDGET_S_MAX {
        return Ok(seconds);
    }
    Err(format!("give more than 0 seconds, and at most {BUDGET_S_MAX}"))
}

fn is_tile(name: &str) -> bool {
    ["tile_senders", "tile_size", "tile"].contains(&name)
}

fn unknown_knob(name: &str) -> String {
    if is_tile(name) {
        return format!(
            "`{name}` is no knob: a tile is {TILE_SENDERS} senders, since a select word has {TILE_SENDERS} bits, and the \
             wire has it so; leave it out"
        );
    }
    format!("unknown knob `{name}` in [tune.values]; known are {}", knobs())
}

fn knobs() -> String {
    Knob::ALL.map(Knob::name).join(", ")
}

/// All values of a knob.
fn all(knob: Knob, values: &Toml) -> Result<Vec<Value>, String> {
    let values =
        values.as_array().ok_or_else(|| format!("give a list of values, as in {}", example(knob)))?;
    if values.len() > VALUES_MAX {
        return Err(format!("{} values are too many; give at most {VALUES_MAX}", values.len()));
    }
    values.iter().map(|value| one(knob, value)).collect()
}

fn one(knob: Knob, value: &Toml) -> Result<Value, String> {
    let refused = |bounds: String| format!("{value} cannot be; {bounds}, as in {}", example(knob));
    let within = |least: u64, most: u64| {
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        number
            .map(Value::Whole)
            .ok_or_else(|| refused(format!("values are whole numbers from {least} to {most}")))
    };
    match knob {
        Knob::FanOutThreads => within(1, THREADS_MAX as u64),
        Knob::FanOutCores => cores(value)
            .map(Value::Cores)
            .ok_or_else(|| refused("values are \"auto\", \"none\", or a list of different cores".into())),
        Knob::SlabBytes => {
            let (least, most) = (SLAB_BYTES_MIN as u64, SLAB_BYTES_MAX as u64);
            match within(least, most)? {
                Value::Whole(bytes) if bytes % least == 0 => Ok(Value::Whole(bytes)),
                _ => Err(refused(format!("values are multiples of {least}, at most {most}"))),
            }
        }
        Knob::SlabsPerConnection => {
            let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
            let number = number.filter(|number| *number > 0.0 && *number <= SLABS_MAX as f64);
            number
                .map(Value::Part)
                .ok_or_else(|| refused(format!("values are numbers above 0, at most {SLABS_MAX}")))
        }
        // How many users there are to connect is looked at where the plan is known.
        Knob::ConnectionsPerHost => within(1, u64::from(u32::MAX)),
        Knob::ZeroCopy => match value.as_str() {
            Some("auto") => Ok(Value::ZeroCopy(ZeroCopy::Auto)),
            Some("on") => Ok(Value::ZeroCopy(ZeroCopy::On)),
            Some("off") => Ok(Value::ZeroCopy(ZeroCopy::Off)),
            _ => Err(refused("values are \"auto\", \"on\" and \"off\"".into())),
        },
        Knob::ZeroCopyBytesMin => within(0, ZERO_COPY_BYTES_MAX),
        Knob::SendBufferBytes if value.as_integer() == Some(0) => Ok(Value::Whole(0)),
        Knob::SendBufferBytes => within(SEND_BUFFER_BYTES_MIN as u64, SEND_BUFFER_BYTES_MAX as u64)
            .map_err(|refusal| format!("{refusal}; 0 is the kernel's own choice")),
    }
}

fn cores(value: &Toml) -> Option<Cores> {
    match value {
        Toml::String(name) if name == "auto" => Some(Cores::Named(CoresNamed::Auto)),
        Toml::String(name) if name == "none" => Some(Cores::Named(CoresNamed::None)),
        Toml::Array(list) => {
            let cores: Option<Vec<usize>> =
                list.iter().map(|core| usize::try_from(core.as_integer()?).ok()).collect();
            let cores = cores.filter(|cores| !cores.is_empty() && cores.len() <= THREADS_MAX)?;
            let different = (1..cores.len()).all(|index| !cores[..index].contains(&cores[index]));
            different.then_some(Cores::List(cores))
        }
        _ => None,
    }
}

fn example(knob: Knob) -> &'static str {
    match knob {
        Knob::FanOutThreads => "fan_out_threads = [1, 2, 4]",
        Knob::FanOutCores => "fan_out_cores = [\"none\", \"auto\", [2, 3]]",
        Knob::SlabBytes => "slab_bytes = [65536, 262144]",
        Knob::SlabsPerConnection => "slabs_per_connection = [1, 2, 4]",
        Knob::ConnectionsPerHost => "connections_per_host = [1, 4]",
        Knob::ZeroCopy => "zero_copy = [\"auto\", \"on\", \"off\"]",
        Knob::ZeroCopyBytesMin => "zero_copy_bytes_min = [32768, 131072]",
        Knob::SendBufferBytes => "send_buffer_bytes = [0, 1048576]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_the_table_is_searched_as_usual() {
        let file = of("[run]\ngroup = 100\n").unwrap();
        assert_eq!(file, TuneFile { settings: Settings::default(), named: Named::new() });
    }

    #[test]
    fn everything_is_read() {
        let file =
            of("[tune]\nbudget_seconds = 60\nseed = 7\nrounds = 2\neta = 4\nrepeats = 6\nrepeats_max = 8\n\
             objective = \"shares_per_cpu_s\"\n[tune.values]\nfan_out_cores = [\"none\", \"auto\", [1, 0]]\n\
             slabs_per_connection = [0.5, 2]\nzero_copy = [\"on\"]\nsend_buffer_bytes = []\n")
            .unwrap();
        let settings = Settings {
            budget_s: 60.0,
            seed: 7,
            rounds: 2,
            eta: 4,
            repeats: 6,
            repeats_max: 8,
            objective: Objective::SharesPerCpuS,
        };
        assert_eq!(file.settings, settings);
        let cores = [Cores::Named(CoresNamed::None), Cores::Named(CoresNamed::Auto), Cores::List(vec![1, 0])];
        assert_eq!(file.named[&Knob::FanOutCores], cores.map(Value::Cores));
        assert_eq!(file.named[&Knob::SlabsPerConnection], [0.5, 2.0].map(Value::Part));
        assert!(file.named[&Knob::SendBufferBytes].is_empty(), "a knob that is left alone");
    }

    #[test]
    fn the_example_is_good_and_has_every_key() {
        let text = include_str!("../../sweep.example.toml");
        let file = of(text).unwrap();
        assert_eq!(file.named.keys().copied().collect::<Vec<_>>(), Knob::ALL);
        assert!(KEYS.iter().all(|key| text.contains(&format!("\n{key} =")) || *key == "values"), "{text}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line_and_the_remedy() {
        for (text, line, said) in [
            ("[tune]\nbudget = 3", 2, "unknown key `budget` in [tune]; known are budget_seconds, seed"),
            ("[tune]\nbudget_seconds = 0", 2, "tune.budget_seconds: give more than 0 seconds"),
            ("[tune]\nslab_bytes = [1]", 2, "`slab_bytes` belongs into [tune.values]"),
            ("[tune]\ntile_senders = 32", 2, "a tile is 64 senders, since a select word has 64 bits"),
            ("[tune]\n\n[tune.values]\ntile_senders = [32]", 4, "a tile is 64 senders"),
            (
                "[tune.values]\nslab = [1]",
                2,
                "unknown knob `slab` in [tune.values]; known are fan_out_threads",
            ),
            ("[tune.values]\nslab_bytes = 65536", 2, "give a list of values, as in slab_bytes = ["),
            ("[tune.values]\nslab_bytes = [5000]", 2, "multiples of 4096"),
            ("[tune.values]\nfan_out_cores = [[1, 1]]", 2, "a list of different cores"),
            ("[tune.values]\nfan_out_threads = [0]", 2, "whole numbers from 1 to 256"),
            ("[tune]\nrepeats = 2", 2, "whole number from 5 to 100"),
            (
                "[tune]\nrepeats = 9\nrepeats_max = 8",
                3,
                "tune.repeats_max: give at least repeats, which is 9",
            ),
            ("[tune]\nobjective = \"best\"", 2, "give \"round\" or \"shares_per_cpu_s\""),
            ("[tune]\nvalues = 1", 2, "give a table [tune.values] with fan_out_threads"),
        ] {
            let (span, what) = of(text).unwrap_err();
            assert!(what.contains(said), "{text}: {what}");
            assert_eq!(text[..span.start].matches('\n').count() + 1, line, "{text}: {what}");
        }
    }
}
