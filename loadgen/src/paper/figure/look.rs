//! Colours and shapes: one of each for everything that is compared, in every figure.

use crate::paper::point::Look;
use plotters::style::RGBColor;
use std::fmt::Write as _;

/// Text.
pub(super) const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// What stands back.
pub(super) const MUTED: RGBColor = RGBColor(0x64, 0x6d, 0x76);
/// Lines behind everything.
pub(super) const GRID: RGBColor = RGBColor(0xdc, 0xe0, 0xe4);
/// Behind those.
pub(super) const PAGE: RGBColor = RGBColor(0xfe, 0xfe, 0xfd);

/// CSS variables of all colours and their values in the dark.
pub const DARK_COLOURS: [(&str, &str); 12] = [
    ("--tc-ink", "#e6edf3"),
    ("--tc-muted", "#9aa4ae"),
    ("--tc-grid", "#333a42"),
    ("--tc-page", "#15191e"),
    ("--tc-compact", "#58a6ff"),
    ("--tc-compact-other", "#9bd7ff"),
    ("--tc-paper", "#ff8a4c"),
    ("--tc-nagle", "#2fd1a0"),
    ("--tc-no-nagle", "#e79ac6"),
    ("--tc-mcmix", "#f2bc3d"),
    ("--tc-link", "#a8b0b8"),
    ("--tc-link-paper", "#8a8178"),
];

/// The light ones, in the same order: Okabe and Ito's palette, which colour-blind people tell apart.
const LIGHT_COLOURS: [RGBColor; 12] = [
    INK,
    MUTED,
    GRID,
    PAGE,
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x7a, 0x7a, 0x7a),
    RGBColor(0xa8, 0x98, 0x88),
];

/// The outline of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Up,
    Down,
    Diamond,
}

impl Shape {
    /// Its corners around its middle; a circle has none.
    pub(super) fn corners(self) -> Option<&'static [(i32, i32)]> {
        match self {
            Shape::Circle => None,
            Shape::Square => Some(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
            Shape::Up => Some(&[(-5, 4), (0, -6), (5, 4)]),
            Shape::Down => Some(&[(-5, -4), (0, 6), (5, -4)]),
            Shape::Diamond => Some(&[(-6, 0), (0, -6), (6, 0), (0, 6)]),
        }
    }
}

fn place(look: Look) -> usize {
    match look {
        Look::Compact => 4,
        Look::CompactOther | Look::LinkOther => 5,
        Look::PaperXor => 6,
        Look::FaithfulNagle => 7,
        Look::FaithfulNoNagle => 8,
        Look::Mcmix => 9,
        Look::Link => 10,
        Look::LinkPaper => 11,
    }
}

/// The colour of a series.
pub(super) fn colour(look: Look) -> RGBColor {
    LIGHT_COLOURS[place(look)]
}

/// The mark of a series.
pub(super) fn shape(look: Look) -> Shape {
    match look {
        Look::Compact | Look::CompactOther | Look::Link | Look::LinkPaper | Look::LinkOther => Shape::Circle,
        Look::PaperXor => Shape::Square,
        Look::FaithfulNagle => Shape::Up,
        Look::FaithfulNoNagle => Shape::Down,
        Look::Mcmix => Shape::Diamond,
    }
}

/// Whether a series is what a link allows: a line without marks.
pub(super) fn is_link(look: Look) -> bool {
    matches!(look, Look::Link | Look::LinkPaper | Look::LinkOther)
}

/// Turns every colour of a drawing into a CSS variable that has the colour as its default.
pub(super) fn with_variables(svg: &str) -> String {
    let mut text = svg.to_owned();
    for ((variable, _), RGBColor(red, green, blue)) in DARK_COLOURS.iter().zip(LIGHT_COLOURS) {
        let mut colour = String::new();
        let _ = write!(colour, "\"#{red:02X}{green:02X}{blue:02X}\"");
        text = text.replace(&colour, &format!("\"var({variable}, {})\"", colour.trim_matches('"')));
    }
    text
}
