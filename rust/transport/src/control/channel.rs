//! The control channel after the handshake: it is there to end. A peer whose process dies is known at once by the end of
//! the stream; one whose host vanished, by its silence.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::noise::Cipher;
use super::stream::framed;

/// After so much silence we ask whether the peer is still there.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// After so much silence, questions included, it counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(20);

const PING: u8 = 1;
const PONG: u8 = 2;
const BYE: u8 = 3;

/// Why a channel ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer closed the session in an orderly way.
    #[error("the peer closed the session")]
    PeerClosed,
    /// The stream ended without a farewell: the peer's process died, or its host reset the connection.
    #[error("the peer's process ended")]
    PeerDied,
    /// Nothing was heard for a long time.
    #[error("the peer has not been heard of for {} s", GONE_AFTER.as_secs())]
    PeerSilent,
    /// This side closed it.
    #[error("closed on this side")]
    ClosedHere,
    /// A message did not decrypt or had no meaning; the connection was closed.
    #[error("the control channel was damaged or forged")]
    Damaged,
}

/// An open control channel.
#[derive(Debug)]
pub struct Channel {
    shared: Arc<Shared>,
}

/// Ends a [`Channel`] from any thread.
#[derive(Clone, Debug)]
pub struct Closer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cipher: Cipher,
    closed_here: bool,
}

impl Channel {
    pub(super) fn new(stream: TcpStream, cipher: Cipher) -> Self {
        let state = Mutex::new(State {
            cipher,
            closed_here: false,
        });
        Self {
            shared: Arc::new(Shared { stream, state }),
        }
    }

    /// A handle that can end this channel while another thread waits on it.
    pub fn closer(&self) -> Closer {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Blocks until the channel has ended, and says why. Answers the peer's questions in the meantime.
    pub fn wait_for_end(&mut self) -> EndReason {
        let end = self.listen();
        // Both directions, so that the peer sees the end too, whatever ours was.
        if let Err(error) = self.shared.stream.shutdown(Shutdown::Both) {
            tracing::debug!(%error, "the control channel was closed already");
        }
        if self.shared.state.lock().closed_here {
            EndReason::ClosedHere
        } else {
            end
        }
    }

    fn listen(&mut self) -> EndReason {
        let mut buffer = Vec::new();
        let mut heard = Instant::now();
        if self
            .shared
            .stream
            .set_read_timeout(Some(ASK_AFTER))
            .is_err()
        {
            return EndReason::PeerDied;
        }
        loop {
            let mut chunk = [0; 256];
            match (&self.shared.stream).read(&mut chunk) {
                Ok(0) => return EndReason::PeerDied,
                Ok(n) => {
                    heard = Instant::now();
                    buffer.extend_from_slice(&chunk[..n]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if heard.elapsed() > GONE_AFTER {
                        return EndReason::PeerSilent;
                    }
                    if self.shared.say(PING).is_err() {
                        return EndReason::PeerDied;
                    }
                }
                Err(_) => return EndReason::PeerDied,
            }
            while let Some(message) = split_message(&mut buffer) {
                let opened = self.shared.state.lock().cipher.open(&message);
                match opened.as_deref() {
                    Ok([PING]) => {
                        if self.shared.say(PONG).is_err() {
                            return EndReason::PeerDied;
                        }
                    }
                    Ok([PONG]) => {}
                    Ok([BYE]) => return EndReason::PeerClosed,
                    Ok(_) | Err(_) => return EndReason::Damaged,
                }
            }
            // No message of this stage is longer than a byte and its tag: more is not ours.
            if buffer.len() > 64 {
                return EndReason::Damaged;
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.closer().close();
    }
}

impl Closer {
    /// Says goodbye and ends the channel; again has no effect.
    pub fn close(&self) {
        if std::mem::replace(&mut self.shared.state.lock().closed_here, true) {
            return;
        }
        let farewell = self.shared.say(BYE);
        let shutdown = self.shared.stream.shutdown(Shutdown::Both);
        if let Err(error) = farewell.and(shutdown) {
            tracing::debug!(%error, "the peer was gone before the control channel was closed");
        }
    }
}

impl Shared {
    fn say(&self, word: u8) -> std::io::Result<()> {
        // Sealed and sent under one lock: the order on the stream must be that of the nonces.
        let mut state = self.state.lock();
        let sealed = state.cipher.seal(&[word]).map_err(std::io::Error::other)?;
        let message = framed(&sealed, "a message").map_err(std::io::Error::other)?;
        (&self.stream).write_all(&message)
    }
}

/// Takes the first whole message out of what has been read so far.
fn split_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_le_bytes(*buffer.first_chunk()?));
    let message = buffer.get(2..2 + length)?.to_vec();
    buffer.drain(..2 + length);
    Some(message)
}
