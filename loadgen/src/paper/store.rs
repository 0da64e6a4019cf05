//! The folder of the report: one page, each drawing, the data behind each, and everything as JSON.
//!
//! The folder is made, and found to have room, before anything is run. Until the report is whole, `paper.jsonl` has every
//! experiment that has ended, a line each; a coordinator that dies leaves them. Each file comes under its name when it is
//! whole.

use super::outcome::Done;
use super::point::Panel;
use super::{Order, Paper, figure, html};
use crate::coordinator::RunError;
use crate::limits::RESULTS_ROOM_BYTES;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The report's file.
pub(super) const PAGE: &str = "paper.html";
/// Everything, for a program.
const JSON: &str = "paper.json";
/// Every experiment that has ended, until everything is written.
const LINES: &str = "paper.jsonl";

/// Where everything goes.
pub(super) struct Store {
    folder: PathBuf,
    time: jiff::Timestamp,
    /// Whether the folder was not there before.
    is_new: bool,
}

impl Store {
    /// Makes the folder, before anything is run.
    ///
    /// # Errors
    /// [`RunError::Usage`]: it cannot be made, or has something in it.
    pub(super) fn create(order: &Order) -> Result<Store, RunError> {
        let time = jiff::Timestamp::now();
        let folder = order.out.clone().unwrap_or_else(|| {
            Path::new("results").join(format!("{}-paper-{}", time.strftime("%Y-%m-%dT%H%M%SZ"), order.scale))
        });
        let is_new = !folder.exists();
        let make = || {
            std::fs::create_dir_all(&folder)?;
            if std::fs::read_dir(&folder)?.next().is_some() {
                return Err(io::Error::other("there is something in it"));
            }
            // A folder that may be listed but not written to, or has no room, is found out now.
            let probe = folder.join("room");
            let room = std::fs::write(&probe, vec![0; RESULTS_ROOM_BYTES]);
            let removed = std::fs::remove_file(&probe);
            room.and(removed)
        };
        make().map_err(|error| {
            let folder = folder.display();
            RunError::Usage(format!(
                "--out {folder}: {error}; give a folder that is empty or can be made, and has room"
            ))
        })?;
        Ok(Store { folder, time, is_new })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// When it began, UTC.
    pub(super) fn time(&self) -> String {
        self.time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// Keeps an experiment that has ended.
    ///
    /// # Errors
    /// [`RunError::Report`] with the file's name; what was written before is kept.
    pub(super) fn keep(&self, done: &Done) -> Result<(), RunError> {
        let path = self.folder.join(LINES);
        let line = serde_json::to_string(done).expect("an experiment has no keys but strings") + "\n";
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|error| lost(&path, &error))
    }

    /// Removes the folder if no experiment came to a result that is in it.
    pub(super) fn remove_if_empty(&self) {
        let path = self.folder.join(LINES);
        let is_result = |line: &str| !line.contains("\"outcomes\":[]");
        let lines = std::fs::read_to_string(&path).unwrap_or_default();
        if !lines.lines().any(is_result) {
            let _ = std::fs::remove_file(path);
            if self.is_new {
                // It is removed only if nothing else is in it.
                let _ = std::fs::remove_dir(&self.folder);
            }
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`RunError::Report`] with the file's name; the experiments are in `paper.jsonl`.
    pub(super) fn write_all(&self, paper: &Paper) -> Result<(), RunError> {
        let json = serde_json::to_string_pretty(paper).expect("a report has no keys but strings");
        self.write(JSON, &(json + "\n"))?;
        for panel in panels(paper) {
            self.write(&format!("{}.svg", panel.id), &figure::svg(panel))?;
            self.write(&format!("{}.csv", panel.id), &csv(panel))?;
        }
        self.write(PAGE, &html::page(paper))?;
        // Nothing is in it that is not in the JSON.
        let _ = std::fs::remove_file(self.folder.join(LINES));
        Ok(())
    }

    /// A whole file, or none of its name: half a file would be read as a whole one.
    fn write(&self, name: &str, text: &str) -> Result<(), RunError> {
        let (path, half) = (self.folder.join(name), self.folder.join(format!("{name}.part")));
        let written = std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &path));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&half);
            lost(&path, &error)
        })
    }
}

fn lost(path: &Path, error: &io::Error) -> RunError {
    let sentence = format!("{}: {error}; what was written before is kept", path.display());
    RunError::Report(io::Error::new(error.kind(), sentence))
}

fn panels(paper: &Paper) -> impl Iterator<Item = &Panel> {
    let figures = paper.figures.iter().flat_map(|figure| &figure.panels);
    std::iter::once(&paper.headline_plot).chain(figures)
}

/// The data behind a drawing.
fn csv(panel: &Panel) -> String {
    let field = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = format!(
        "series,{},{},least,greatest,kind,repeats\n",
        field(&panel.x.label()),
        field(&panel.y.label())
    );
    for series in &panel.series {
        for point in &series.points {
            let kind = point.kind.words();
            let _ = writeln!(
                text,
                "{},{},{},{},{},{kind},{}",
                field(&series.name),
                point.x,
                point.y,
                point.low,
                point.high,
                point.repeats
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::point::{Axis, Kind, Look, Point, Series};

    #[test]
    fn a_line_of_the_data_is_a_point() {
        let series =
            Series::new("a \"b\", c", Look::Compact, vec![Point::worked_out(10.0, 0.5, Kind::Modelled)]);
        let panel = Panel {
            id: "p".into(),
            title: "P".into(),
            x: Axis::new("n", ""),
            y: Axis::new("time", "s"),
            series: vec![series],
            caption: String::new(),
        };
        let expected = "series,\"n\",\"time [s]\",least,greatest,kind,repeats\n\"a \"\"b\"\", c\",10,0.5,0.5,0.5,modelled,0\n";
        assert_eq!(csv(&panel), expected);
    }

    #[test]
    fn what_has_ended_is_kept_before_the_rest_is_run_and_an_error_names_the_file() {
        use crate::paper::figures::tests::{done, experiments};
        use crate::paper::{FigureName, Scale};
        let all = experiments(Scale::Quick, "loopback");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("report");
        let order = Order {
            scale: Scale::Quick,
            link: all.link,
            out: Some(out.clone()),
            only: FigureName::ALL.to_vec(),
        };
        let store = Store::create(&order).unwrap();
        for done in &done(&all)[..2] {
            store.keep(done).unwrap();
        }
        let lines = std::fs::read_to_string(out.join(LINES)).unwrap();
        let kept: Vec<Done> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(kept.len(), 2);
        store.remove_if_empty();
        assert!(out.join(LINES).exists(), "results are not removed");
        std::fs::create_dir_all(out.join("x.svg/inner")).unwrap();
        let said = store.write("x.svg", "text").unwrap_err().to_string();
        assert!(said.contains("x.svg") && !out.join("x.svg.part").exists(), "{said}");
    }
}
