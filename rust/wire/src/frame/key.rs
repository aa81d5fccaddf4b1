//! Session keys and the tag they make. The only secrets that this room ever holds.

use super::{F_TAG, HEADER_LEN};
use siphasher::sip::SipHasher24;
use std::fmt;
use zeroize::ZeroizeOnDrop;

/// The key of one direction of one session. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// Bytes of a key.
    pub const LEN: usize = 16;

    /// A key from its bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// SipHash-2-4 of the header up to its tag, then the body's length as a `u64`.
    pub(super) fn tag(&self, header: &[u8; HEADER_LEN], body_len: usize) -> u64 {
        let mut message = *header;
        message[F_TAG.range()].copy_from_slice(&(body_len as u64).to_le_bytes());
        SipHasher24::new_with_key(&self.0).hash(&message)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// The two keys of a session, one for each direction, so that no frame can be reflected to its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKeys {
    /// Tags frames from the origin to the node.
    pub to_node: SessionKey,
    /// Tags frames from the node to the origin.
    pub to_origin: SessionKey,
}

impl SessionKeys {
    /// Both keys, from a secret that only the two ends of the handshake know (any length).
    ///
    /// The Noise handshake *hash* alone is not such a secret: without a configured key anyone who watched can compute
    /// it. Mix in keys that the handshake's Diffie-Hellman made.
    pub fn derive(secret: &[u8]) -> Self {
        let derive = |context| {
            let mut key = [0; SessionKey::LEN];
            blake3::Hasher::new_derive_key(context)
                .update(secret)
                .finalize_xof()
                .fill(&mut key);
            SessionKey::new(key)
        };
        Self {
            to_node: derive("BitCode.jl data plane session key, origin to node, v1"),
            to_origin: derive("BitCode.jl data plane session key, node to origin, v1"),
        }
    }
}
