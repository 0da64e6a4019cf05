//! `engine/docs/WIRE.md` says what the code does.

use twincast_protocol::wire::{Code, Kind, VERSION};

const DOCUMENT: &str = include_str!("../../docs/WIRE.md");

/// The cells of every table row whose first cell satisfies `first`.
fn rows(first: impl Fn(&str) -> bool) -> Vec<Vec<&'static str>> {
    DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|cells| first(cells[0]))
        .collect()
}

#[test]
fn every_error_is_in_the_table_with_its_sentence() {
    let is_code = |cell: &str| cell.parse::<u16>().is_ok();
    let table: Vec<_> = rows(is_code).into_iter().filter(|cells| cells[1].starts_with('`')).collect();
    assert_eq!(table.len(), Code::ALL.len());
    for (row, code) in table.iter().zip(Code::ALL) {
        let name = format!("`{}`", code.label());
        let closes = if code.closes() { "yes" } else { "no" };
        assert_eq!(row[..], [&(*code as u16).to_string(), &name, closes, code.sentence()]);
    }
}

#[test]
fn every_kind_of_frame_is_in_a_table() {
    let documented: Vec<u8> = rows(|cell| cell.starts_with("0x"))
        .iter()
        .map(|row| u8::from_str_radix(&row[0][2..], 16).expect("a kind"))
        .collect();
    for number in 0..=u8::MAX {
        assert_eq!(documented.contains(&number), Kind::from_number(number).is_some(), "kind {number:#04x}");
    }
}

#[test]
fn the_version_is_the_one_that_is_spoken() {
    assert!(DOCUMENT.contains(&format!("| 0 | 1 | version, {VERSION} |")));
}
