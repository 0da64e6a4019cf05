//! Stored results, shown and compared by the real binary.

use super::common::{loadgen, told};
use super::folder::experiment;
use serde_json::Value;

#[test]
fn two_folders_are_compared_and_what_differs_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, flags: &str| {
        let arguments = format!("local --group 20 --hosts 2 --rounds 2 --no-roof --repeats 3 {flags}");
        experiment(&arguments, &directory.path().join(name)).1
    };
    let (a, b) = (run("a", "--seed 1"), run("b", "--seed 2"));
    let file = directory.path().join("compared.json");
    let line = format!("report compare {} {} --json {}", a.display(), b.display(), file.display());
    let output = loadgen(&line).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("the plans differ in seed (1 and 2)"), "{stdout}");
    assert!(stdout.contains("round time p50") && stdout.contains("95% interval"), "{stdout}");
    let compared: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(compared["schema"], "twincast-compare/1");
    let round = &compared["cells"][0]["rows"][0];
    assert_eq!((round["figure"].as_str(), round["a"]["n"].as_u64()), (Some("round_seconds.p50"), Some(3)));
    assert_eq!(round["ratio"]["interval"].as_array().unwrap().len(), 2);

    // Single runs have no interval.
    let line = format!("report compare {0}/run-1.json {0}/run-2.json", a.display());
    let output = loadgen(&line).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("too few repeats"), "{}", told(&output));
    assert!(!stdout.contains("Mind:"), "{stdout}");

    let shown = loadgen(&format!("report show {}", a.display())).output().unwrap();
    assert_eq!(shown.stdout, std::fs::read(a.join("report.txt")).unwrap());
    let shown = loadgen(&format!("report show {}/run-2.json", a.display())).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Every check passed."), "{}", told(&shown));
}

#[test]
fn what_is_no_result_is_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    std::fs::write(directory.path().join("other.json"), "{\"schema\":\"somebody-elses/3\"}").unwrap();
    for (arguments, said) in [
        (format!("report compare {}", at("empty")), "<B>"),
        (format!("report compare {} {}", at("nothing"), at("empty")), "No such file or directory"),
        (format!("report compare {0} {0}", at("empty")), "holds no results"),
        (format!("report compare {0} {0}", at("other.json")), "is of schema somebody-elses/3"),
        (format!("report show {}", at("empty")), "holds no results"),
        (format!("report show {}", at("other.json")), "is of schema somebody-elses/3"),
        ("report".into(), "Usage"),
        ("sweep --group 5,x".into(), "give a whole number from 2 to 262,144"),
        ("sweep --group 5,5".into(), "--group has 5 twice"),
        ("local --group 5,6".into(), "use sweep"),
        ("local --repeats 0".into(), "give a whole number from 1 to 1,000"),
        ("local --find-rate --rate 3".into(), "leave out --rate"),
        ("local --repeats 2 --fault flip@1".into(), "--fault breaks one run"),
        ("local --name a/b".into(), "letters, digits, dots"),
    ] {
        let output = loadgen(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{arguments}: {stderr}");
    }
}
