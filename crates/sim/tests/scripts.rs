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
