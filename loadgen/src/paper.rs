//! The paper's experiments: what they are, their runs, and the report of them.
//!
//! [`experiments`] says what is run at which scale, `run` runs it and collects [`outcome`]s, [`figures`] makes points of
//! them, [`figure`] draws them and [`html`] writes the report. [`model`] is everything that is said without being run.
//!
//! The paper is Bowers, Du, Lin and Jiang, ASIA CCS 2022. Its text is not at hand here: what each figure shows follows
//! from how this project describes it, and captions are in words of our own.

pub mod experiments;
pub mod figure;
pub mod figures;
pub mod headline;
pub mod html;
pub mod model;
pub mod outcome;
pub mod point;
mod run;
mod store;

pub use experiments::{FigureName, Scale};
pub(crate) use run::run;

use crate::environment::Environment;
use crate::net::Link;
use experiments::LeftOut;
use headline::Headline;
use outcome::Done;
use point::{Figure, Panel};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The schema of `paper.json`, its name and version.
pub const SCHEMA: &str = "twincast-paper/1";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// How much.
    pub scale: Scale,
    /// The link of every server and host.
    pub link: Link,
    /// The folder for everything; none: `results/<time>-paper-<scale>`.
    pub out: Option<PathBuf>,
    /// These figures.
    pub only: Vec<FigureName>,
}

/// Everything that was run and what follows from it: what `paper.json` holds and the report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paper {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it began, UTC.
    pub time: String,
    /// The command that makes it again.
    pub command: String,
    /// How much was run.
    pub scale: Scale,
    /// The link of every server and host.
    pub link: Link,
    /// Where.
    pub environment: Environment,
    /// The one table.
    pub headline: Headline,
    /// The one plot.
    pub headline_plot: Panel,
    /// The paper's figures.
    pub figures: Vec<Figure>,
    /// Every run with its whole result.
    pub runs: Vec<Done>,
    /// What was not run from the start.
    pub left_out: Vec<LeftOut>,
    /// What failed, a sentence each; empty: nothing did.
    pub failures: Vec<String>,
    /// Seconds that were expected.
    pub estimate_s: f64,
    /// Seconds that it took.
    pub seconds: f64,
}
