//! Bytes that tell where in a stream they belong.

/// The byte at `position`, a sequence number.
pub fn byte(position: u32) -> u8 {
    (position.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// `len` bytes from `position` on.
pub fn bytes(position: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| byte(position.wrapping_add(i))).collect()
}

/// Asserts that `data` belongs at `position`.
pub fn check(position: u32, data: &[u8], what: &str) {
    for (i, &got) in data.iter().enumerate() {
        let at = position.wrapping_add(i as u32);
        assert_eq!(got, byte(at), "{what}: the byte numbered {at}");
    }
}
