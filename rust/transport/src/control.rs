//! The control channel: one TCP connection between an origin and a node, authenticated both ways and encrypted.
//!
//! The order of things: both send a [`Preamble`] in the clear and check that versions and keys fit; a Noise handshake
//! (`NNpsk0`: ephemeral keys, and a pre-shared key that both must hold) proves the key and makes secrets; the origin
//! sends [`Hello`], the node answers with [`Welcome`] or a refusal. After that the connection stays open, and its end
//! tells that the peer is gone ([`Channel::wait_for_end`]).
//!
//! Noise rather than TLS because the whole identity of a cluster is one shared secret: there is no authority that could
//! sign certificates, and a handshake of two messages has no options that could be set wrongly. The pattern gives
//! forward secrecy; whoever lacks the key learns nothing beyond the preamble and can make the peer do nothing beyond one
//! Diffie-Hellman step. Source: the Noise Protocol Framework, revision 34, sections 7.5 and 9.
//!
//! Bytes and limits are `bitcode-wire`'s (docs/WIRE.md); this file adds time-outs, the cipher and the stream.

mod channel;
mod error;
mod noise;
mod stream;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::SessionKeys;
use bitcode_wire::handshake::{Answer, Hello, Mismatch, PREAMBLE_LEN, Preamble, Refusal, Welcome};

pub use channel::{Channel, Closer, EndReason};
pub use error::ControlError;

use noise::{Cipher, Handshake};
use stream::Timed;

/// An origin's side of an open session.
#[derive(Debug)]
pub struct Connected {
    /// What the node said of itself.
    pub welcome: Welcome,
    /// The keys of the session's frames.
    pub keys: SessionKeys,
    /// The connection, which stays open as long as the session.
    pub channel: Channel,
}

/// An origin that has proved its key and waits to be taken in.
#[derive(Debug)]
pub struct Arrived {
    /// What the origin said of itself.
    pub hello: Hello,
    /// The keys of the session's frames.
    pub keys: SessionKeys,
    /// Where it connected from.
    pub peer: SocketAddr,
    stream: Timed,
    cipher: Cipher,
}

/// Connects to the node at `address` (`host:port`) and opens a session; all of it within `timeout`, but for what the system
/// takes to look the name up.
///
/// `key` is the shared secret, `None` for a node without one, which must be on this machine.
///
/// # Errors
/// Each way to fail has its own [`ControlError`]: nobody there, not a node, another version, a key missing here or
/// there, another key, another machine without one, refused by the node, out of time.
pub fn connect(
    address: &str,
    key: Option<&[u8]>,
    hello: &Hello,
    timeout: Duration,
) -> Result<Connected, ControlError> {
    let deadline = Instant::now() + timeout;
    let candidates = resolve(address, key.is_some())?;
    let mut stream = Timed::new(dial(address, &candidates, deadline)?, deadline)?;
    let prologue = preambles(&mut stream, key.is_some(), true)?;
    let mut handshake = Handshake::start(key, &prologue)?;
    stream.send(&handshake.write()?, "the handshake")?;
    let answer = stream.receive("the handshake")?;
    if answer.is_empty() {
        return Err(ControlError::WrongKey);
    }
    handshake.read(&answer)?;
    let (mut cipher, keys) = handshake.finish()?;
    stream.send(&cipher.seal(&hello.encode()?)?, "the greeting")?;
    let sealed = stream.receive("the greeting")?;
    match Answer::decode(&cipher.open(&sealed)?)? {
        Answer::Welcome(welcome) => Ok(Connected {
            welcome: *welcome,
            keys,
            channel: Channel::new(stream.into_inner()?, cipher),
        }),
        Answer::Refused(refusal) => Err(ControlError::Refused(refusal)),
    }
}

