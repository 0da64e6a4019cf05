//! What is printed: harmless, no wider than the terminal, and not needed once the changes are made.

use crate::fixture::{LINE, machine};
use std::io::{self, Write};
use twincast_tune::TuneError;

#[test]
fn no_file_writes_to_the_terminal() {
    let machine = machine();
    machine.write("key.toml", "about = \"x\"\n[interface]\n\"\\u001b[31mmtu\" = 1\n");
    machine.write("about.toml", "about = \"\\u001b[31mred\\u202e\"\n");
    machine.write("server.key.toml", "\"\\u001b]0;x\\u0007\" = 1\n");
    machine.printed(&format!("{LINE} --undo {{}}/undo.json"));
    let good = machine.read("undo.json");
    for (file, from, to) in [
        ("key.json", "\"host\"", "\"\\u001b[31mhost\": 1, \"host\""),
        ("name.json", "\"name\": \"tso\"", "\"name\": \"\\u001b[31mtso\""),
        ("host.json", "\"host\": \"node-1\"", "\"host\": \"\\u001b[31mnode-1\""),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        machine.write(file, &good.replace(from, to));
    }
    for words in [
        "--profile {}/key.toml",
        "--profile {}/about.toml --dry-run",
        "--profile {}/all.toml --config {}/server.key.toml",
        "--undo {}/key.json",
        "--undo {}/name.json",
        "--undo {}/host.json",
    ] {
        let (told, end) = machine.apply(words);
        let told = format!("{told}{}", end.err().map_or(String::new(), |error| error.to_string()));
        assert!(told.contains("u{1b}"), "{words}: {told}");
        let signs = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
        assert!(!told.contains(signs), "{words}: {told:?}");
    }
}

#[test]
fn lines_are_no_wider_than_the_terminal() {
    let machine = machine();
    machine.write("programs/state/qdisc", "htb 1:\n");
    for (words, ends_in) in [
        (format!("{LINE} --dry-run"), "nothing was changed (--dry-run)\n".to_owned()),
        ("--list".to_owned(), "\n".to_owned()),
        (
            format!("{LINE} --undo {{}}/undo.json"),
            format!(
                "to undo:\n    sudo twincast-tune apply --undo {}\n",
                machine.path("undo.json").display()
            ),
        ),
        ("--undo {}/undo.json --dry-run".to_owned(), "nothing was changed (--dry-run)\n".to_owned()),
    ] {
        let mut out = Vec::new();
        machine.apply_to(&words, &mut out, 60, usize::MAX).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(&ends_in), "{text}");
        // What has no blank, is to be pasted, or is a line of a file, is whole.
        let may_be_longer = |line: &&str| line.starts_with("    ") && line.split_whitespace().count() == 1;
        let pasted =
            |line: &&str| line.contains('`') || line.contains("    sudo") || line.contains("    # Written");
        for line in text.lines().filter(|line| !may_be_longer(line) && !pasted(line)) {
            assert!(line.chars().count() <= 60, "{words}: {line}");
        }
    }
    // A profile is printed as it is: it is to be a file.
    let mut out = Vec::new();
    machine.apply_to("--show 10g", &mut out, 60, usize::MAX).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), machine.printed("--show 10g"));
}

/// Takes so many writes, and then somebody has closed it.
struct Closes(usize);

impl Write for Closes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nobody_has_to_read_on_once_the_changes_are_made() {
    let machine = machine();
    let before = machine.everything();
    let line = format!("{LINE} --undo {{}}/undo.json");
    // Until all that is told before the first change came through, nothing is changed.
    let run = |words: &str| {
        for writes in 0.. {
            let start = machine.everything();
            match machine.apply_to(words, &mut Closes(writes), 100, usize::MAX) {
                Ok(()) => return writes,
                Err(TuneError::Failed(why)) => assert!(why.contains("standard output"), "{why}"),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(machine.everything(), start, "after {writes} writes");
        }
        unreachable!()
    };
    assert!(run(&line) > 0);
    assert_eq!(machine.read("root/sys/class/net/eth1/mtu"), "9000");
    assert!(run("--undo {}/undo.json") > 0);
    assert_eq!(machine.everything(), before);
}
