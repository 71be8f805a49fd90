//! What the fuzz targets do with their input. Each target is one function from
//! bytes to nothing, which panics when something is wrong, so that an input
//! found by the fuzzer can also be run as a plain test (`tests` below does
//! that with the corpus).
#![forbid(unsafe_code)]

pub mod connection;
pub mod frames;
pub mod options;
pub mod pair;
pub mod parse;
pub mod pattern;
pub mod reassembly;
pub mod scoreboard;
pub mod script;
pub mod stack;

#[cfg(test)]
mod tests {
    type Target = fn(&[u8]);

    #[test]
    fn the_corpus_passes() {
        let targets: [(&str, Target); 7] = [
            ("parse", super::parse::run),
            ("options", super::options::run),
            ("connection", super::connection::run),
            ("pair", super::pair::run),
            ("reassembly", super::reassembly::run),
            ("scoreboard", super::scoreboard::run),
            ("stack", super::stack::run),
        ];
        for (name, run) in targets {
            let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(&folder).expect("each target has a corpus");
            let mut count = 0;
            for file in files {
                let path = file.expect("a readable folder").path();
                let input = std::fs::read(&path).expect("a readable file");
                eprintln!("{}", path.display());
                run(&input);
                count += 1;
            }
            assert!(count > 0, "{folder} is empty");
        }
    }
}
