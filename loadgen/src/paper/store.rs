//! The folder of the report: one page, each drawing, the data behind each, and everything as JSON.

use super::point::Panel;
use super::{Order, Paper, figure, html};
use crate::coordinator::RunError;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The report's file.
pub(super) const PAGE: &str = "paper.html";
/// Everything, for a program.
const JSON: &str = "paper.json";

/// Where everything goes.
pub(super) struct Store {
    folder: PathBuf,
    time: jiff::Timestamp,
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
        let make = || {
            std::fs::create_dir_all(&folder)?;
            if std::fs::read_dir(&folder)?.next().is_some() {
                return Err(io::Error::other("there is something in it"));
            }
            // A folder that may be listed but not written to is found out now.
            let probe = folder.join(PAGE);
            std::fs::write(&probe, "")?;
            std::fs::remove_file(&probe)
        };
        make().map_err(|error| {
            let folder = folder.display();
            RunError::Usage(format!("--out {folder}: {error}; give a folder that is empty or can be made"))
        })?;
        Ok(Store { folder, time })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// When it began, UTC.
    pub(super) fn time(&self) -> String {
        self.time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// Writes everything.
    pub(super) fn write_all(&self, paper: &Paper) -> Result<(), RunError> {
        let write =
            |name: &str, text: &str| std::fs::write(self.folder.join(name), text).map_err(RunError::Report);
        let json = serde_json::to_string_pretty(paper).expect("a report has no keys but strings");
        write(JSON, &(json + "\n"))?;
        for panel in panels(paper) {
            write(&format!("{}.svg", panel.id), &figure::svg(panel))?;
            write(&format!("{}.csv", panel.id), &csv(panel))?;
        }
        write(PAGE, &html::page(paper))
    }
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
}
