//! The cipher: `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s` by way of `snow`.

use bitcode_wire::frame::SessionKeys;
use snow::{Builder, HandshakeState, StatelessTransportState};

use super::ControlError;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Keys are any bytes; Noise wants 32 of them.
const PSK_CONTEXT: &str = "BitCode.jl control channel psk v1";
/// The largest Noise message (revision 34, section 3).
const MAX_NOISE: usize = 65_535;
/// A handshake message is a 32-byte key and a 16-byte tag.
const HANDSHAKE_LEN: usize = 48;
/// What sealing adds.
const TAG: usize = 16;

/// A handshake under way.
pub(super) struct Handshake(Box<HandshakeState>);

fn cipher(step: &'static str) -> impl FnOnce(snow::Error) -> ControlError {
    move |error| ControlError::Cipher {
        step,
        reason: error.to_string(),
    }
}

impl Handshake {
    /// The origin's end.
    pub(super) fn start(key: Option<&[u8]>, prologue: &[u8]) -> Result<Self, ControlError> {
        Self::build(key, prologue, |builder| builder.build_initiator())
    }

    /// The node's end.
    pub(super) fn answer(key: Option<&[u8]>, prologue: &[u8]) -> Result<Self, ControlError> {
        Self::build(key, prologue, |builder| builder.build_responder())
    }

    fn build(
        key: Option<&[u8]>,
        prologue: &[u8],
        role: impl FnOnce(Builder<'_>) -> Result<HandshakeState, snow::Error>,
    ) -> Result<Self, ControlError> {
        // A node without a key uses the one that everybody can compute; its preamble says so, and it binds to loopback.
        let psk = blake3::derive_key(PSK_CONTEXT, key.unwrap_or_default());
        let params = PATTERN.parse().map_err(cipher("the pattern"))?;
        let builder = Builder::new(params)
            .prologue(prologue)
            .and_then(|builder| builder.psk(0, &psk))
            .map_err(cipher("the key"))?;
        role(builder)
            .map(|state| Self(Box::new(state)))
            .map_err(cipher("the start"))
    }

    pub(super) fn write(&mut self) -> Result<Vec<u8>, ControlError> {
        let mut message = vec![0; HANDSHAKE_LEN];
        let length = self
            .0
            .write_message(&[], &mut message)
            .map_err(cipher("the handshake"))?;
        message.truncate(length);
        Ok(message)
    }

    /// Takes the peer's message in; it does not decrypt if the peer holds another key.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), ControlError> {
        if message.len() > HANDSHAKE_LEN {
            return Err(ControlError::TooLong {
                during: "the handshake",
                len: message.len(),
                limit: HANDSHAKE_LEN,
            });
        }
        self.0
            .read_message(message, &mut [0; HANDSHAKE_LEN])
            .map(|_| ())
            .map_err(|_| ControlError::WrongKey)
    }

    /// The cipher of the channel, and the keys of the data plane.
    ///
    /// The handshake hash alone is not secret (everybody with the key who watched could compute it), the split keys are.
    pub(super) fn finish(mut self) -> Result<(Cipher, SessionKeys), ControlError> {
        let (first, second) = self.0.dangerously_get_raw_split();
        let secret = [&first, &second, self.0.get_handshake_hash()].concat();
        let keys = SessionKeys::derive(&secret);
        let state = self
            .0
            .into_stateless_transport_mode()
            .map_err(cipher("the split"))?;
        Ok((
            Cipher {
                state,
                sent: 0,
                received: 0,
            },
            keys,
        ))
    }
}

/// Seals and opens the channel's messages; each has its number as nonce, so that none can be replayed, dropped or moved.
#[derive(Debug)]
pub(super) struct Cipher {
    state: StatelessTransportState,
    sent: u64,
    received: u64,
}

impl Cipher {
    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, ControlError> {
        if plain.len() > MAX_NOISE - TAG {
            return Err(ControlError::TooLong {
                during: "a message",
                len: plain.len(),
                limit: MAX_NOISE - TAG,
            });
        }
        let mut sealed = vec![0; plain.len() + TAG];
        let length = self
            .state
            .write_message(self.sent, plain, &mut sealed)
            .map_err(cipher("sealing"))?;
        self.sent += 1;
        sealed.truncate(length);
        Ok(sealed)
    }

    pub(super) fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, ControlError> {
        let mut plain = vec![0; sealed.len()];
        let length = self
            .state
            .read_message(self.received, sealed, &mut plain)
            .map_err(|_| ControlError::Forged)?;
        self.received += 1;
        plain.truncate(length);
        Ok(plain)
    }
}
