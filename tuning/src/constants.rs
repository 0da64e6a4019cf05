//! What was measured on a machine, and the file that keeps it.
//!
//! Schema `twincast-constants/1`. All times are CPU time of one core. `PLAN.md` says how each is measured.

use crate::TuneError;
use crate::file::JsonFile;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-constants/1";

/// Signatures of the batch that [`Constants::verify_us`] is measured with.
pub const VERIFY_BATCH: u32 = 512;

const REMEDY: &str =
    "measure this machine with --measure (some seconds), or name a file with --constants FILE";

/// What one core of a machine takes for each piece of the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where and when.
    pub origin: Origin,
    /// The answer kernel, for one or more numbers of queries, ascending.
    pub kernel: Vec<KernelRate>,
    /// Verifying one signature of a batch of [`VERIFY_BATCH`], microseconds.
    pub verify_us: f64,
    /// Verifying one signature alone, microseconds.
    pub verify_one_us: f64,
    /// Signing, microseconds.
    pub sign_us: f64,
    /// Sealing a record's frame, microseconds.
    pub seal_us: f64,
    /// Opening it, microseconds.
    pub open_us: f64,
    /// Hashing a record, microseconds.
    pub digest_us: f64,
    /// Reading one answer into a buffer of the egress, nanoseconds.
    pub answer_gather_ns: f64,
    /// Gathering cells of a broadcast tile into such a buffer, 10^9 bytes a second.
    pub gather_gb_per_s: f64,
    /// Making a broadcast message's shares for both servers, microseconds.
    pub split_us: f64,
    /// Decoding and verifying one cell of a broadcast tile, nanoseconds.
    pub decode_ns: f64,
    /// Sending 10^9 bytes of a ready buffer over loopback, seconds of the sending thread.
    pub send_cpu_s_per_gb: f64,
    /// The same of the receiving thread, which discards them.
    pub receive_cpu_s_per_gb: f64,
    /// What one plain sender reached over loopback by the clock, 10^9 bytes a second: a roof, in no formula.
    pub plain_send_gb_per_s: f64,
    /// Sending one answer to one of many connections through a server's egress engine, microseconds of its thread.
    pub server_send_us: f64,
    /// Taking one submission from one of many connections as a server's front does, microseconds of its thread.
    pub server_receive_us: f64,
    /// Sending one submission to one of many connections with a plain `send`, microseconds.
    pub member_send_us: f64,
    /// Taking one answer from one of many connections as a client host does, microseconds of its thread.
    pub member_receive_us: f64,
}

/// The answer kernel on one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRate {
    /// Queries of the group, n * K, that this stands for: what a core reaches hangs on their number.
    pub queries: u64,
    /// How many of them were there when it was measured.
    pub queries_measured: u64,
    /// Records of the table.
    pub records: u64,
    /// How many of them were there: whole tiles, each of which takes the same.
    pub records_measured: u64,
    /// Logical work, queries * records * record bytes over the time, 10^9 bytes a second.
    pub gb_per_s: f64,
    /// Which instructions: `portable`, `avx2` or `avx512`.
    pub instructions: String,
}

/// Where constants come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The processor's name for itself.
    pub cpu: String,
    /// Kernel name and release.
    pub kernel: String,
    /// Cores that the measuring process could use.
    pub cores: u64,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// When, UTC.
    pub time: String,
    /// Version of the workspace.
    pub version: String,
    /// Commit of the tree that the binary was built from.
    pub git_commit: String,
    /// Whether the binary was built with optimisation; else the figures are of no use but for tests.
    pub optimised: bool,
}

impl Origin {
    /// This machine, now.
    #[must_use]
    pub fn here() -> Origin {
        let environment = twincast_loadgen::environment::Environment::of_this_machine("none", 0);
        Origin {
            cpu: environment.cpu,
            kernel: environment.kernel,
            cores: environment.cores,
            memory_bytes: crate::memory::of_this_machine(),
            time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: environment.versions.twincast,
            git_commit: environment.git_commit,
            optimised: !cfg!(debug_assertions),
        }
    }

    /// Whether another machine's measurements are like this one's.
    #[must_use]
    pub fn is_same_processor(&self, other: &Origin) -> bool {
        self.cpu == other.cpu
    }
}

