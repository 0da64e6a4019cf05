//! Draws a [`Panel`] as SVG, by `plotters`: logarithmic axes, the legend below the plot.
//!
//! A filled mark was measured, a hollow one sampled, a small cross counted, modelled or extrapolated; a line is dashed where one
//! of its ends was not run; bars reach from the least to the greatest of the repeats. Every series has a colour, from a
//! palette that colour-blind people tell apart, and a shape of its own. Within a page colours are CSS variables with the light
//! ones as their default, so that the page can have dark ones; few programs but browsers know those, so that a drawing by
//! itself has none.

mod axis;
mod look;

pub use look::DARK_COLOURS;

use super::point::{Kind, Panel, Point, Series};
use axis::Scale;
use look::{GRID, INK, MUTED, PAGE, Shape, colour, is_link, shape};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

/// Width of a drawing.
const WIDTH: u32 = 720;
/// Height of its plot, axes included.
const PLOT_HEIGHT: u32 = 400;
/// Height of a line of the legend.
const LEGEND_LINE: u32 = 22;
/// Space around the plot.
const MARGIN: i32 = 12;
/// The font of everything but the title; `plotters` writes 1/1.24 of it into the SVG.
const FONT: (&str, f64) = ("system-ui, sans-serif", 17.0);
/// Longest labels of a legend in two columns, in characters.
const COLUMN_CHARS: usize = 42;
/// What marks and lines mean.
const KEY: &str = "filled: measured; hollow: sampled; dashed, x: counted, modelled or extrapolated; bars: least to greatest";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The drawing for a page that has dark colours for [`DARK_COLOURS`]' variables.
#[must_use]
pub fn svg_with_variables(panel: &Panel) -> String {
    look::with_variables(&svg(panel))
}

/// The drawing, as an SVG document.
///
/// # Panics
/// Never: writing to memory does not fail.
#[must_use]
pub fn svg(panel: &Panel) -> String {
    let columns = legend_columns(panel);
    let lines = panel.series.len().div_ceil(columns) as u32 + 1;
    let size = (WIDTH, PLOT_HEIGHT + lines * LEGEND_LINE + MARGIN as u32);
    let mut text = String::new();
    draw(panel, columns, SVGBackend::with_string(&mut text, size)).expect("memory takes every drawing");
    text
}

fn draw(panel: &Panel, columns: usize, backend: SVGBackend<'_>) -> Drawn {
    let root = backend.into_drawing_area();
    root.fill(&PAGE)?;
    let (plot, legend) = root.split_vertically(PLOT_HEIGHT);
    draw_plot(panel, &plot)?;
    draw_legend(panel, columns, &legend)?;
    root.present()
}

fn draw_plot(panel: &Panel, plot: &Area<'_>) -> Drawn {
    let values = |of: fn(&Point) -> [f64; 2]| {
        panel.series.iter().flat_map(|series| &series.points).flat_map(of).collect::<Vec<f64>>()
    };
    let x = Scale::of(&values(|point| [point.x, point.x]), 1.15);
    let y = Scale::of(&values(|point| [point.low, point.high]), 1.5);
    let mut chart = ChartBuilder::on(plot)
        .margin(MARGIN)
        .margin_right(MARGIN + 10)
        .x_label_area_size(50)
        .y_label_area_size(84)
        .build_cartesian_2d(x.coordinate(), y.coordinate())?;
    let font = FONT.into_font().color(&INK);
    let (x_unit, y_unit) = (panel.x.unit.clone(), panel.y.unit.clone());
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED)
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_desc(panel.x.name.clone())
        .y_desc(panel.y.name.clone())
        .x_label_formatter(&|value| axis::tick(*value, &x_unit))
        .y_label_formatter(&|value| axis::tick(*value, &y_unit))
        .draw()?;
    // Links first, so that nothing that was measured is hidden by them.
    let (links, others): (Vec<&Series>, Vec<&Series>) =
        panel.series.iter().partition(|series| is_link(series.look));
    let whole = plot.strip_coord_spec();
    let (origin, _) = plot.get_pixel_range();
    for series in links.into_iter().chain(others) {
        let at = |x: f64, y: f64| {
            let (px, py) = chart.backend_coord(&(x, y));
            (px - origin.start, py)
        };
        draw_series(series, &whole, &at)?;
    }
    Ok(())
}

