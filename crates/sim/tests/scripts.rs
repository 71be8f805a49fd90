//! Every script of `tests/conformance/` does what it says.
//!
//! `tests/conformance/exceptions.txt` lists those that don't, with the reason; a
//! script that is listed and passes is an error too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crore_sim::script::{self, Outcome, Verdict};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance")
}

/// All scripts below a folder, in order.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Scripts that may fail, or that don't apply: the verdict that is expected.
fn exceptions() -> BTreeMap<String, String> {
    let path = root().join("exceptions.txt");
    let text = fs::read_to_string(&path).expect("the list of exceptions");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.splitn(3, char::is_whitespace);
            let (file, verdict, reason) = (words.next(), words.next(), words.next());
            assert!(
                matches!(verdict, Some("fails" | "does-not-apply")),
                "{line}: a file, `fails` or `does-not-apply`, and the reason"
            );
            assert!(
                reason.is_some_and(|reason| reason.contains("rfc")),
                "{line}: the reason names an RFC and its section"
            );
            (
                file.unwrap_or_default().to_owned(),
                verdict.unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn play(path: &Path) -> Outcome {
    let text = fs::read_to_string(path).expect("a text");
    match script::parse(&text) {
        Ok(script) => script::run(&script),
        Err(error) => panic!("{}:{error}", path.display()),
    }
}

#[test]
fn every_script_does_what_it_says() {
    let root = root();
    let mut exceptions = exceptions();
    let mut counts = BTreeMap::<String, [u32; 3]>::new();
    let mut wrong = Vec::new();
    for path in scripts(&root) {
        let name = path
            .strip_prefix(&root)
            .expect("it is below")
            .display()
            .to_string();
        let folder = name.split('/').next().unwrap_or_default().to_owned();
        let outcome = play(&path);
        let (column, verdict, why) = match &outcome.verdict {
            Verdict::Pass => (0, "passes", String::new()),
            Verdict::Fail(failure) => (1, "fails", format!(":{}: {failure}", failure.line)),
            Verdict::NotApplicable(reason) => (2, "does-not-apply", format!(": {reason}")),
        };
        counts.entry(folder.clone()).or_default()[column] += 1;
        let expected = exceptions.remove(&name).unwrap_or_else(|| "passes".to_owned());
        if verdict != expected {
            wrong.push(format!("{name} {verdict}, {expected} was expected{why}"));
        }
        if folder != "freebsd" && !outcome.notes.is_empty() {
            wrong.push(format!("{name}: {}", outcome.notes.join(", ")));
        }
    }
    wrong.extend(
        exceptions
            .keys()
            .map(|name| format!("{name} is listed and is not there")),
    );
    let mut total = [0; 3];
    for (folder, [passed, failed, not]) in &counts {
        println!("{folder}: {passed} pass, {failed} fail, {not} do not apply");
        total = [total[0] + passed, total[1] + failed, total[2] + not];
    }
    println!(
        "all: {} pass, {} fail, {} do not apply",
        total[0], total[1], total[2]
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts["freebsd"][0] >= 34, "FreeBSD's are there");
}

/// The rules of TCP are the same over IPv6. Left out are scripts that choose a family,
/// whose ICMP or MSS is IPv4's, and FreeBSD's, which say that they are about IPv4.
#[test]
fn every_script_does_the_same_over_ipv6() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for path in scripts(&root()) {
        let text = fs::read_to_string(&path).expect("a text");
        let about_ipv4 = ["--ip_version", "icmp", "mss 1460", "mss 8960", ":537(536)"];
        if about_ipv4.iter().any(|sign| text.contains(sign)) {
            continue;
        }
        ran += 1;
        let script = script::parse(&format!("--ip_version=ipv6\n{text}")).expect("it was read before");
        if let Verdict::Fail(failure) = script::run(&script).verdict {
            wrong.push(format!("{}:{}: {failure}", path.display(), failure.line - 1));
        }
    }
    println!("{ran} scripts over IPv6");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 100, "most are about TCP alone: {ran}");
}

/// What a script protects stands at its top, in a form that can be collected.
#[test]
fn every_script_of_ours_cites_its_rule() {
    let root = root();
    for path in scripts(&root) {
        let name = path
            .strip_prefix(&root)
            .expect("it is below")
            .display()
            .to_string();
        if name.starts_with("freebsd/") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let first = text.lines().next().unwrap_or_default();
        let rule = first.strip_prefix("// rfc").unwrap_or_default();
        let (number, rest) = rule.split_once(" section ").unwrap_or_default();
        let folder = name.split('/').next().unwrap_or_default();
        assert!(
            number.parse::<u32>().is_ok() && rest.contains(": "),
            "{name}: the first line is `// rfcNNNN section X.Y: what it asks`"
        );
        assert_eq!(
            folder,
            format!("rfc{number}"),
            "{name} lies in the folder of its RFC"
        );
    }
}

/// Whatever is wrong with a script, there is a verdict, and soon.
#[test]
fn a_script_with_any_line_missing_ends_in_a_verdict() {
    let mut passed = 0_u32;
    let mut failed = 0_u32;
    for path in scripts(&root()) {
        let text = fs::read_to_string(&path).expect("a text");
        let lines: Vec<&str> = text.lines().collect();
        for missing in 0..lines.len() {
            if lines[missing].is_empty() || lines[missing].starts_with("//") {
                continue;
            }
            let rest = [&lines[..missing], &lines[missing + 1..]].concat().join("\n");
            let Ok(script) = script::parse(&rest) else {
                continue;
            };
            match script::run(&script).verdict {
                Verdict::Pass => passed += 1,
                Verdict::Fail(_) | Verdict::NotApplicable(_) => failed += 1,
            }
        }
    }
    println!("{passed} pass without one of their lines, {failed} don't");
    assert!(failed > passed, "most lines matter");
}

/// Nor does a script that ends in the middle of something end the program.
#[test]
fn a_script_that_is_cut_short_is_read_or_refused() {
    for path in scripts(&root()).into_iter().step_by(10) {
        let text = fs::read_to_string(&path).expect("a text");
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = script::parse(&text[..end]);
        }
    }
}
