//! Builds the two functions with variable arguments.

fn main() {
    println!("cargo::rerun-if-changed=src/variadic.c");
    cc::Build::new()
        .file("src/variadic.c")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .compile("crore_packetdrill_variadic");
}