fn draw_series(series: &Series, area: &Area<'_>, at: &dyn Fn(f64, f64) -> (i32, i32)) -> Drawn {
    let colour = colour(series.look);
    for pair in series.points.windows(2) {
        let ends = [at(pair[0].x, pair[0].y), at(pair[1].x, pair[1].y)];
        let is_run = pair.iter().all(|point| point.kind.is_run());
        line(area, ends, colour, is_run)?;
    }
    for point in &series.points {
        if point.high > point.low * 1.02 {
            let (low, high) = (at(point.x, point.low), at(point.x, point.high));
            area.draw(&PathElement::new(vec![low, high], colour.stroke_width(1)))?;
            for (x, y) in [low, high] {
                area.draw(&PathElement::new(vec![(x - 3, y), (x + 3, y)], colour.stroke_width(1)))?;
            }
        }
        if !is_link(series.look) {
            mark(area, at(point.x, point.y), shape(series.look), colour, point.kind)?;
        }
    }
    Ok(())
}

/// A line between two points: solid where both were run.
fn line(area: &Area<'_>, ends: [(i32, i32); 2], colour: RGBColor, is_run: bool) -> Drawn {
    if is_run {
        return area.draw(&PathElement::new(ends.to_vec(), colour.stroke_width(2)));
    }
    area.draw(&DashedPathElement::new(ends, 7, 5, colour.stroke_width(2)))
}

/// The mark of a point: what it looks like says how the point came about.
fn mark(area: &Area<'_>, (x, y): (i32, i32), shape: Shape, colour: RGBColor, kind: Kind) -> Drawn {
    if !kind.is_run() {
        for slope in [-1, 1] {
            let ends = vec![(x - 3, y - 3 * slope), (x + 3, y + 3 * slope)];
            area.draw(&PathElement::new(ends, colour.stroke_width(2)))?;
        }
        return Ok(());
    }
    let is_hollow = kind == Kind::Sampled;
    let inside = if is_hollow { PAGE } else { colour };
    let Some(corners) = shape.corners() else {
        area.draw(&Circle::new((x, y), 5, inside.filled()))?;
        return area.draw(&Circle::new((x, y), 5, colour.stroke_width(2)));
    };
    let mut outline: Vec<(i32, i32)> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
    area.draw(&Polygon::new(outline.clone(), inside.filled()))?;
    outline.push(outline[0]);
    area.draw(&PathElement::new(outline, colour.stroke_width(2)))
}

fn legend_columns(panel: &Panel) -> usize {
    let longest = panel.series.iter().map(|series| series.label().chars().count()).max().unwrap_or(0);
    if longest > COLUMN_CHARS { 1 } else { 2 }
}

fn draw_legend(panel: &Panel, columns: usize, area: &Area<'_>) -> Drawn {
    let (_, rows) = area.get_pixel_range();
    // Elements of a part of the drawing count from its own corner; `rows` only tells how high it is.
    let height = rows.end - rows.start;
    let font = FONT.into_font().color(&INK);
    let column_width = (WIDTH as i32 - 2 * MARGIN) / columns as i32;
    for (index, series) in panel.series.iter().enumerate() {
        let (column, row) = ((index % columns) as i32, (index / columns) as i32);
        let (x, y) = (MARGIN + column * column_width, row * LEGEND_LINE as i32 + LEGEND_LINE as i32 / 2);
        let colour = colour(series.look);
        let kind = series.points.iter().map(|point| point.kind).min().unwrap_or(Kind::Modelled);
        line(area, [(x, y), (x + 30, y)], colour, kind.is_run())?;
        if !is_link(series.look) {
            mark(area, (x + 15, y), shape(series.look), colour, kind)?;
        }
        area.draw(&Text::new(series.label(), (x + 38, y - 6), font.clone()))?;
    }
    let small = (FONT.0, FONT.1 - 2.0).into_font().color(&MUTED);
    area.draw(&Text::new(KEY, (MARGIN, height - LEGEND_LINE as i32), small))
}

#[cfg(test)]
pub(in crate::paper) mod tests;
