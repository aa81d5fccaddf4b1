//! Julia's hash functions over bytes and words (`memhash`, `int64hash`, …): public algorithms (MurmurHash3, Thomas Wang's
//! integer hashes) with Julia's seeds, so that `hash` and `objectid` give the same numbers here as at the origin.

const SEED: u32 = 0xcafe_8881;
/// The seed of a string's `objectid`.
pub(crate) const STRING_SEED: u32 = 0xedc3_b677;

/// Julia's `int32hash`.
pub fn int32hash(mut a: u32) -> u32 {
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    (a ^ 0xb55a_4f09) ^ (a >> 16)
}

/// Julia's `int64hash`.
pub fn int64hash(mut key: u64) -> u64 {
    key = (!key).wrapping_add(key << 21);
    key ^= key >> 24;
    key = key.wrapping_mul(265);
    key ^= key >> 14;
    key = key.wrapping_mul(21);
    key ^= key >> 28;
    key.wrapping_add(key << 31)
}

/// Julia's `int64to32hash`.
pub fn int64to32hash(mut key: u64) -> u32 {
    key = (!key).wrapping_add(key << 18);
    key ^= key >> 31;
    key = key.wrapping_mul(21);
    key ^= key >> 11;
    key = key.wrapping_add(key << 6);
    key ^= key >> 22;
    key as u32
}

/// Mixes a hash into another.
pub fn bitmix(a: u64, b: u64) -> u64 {
    int64hash(a ^ b.swap_bytes())
}

/// Julia's `memhash`.
pub fn memhash(bytes: &[u8]) -> u64 {
    memhash_seed(bytes, SEED)
}

/// Julia's `memhash_seed`: the upper half of MurmurHash3 x64-128.
pub fn memhash_seed(bytes: &[u8], seed: u32) -> u64 {
    murmur3_x64_128(bytes, seed).1
}

/// Julia's `memhash32_seed`: MurmurHash3 x86-32.
pub fn memhash32_seed(bytes: &[u8], seed: u32) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mut h = seed;
    let (blocks, tail) = bytes.as_chunks::<4>();
    for block in blocks {
        h ^= u32::from_le_bytes(*block)
            .wrapping_mul(C1)
            .rotate_left(15)
            .wrapping_mul(C2);
        h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        h ^= u32::from_le_bytes(last)
            .wrapping_mul(C1)
            .rotate_left(15)
            .wrapping_mul(C2);
    }
    h ^= bytes.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The hash of a symbol's name.
pub fn symbol_hash(name: &[u8]) -> u64 {
    memhash(name) ^ (u64::MAX / 3 * 2)
}

fn murmur3_x64_128(bytes: &[u8], seed: u32) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let mut h1 = u64::from(seed);
    let mut h2 = u64::from(seed);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = halves(block);
        h1 ^= mix1(k1);
        h1 = h1
            .rotate_left(27)
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        h2 ^= mix2(k2);
        h2 = h2
            .rotate_left(31)
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    if !tail.is_empty() {
        let mut last = [0; 16];
        last[..tail.len()].copy_from_slice(tail);
        let (k1, k2) = halves(&last);
        if tail.len() > 8 {
            h2 ^= mix2(k2);
        }
        h1 ^= mix1(k1);
    }
    let length = bytes.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = fmix64(h1);
    h2 = fmix64(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2)
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let whole = u128::from_le_bytes(*block);
    (whole as u64, (whole >> 64) as u64)
}

fn fmix64(mut k: u64) -> u64 {
    k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

/// The hash of an immutable value's bytes, as `objectid` takes it.
pub(crate) fn bits_hash(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(int32hash(i32::from(a as i8) as u32)),
        [a, b] => u64::from(int32hash(u32::from(u16::from_le_bytes([a, b])))),
        [a, b, c, d] => u64::from(int32hash(u32::from_le_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => int64hash(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => memhash(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Julia 1.5.3 answers to the same questions.
    const ANSWERS: &str = include_str!("../../../test/fixtures/jit/hashes.tsv");

    /// The rows that begin with this word, without it.
    fn answers(kind: &str) -> Vec<Vec<&'static str>> {
        let rows = ANSWERS
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>());
        let found: Vec<_> = rows
            .filter(|row| row[0] == kind)
            .map(|row| row[1..].to_vec())
            .collect();
        assert!(found.len() > 5);
        found
    }

    fn number(text: &str) -> u64 {
        text.parse().unwrap()
    }

    #[test]
    fn byte_hashes_are_julias() {
        for row in answers("bytes") {
            let (bytes, seed) = (row[0].as_bytes(), number(row[1]) as u32);
            assert_eq!(memhash_seed(bytes, seed), number(row[2]), "{row:?}");
            assert_eq!(
                u64::from(memhash32_seed(bytes, seed)),
                number(row[3]),
                "{row:?}"
            );
        }
    }

    #[test]
    fn word_hashes_are_julias() {
        for row in answers("word") {
            let word = number(row[0]);
            assert_eq!(int64hash(word), number(row[1]));
            assert_eq!(u64::from(int32hash(word as u32)), number(row[2]));
            assert_eq!(u64::from(int64to32hash(word)), number(row[3]));
        }
    }

    #[test]
    fn symbol_hashes_are_julias() {
        for row in answers("symbol") {
            assert_eq!(symbol_hash(row[0].as_bytes()), number(row[1]), "{row:?}");
        }
    }
}
