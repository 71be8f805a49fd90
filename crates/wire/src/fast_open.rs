//! The Fast Open option's cookie.
//!
//! Read first: RFC 7413 section 4.1.1.

/// What a Fast Open option carries: a cookie of 4 to 16 bytes, or nothing, which
/// asks for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FastOpenCookie {
    len: u8,
    // Those from `len` on are zero, so that equality may be derived.
    bytes: [u8; Self::MAX],
}

impl FastOpenCookie {
    /// The longest one.
    pub const MAX: usize = 16;
    /// The shortest one that is none of nothing.
    const MIN: usize = 4;
    /// None: the question for one.
    pub const REQUEST: Self = Self {
        len: 0,
        bytes: [0; Self::MAX],
    };

    //= rfc7413#section-4.1.1 (MUST)
    // 4 to 16 bytes, and an even number of them; anything else is no cookie.
    /// A cookie of these bytes, or the question for one if there are none.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        let len = cookie.len();
        if len != 0 && (!(Self::MIN..=Self::MAX).contains(&len) || !len.is_multiple_of(2)) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..len].copy_from_slice(cookie);
        let len = len as u8;
        Some(Self { len, bytes })
    }

    /// Whether it asks for a cookie.
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }

    /// Its bytes; none of the question.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Length of the option, with the NOPs behind it that make it a multiple of 4.
    pub(crate) const fn encoded_len(&self) -> usize {
        (2 + self.len as usize).next_multiple_of(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_an_even_length_between_four_and_sixteen() {
        let taken: Vec<usize> = (0..20)
            .filter(|&len| FastOpenCookie::new(&[7; 20][..len]).is_some())
            .collect();
        assert_eq!(
            taken,
            [0, 4, 6, 8, 10, 12, 14, 16],
            "and nothing is the question for one"
        );
        assert!(FastOpenCookie::REQUEST.is_request(), "it asks");
        let cookie = FastOpenCookie::new(&[1, 2, 3, 4, 5, 6]).expect("good");
        assert_eq!(cookie.as_bytes(), [1, 2, 3, 4, 5, 6], "as it was");
    }
}
