//! Sentences of `apply`, and how they are printed.

use crate::TuneError;
use std::io::{IsTerminal as _, Write};

/// Columns of a line at the most; as many where there is no terminal.
const WIDTH_MAX: usize = 100;

/// What begins so is printed as it is: lines of files, and commands to be pasted.
pub(super) const VERBATIM: &str = "    ";

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

/// Text that leaves a terminal as it is, whoever wrote it: what is no letter, sign or line's end is told by its number.
pub(super) fn harmless(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\'' | '"' | '\\' => told.push(letter),
            '\t' => told.push(' '),
            letter => told.extend(letter.escape_debug()),
        }
    }
    told
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:@/+=,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Columns of the terminal that standard output is.
pub(super) fn width() -> usize {
    let stdout = std::io::stdout();
    let columns = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    let columns = columns.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH_MAX } else { columns.min(WIDTH_MAX) }
}

/// Where lines are printed.
pub(super) struct Page<'a> {
    pub(super) out: &'a mut dyn Write,
    /// Columns of a line.
    pub(super) width: usize,
}

impl Page<'_> {
    /// Prints lines, each broken where it is too long.
    pub(super) fn tell(&mut self, lines: &[String]) -> Result<(), TuneError> {
        let lines: Vec<String> = lines.iter().map(|line| wrapped(&harmless(line), self.width)).collect();
        self.print(&lines.join("\n"))
    }

    /// Prints a text as it is, and the end of a line.
    pub(super) fn print(&mut self, text: &str) -> Result<(), TuneError> {
        writeln!(self.out, "{text}")
            .and_then(|()| self.out.flush())
            .map_err(|error| TuneError::Failed(format!("standard output: {error}")))
    }
}

/// Breaks a line between words, and never a word, a path or a command in backticks: those are pasted. What follows a break
/// stands further in than a line of its own.
fn wrapped(line: &str, width: usize) -> String {
    if line.starts_with(VERBATIM) {
        return line.into();
    }
    let indent = line.len() - line.trim_start().len();
    let mut is_command = false;
    let words = line[indent..].split(|letter| {
        is_command ^= letter == '`';
        letter == ' ' && !is_command
    });
    let (mut lines, mut taken) = (" ".repeat(indent), indent);
    let mut is_first = true;
    for word in words {
        let columns = word.chars().count();
        if is_first {
            is_first = false;
        } else if taken + 1 + columns <= width {
            lines.push(' ');
            taken += 1;
        } else {
            taken = indent + VERBATIM.len();
            lines.push('\n');
            lines.push_str(&" ".repeat(taken));
        }
        lines.push_str(word);
        taken += columns;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_commands_stay_whole() {
        let command = "`sudo twincast-tune apply --undo /var/lib/twincast/undo-2026.json`";
        let line = format!(
            "note: what comes before a command may be broken anywhere; {command} is whole, {}",
            "word ".repeat(30)
        );
        let text = wrapped(line.trim_end(), 40);
        assert!(text.contains(command), "{text}");
        for line in text.lines().filter(|line| !line.contains('`')) {
            assert!(line.chars().count() <= 40, "{line}");
        }
        assert!(
            text.lines().skip(1).all(|line| line.starts_with("    ") && !line.starts_with("     ")),
            "{text}"
        );
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), line.split_whitespace().collect::<Vec<_>>());
        let verbatim = format!("    {line}");
        assert_eq!(wrapped(&verbatim, 40), verbatim);
        assert_eq!(wrapped("  a: 1 -> 2", 5), "  a:\n      1\n      ->\n      2");
    }

    #[test]
    fn no_text_reaches_a_terminal_as_a_command_to_it() {
        assert_eq!(harmless("a\tb 'c' \"d\" \\ é\ne"), "a b 'c' \"d\" \\ é\ne");
        assert_eq!(harmless("\x1b[31m\r\u{202e}\u{9b}\0"), "\\u{1b}[31m\\r\\u{202e}\\u{9b}\\0");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!((quoted("/tmp/a-b.json"), quoted("a b")), ("/tmp/a-b.json".into(), "'a b'".into()));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
