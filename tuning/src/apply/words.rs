//! Sentences of `apply`.

/// `N settings`, or `1 setting`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The first three, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        [one] => one.clone(),
        [rest @ .., last] if rest.len() < 3 => format!("{} and {last}", rest.join(", ")),
        _ => format!("{} and {} more", names[..3].join(", "), names.len() - 3),
    }
}

/// White space as the kernel prints it (tabs) and as a profile has it (blanks) is the same.
pub(super) fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value of which nothing else is known than that it is shown to a person: an undo file may hold anything.
pub(super) fn shown(value: &str) -> String {
    if value.is_empty() { "nothing".into() } else { value.escape_debug().to_string() }
}