/// Takes a connection just accepted through the handshake up to the origin's [`Hello`], within `timeout`.
///
/// Runs on a thread of its own: a client that says nothing keeps it for all of `timeout`.
///
/// # Errors
/// As for [`connect`]; the client was told what it may know, and the connection is closed.
pub fn accept(
    stream: TcpStream,
    key: Option<&[u8]>,
    timeout: Duration,
) -> Result<Arrived, ControlError> {
    let deadline = Instant::now() + timeout;
    let peer = stream
        .peer_addr()
        .map_err(|error| ControlError::os("the connection", &error))?;
    let mut stream = Timed::new(stream, deadline)?;
    let prologue = preambles(&mut stream, key.is_some(), false)?;
    let mut handshake = Handshake::answer(key, &prologue)?;
    let first = stream.receive("the handshake")?;
    if let Err(error) = handshake.read(&first) {
        // An empty message is the one thing that we say to whoever does not hold the key.
        stream.send(&[], "the handshake")?;
        return Err(error);
    }
    stream.send(&handshake.write()?, "the handshake")?;
    let (mut cipher, keys) = handshake.finish()?;
    let sealed = stream.receive("the greeting")?;
    let hello = Hello::decode(&cipher.open(&sealed)?)?;
    Ok(Arrived {
        hello,
        keys,
        peer,
        stream,
        cipher,
    })
}

impl Arrived {
    /// Opens the session.
    ///
    /// # Errors
    /// The client is gone, or `welcome` has a field over its limit.
    pub fn welcome(mut self, welcome: Welcome) -> Result<Channel, ControlError> {
        self.answer(&Answer::Welcome(Box::new(welcome)))?;
        Ok(Channel::new(self.stream.into_inner()?, self.cipher))
    }

    /// Turns the origin away with a reason that it shows to its user, and closes.
    ///
    /// # Errors
    /// The client is gone.
    pub fn refuse(mut self, code: ErrorCode, message: &str) -> Result<(), ControlError> {
        let message = message.to_owned();
        self.answer(&Answer::Refused(Refusal { code, message }))
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), ControlError> {
        let sealed = self.cipher.seal(&answer.encode()?)?;
        self.stream.send(&sealed, "the greeting")
    }
}

/// What an address stands for. Without a key all of it must be this machine.
///
/// A name is looked up once: whoever answers for it might say something else the second time.
fn resolve(address: &str, has_key: bool) -> Result<Vec<SocketAddr>, ControlError> {
    let found = address.to_socket_addrs();
    let candidates: Vec<_> = found
        .map_err(|error| unreachable(address, &error.to_string()))?
        .collect();
    if !has_key && !candidates.iter().all(|it| it.ip().is_loopback()) {
        return Err(ControlError::KeyNeeded {
            address: address.to_owned(),
        });
    }
    Ok(candidates)
}

/// A TCP connection to the first of the address's candidates that answers.
fn dial(
    address: &str,
    candidates: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ControlError> {
    let mut last = unreachable(address, "the name has no address");
    for candidate in candidates {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ControlError::Timeout {
                during: "the connection",
            });
        }
        match TcpStream::connect_timeout(candidate, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = unreachable(address, &format!("{candidate}: {error}")),
        }
    }
    Err(last)
}

fn unreachable(address: &str, reason: &str) -> ControlError {
    ControlError::Unreachable {
        address: address.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Exchanges preambles and returns both, the origin's first: the prologue that the handshake authenticates.
fn preambles(stream: &mut Timed, has_key: bool, origin: bool) -> Result<Vec<u8>, ControlError> {
    let ours = Preamble::ours(has_key);
    stream.write_all(&ours.encode(), "the preamble")?;
    let mut bytes = [0; PREAMBLE_LEN];
    stream.read_exact(&mut bytes, "the preamble")?;
    let theirs = Preamble::decode(&bytes).map_err(ControlError::NotBitCode)?;
    match ours.agree(&theirs) {
        Ok(_version) => {}
        Err(Mismatch::WeLackKey) => return Err(ControlError::KeyRequired),
        Err(Mismatch::TheyLackKey) => return Err(ControlError::KeyUnexpected),
        Err(mismatch) => return Err(ControlError::Version(mismatch)),
    }
    let (first, second) = if origin {
        (ours.encode(), bytes)
    } else {
        (bytes, ours.encode())
    };
    Ok([first, second].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_only_this_machine_is_trusted() {
        for here in ["127.0.0.1:1", "127.3.2.1:1", "[::1]:1"] {
            assert_eq!(resolve(here, false).unwrap().len(), 1);
        }
        let elsewhere = "192.0.2.1:1";
        let refused = resolve(elsewhere, false).unwrap_err();
        assert!(matches!(refused, ControlError::KeyNeeded { address } if address == elsewhere));
        assert_eq!(resolve(elsewhere, true).unwrap().len(), 1);
        let nonsense = resolve("nonsense", true).unwrap_err();
        assert!(matches!(nonsense, ControlError::Unreachable { .. }));
    }
}
