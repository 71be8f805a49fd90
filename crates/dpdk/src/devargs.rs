//! Text that goes between the commas of a device argument.

use crate::error::Error;

/// The text, if DPDK's parser takes it as one value: no comma, no `=` and no
/// quote or bracket, which mean something there, nothing unprintable, and no
/// more than `limit` bytes.
pub(crate) fn value<'a>(what: &str, text: &'a str, limit: usize) -> Result<&'a str, Error> {
    let bad = |why: String| {
        Err(Error::BadArgument {
            what: format!("{what} `{text}`"),
            why,
        })
    };
    if text.is_empty() {
        return bad("is empty".into());
    }
    if text.len() > limit {
        return bad(format!("is longer than {limit} bytes"));
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || ",=[]\"'".contains(*c))
    {
        Some(c) => bad(format!("holds {c:?}, which DPDK's device arguments can't carry")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_not_smuggle_in_another_argument() {
        assert!(
            value("socket", "/run/crore/memif.sock", 107).is_ok(),
            "a plain path"
        );
        for bad in [
            "",
            "/tmp/a,role=server",
            "a=b",
            "with space",
            "line\nbreak",
            "nul\0",
        ] {
            assert!(value("socket", bad, 107).is_err(), "{bad:?} must be refused");
        }
        assert!(
            value("interface", "sixteen-bytes-xx", 15).is_err(),
            "too long for IFNAMSIZ"
        );
    }
}
