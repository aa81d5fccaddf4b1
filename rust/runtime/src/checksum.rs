//! Bytes looked at as a whole: CRC-32c, and whether they are UTF-8.

use crate::memory::check_stack;
use crate::thread::ThreadState;
use std::ffi::c_int;
use std::slice;

/// The polynomial of CRC-32c, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// For each of eight bytes, what it adds to the checksum when so many others follow.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

fn crc32c_by_tables(mut crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word) ^ u64::from(crc);
        crc = word
            .to_le_bytes()
            .iter()
            .rev()
            .zip(&TABLES)
            .fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)]);
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][(crc as u8 ^ byte) as usize];
    }
    crc
}

/// With the processor's own instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn crc32c_by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let wide = words.iter().fold(u64::from(crc), |crc, word| {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word))
    });
    rest.iter()
        .fold(wide as u32, |crc, byte| _mm_crc32_u8(crc, *byte))
}

fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has it.
        return !unsafe { crc32c_by_instruction(!crc, bytes) };
    }
    !crc32c_by_tables(!crc, bytes)
}

/// Bytes that shipped code points to.
///
/// # Safety
/// - so many bytes at `data`, while the slice is used.
unsafe fn bytes_at<'a>(data: *const u8, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(data, length) }
}

/// Julia's `jl_crc32c`: goes on from the checksum `crc` of what came before.
///
/// # Safety
/// - called from shipped code with so many bytes.
pub(crate) unsafe extern "C" fn jl_crc32c(crc: u32, data: *const u8, length: usize) -> u32 {
    // SAFETY: the caller's bytes.
    crc32c(crc, unsafe { bytes_at(data, length) })
}

/// Julia's `u8_isvalid`: 0 if the bytes are not UTF-8, 1 if they are ASCII, else 2.
///
/// # Safety
/// - called from shipped code with so many bytes.
pub(crate) unsafe extern "C" fn u8_isvalid(data: *const u8, length: usize) -> c_int {
    // SAFETY: called from shipped code; nothing here needs dropping.
    unsafe { check_stack(ThreadState::current()) };
    // SAFETY: the caller's bytes.
    let bytes = unsafe { bytes_at(data, length) };
    if bytes.is_ascii() {
        1
    } else if std::str::from_utf8(bytes).is_ok() {
        2
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        for (bytes, sum) in [
            (vec![0; 32], 0x8a91_36aa_u32),
            (vec![0xff; 32], 0x62a8_ab43),
            ((0..32).collect(), 0x46dd_794e),
            ((0..32).rev().collect(), 0x113f_db5c),
            (b"123456789".to_vec(), 0xe306_9283),
            (Vec::new(), 0),
        ] {
            // SAFETY: a vector's bytes.
            assert_eq!(unsafe { jl_crc32c(0, bytes.as_ptr(), bytes.len()) }, sum);
            assert_eq!(!crc32c_by_tables(!0, &bytes), sum);
            let (first, second) = bytes.split_at(bytes.len() / 3);
            assert_eq!(crc32c(crc32c(0, first), second), sum);
        }
    }

    #[test]
    fn texts_are_told_from_bytes() {
        // SAFETY: a slice's bytes.
        let kind = |bytes: &[u8]| unsafe { u8_isvalid(bytes.as_ptr(), bytes.len()) };
        assert_eq!(kind(b""), 1);
        assert_eq!(kind(b"abc"), 1);
        assert_eq!(kind("aä𝄞".as_bytes()), 2);
        for wrong in [
            &b"a\xff"[..],
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe4",
        ] {
            assert_eq!(kind(wrong), 0, "{wrong:?}");
        }
    }
}