impl KernelRate {
    /// Whether it was measured for just so many queries, all of them and the whole table.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.queries == self.queries_measured && self.records == self.records_measured
    }
}

impl Constants {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TuneError::Usage`]: there is none, or it holds something else; the sentence ends with the remedy.
    pub fn load(path: &Path) -> Result<Constants, TuneError> {
        let refused = |what: String| TuneError::Usage(format!("{}: {what}; {REMEDY}", path.display()));
        let text = std::fs::read(path).map_err(|error| {
            refused(match error.kind() {
                std::io::ErrorKind::NotFound => "there are no constants of this machine".into(),
                _ => error.to_string(),
            })
        })?;
        Constants::parse(&text).map_err(refused)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// A phrase: it is no JSON, of another schema, or a figure in it cannot be.
    pub fn parse(text: &[u8]) -> Result<Constants, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_slice(text).map_err(|error| format!("no constants ({error})"))?;
        if head.schema != SCHEMA {
            return Err(format!("constants of schema {}, and this program reads {SCHEMA}", head.schema));
        }
        let constants: Constants =
            serde_json::from_slice(text).map_err(|error| format!("no constants ({error})"))?;
        match constants.nonsense() {
            Some(name) => Err(format!("its {name} is no such figure")),
            None => Ok(constants),
        }
    }

    /// Puts them in the place of what the file had.
    pub(crate) fn store(&self, file: &JsonFile) -> Result<(), TuneError> {
        file.write(self)
    }

    /// The kernel's rate that was measured nearest to so many queries, by their ratio.
    #[must_use]
    pub fn kernel(&self, queries: u64) -> &KernelRate {
        let distance = |rate: &&KernelRate| (rate.queries as f64 / queries.max(1) as f64).ln().abs();
        let nearest = self.kernel.iter().min_by(|one, two| distance(one).total_cmp(&distance(two)));
        nearest.expect("constants have a rate at least")
    }

    /// Verifying one signature of a batch of so many, microseconds: what a batch has once for all its signatures is
    /// spread over them, and the rest is each one's own, so that batches of 1 and of [`VERIFY_BATCH`] are as measured.
    #[must_use]
    pub fn verify_us_of(&self, batch: f64) -> f64 {
        let most = f64::from(VERIFY_BATCH);
        let once = (self.verify_one_us - self.verify_us) * most / (most - 1.0);
        self.verify_one_us - once + once / batch.clamp(1.0, most)
    }

    /// The name of a figure that cannot be.
    fn nonsense(&self) -> Option<&'static str> {
        let rates = self.kernel.iter().map(|rate| ("kernel.gb_per_s", rate.gb_per_s));
        let figures = [
            ("verify_us", self.verify_us),
            ("verify_one_us", self.verify_one_us),
            ("sign_us", self.sign_us),
            ("seal_us", self.seal_us),
            ("open_us", self.open_us),
            ("digest_us", self.digest_us),
            ("answer_gather_ns", self.answer_gather_ns),
            ("gather_gb_per_s", self.gather_gb_per_s),
            ("split_us", self.split_us),
            ("decode_ns", self.decode_ns),
            ("send_cpu_s_per_gb", self.send_cpu_s_per_gb),
            ("receive_cpu_s_per_gb", self.receive_cpu_s_per_gb),
            ("plain_send_gb_per_s", self.plain_send_gb_per_s),
            ("server_send_us", self.server_send_us),
            ("server_receive_us", self.server_receive_us),
            ("member_send_us", self.member_send_us),
            ("member_receive_us", self.member_receive_us),
        ];
        let is_bad = |figure: &f64| !(figure.is_finite() && *figure > 0.0);
        if self.kernel.is_empty() || self.kernel.iter().any(|rate| rate.queries == 0) {
            return Some("kernel");
        }
        figures.into_iter().chain(rates).find(|(_, figure)| is_bad(figure)).map(|(name, _)| name)
    }
}

/// Where constants are kept unless the command line says otherwise: `$XDG_STATE_HOME/twincast/constants.json`, or below
/// `~/.local/state`.
///
/// # Errors
/// [`TuneError::Usage`]: the environment names neither.
pub fn default_path() -> Result<PathBuf, TuneError> {
    path_in(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))
}

type Variable = Option<std::ffi::OsString>;

fn path_in(state: Variable, home: Variable) -> Result<PathBuf, TuneError> {
    // The specification has relative paths ignored.
    let absolute = |variable: Variable| variable.map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute(state).or_else(|| absolute(home).map(|home| home.join(".local/state")));
    state.map(|state| state.join("twincast/constants.json")).ok_or_else(|| {
        TuneError::Usage(
            "neither XDG_STATE_HOME nor HOME is set, so there is no place for constants; name one with \
             --constants FILE"
                .into(),
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Constants in round figures, of no machine.
    pub(crate) fn constants() -> Constants {
        let rate = |queries, gb_per_s| KernelRate {
            queries,
            queries_measured: queries,
            records: queries,
            records_measured: queries,
            gb_per_s,
            instructions: "avx2".into(),
        };
        Constants {
            schema: SCHEMA.into(),
            origin: Origin {
                cpu: "Some CPU".into(),
                kernel: "Linux 6.1".into(),
                cores: 2,
                memory_bytes: 16 << 30,
                time: "2026-01-02T03:04:05Z".into(),
                version: "0.1.0".into(),
                git_commit: "unknown".into(),
                optimised: true,
            },
            kernel: vec![rate(1_000, 100.0), rate(10_000, 200.0), rate(100_000, 160.0)],
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
    fn constants_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("constants.json");
        constants().store(&JsonFile::open("--constants", &path).unwrap()).unwrap();
        assert_eq!(Constants::load(&path).unwrap(), constants());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_constants_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("constants.json");
        let refusal = || Constants::load(&path).unwrap_err().to_string();
        assert!(
            refusal().contains("there are no constants of this machine; measure this machine with --measure")
        );
        let other = Constants { schema: "twincast-constants/2".into(), ..constants() };
        let mut unknown = serde_json::to_value(constants()).unwrap();
        unknown["more"] = 1.into();
        for (value, said) in [
            (serde_json::to_value(other).unwrap(), "of schema twincast-constants/2"),
            (unknown, "unknown field `more`"),
            (serde_json::json!([1]), "no constants"),
            (serde_json::json!({"schema": SCHEMA}), "missing field"),
            (serde_json::to_value(Constants { sign_us: 0.0, ..constants() }).unwrap(), "its sign_us"),
            (serde_json::to_value(Constants { decode_ns: -1.0, ..constants() }).unwrap(), "its decode_ns"),
            (serde_json::to_value(Constants { kernel: vec![], ..constants() }).unwrap(), "its kernel"),
        ] {
            std::fs::write(&path, value.to_string()).unwrap();
            assert!(refusal().contains(said) && refusal().ends_with(REMEDY), "{said}: {}", refusal());
        }
        std::fs::write(&path, "{").unwrap();
        assert!(refusal().contains("no constants (EOF"));
    }

    #[test]
    fn the_nearest_rate_is_taken() {
        let constants = constants();
        let rate = |queries| constants.kernel(queries).queries;
        assert_eq!(
            [1, 1_000, 3_000, 4_000, 10_000, 31_000, 32_000, 1_000_000].map(rate),
            [1_000, 1_000, 1_000, 10_000, 10_000, 10_000, 100_000, 100_000]
        );
    }

    #[test]
    fn a_signature_is_cheaper_in_a_larger_batch() {
        let constants = constants();
        let near =
            |batch: f64, us: f64| assert!((constants.verify_us_of(batch) - us).abs() < 1e-9, "{batch}");
        // Batches of two share what a batch has once: almost the whole of the difference.
        let once = 20.0 * 512.0 / 511.0;
        for (batch, us) in [(1.0, 40.0), (2.0, 40.0 - once / 2.0), (512.0, 20.0), (9_999.0, 20.0)] {
            near(batch, us);
        }
    }

    #[test]
    fn the_place_is_what_the_environment_says() {
        let path = |state: &str, home: &str| {
            let set = |text: &str| (!text.is_empty()).then(|| text.into());
            path_in(set(state), set(home))
                .map(|path| path.display().to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(path("/s", "/h").unwrap(), "/s/twincast/constants.json");
        assert_eq!(path("", "/h").unwrap(), "/h/.local/state/twincast/constants.json");
        assert_eq!(path("relative", "/h").unwrap(), "/h/.local/state/twincast/constants.json");
        assert!(path("", "").unwrap_err().contains("--constants FILE"));
    }
}
