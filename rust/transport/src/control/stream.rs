//! A TCP stream whose every wait ends at one deadline, and messages on it: a `u16` length, then that many bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::ControlError;

/// The stream during the handshake. The deadline is for all of it, not for each read: a peer that sends a byte now and
/// then gains nothing.
#[derive(Debug)]
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, deadline: Instant) -> Result<Self, ControlError> {
        stream
            .set_nodelay(true)
            .map_err(|error| ControlError::os("the connection", &error))?;
        Ok(Self { stream, deadline })
    }

    /// The plain stream, without time-outs.
    pub(super) fn into_inner(self) -> Result<TcpStream, ControlError> {
        let clear = self
            .stream
            .set_read_timeout(None)
            .and_then(|()| self.stream.set_write_timeout(None));
        clear.map_err(|error| ControlError::os("the connection", &error))?;
        Ok(self.stream)
    }

    pub(super) fn read_exact(
        &mut self,
        mut buffer: &mut [u8],
        during: &'static str,
    ) -> Result<(), ControlError> {
        while !buffer.is_empty() {
            let left = self.left(during)?;
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(buffer));
            match read {
                Ok(0) => return Err(ControlError::Closed { during }),
                Ok(n) => buffer = &mut buffer[n..],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ControlError::os(during, &error)),
            }
        }
        Ok(())
    }

    pub(super) fn write_all(
        &mut self,
        bytes: &[u8],
        during: &'static str,
    ) -> Result<(), ControlError> {
        let left = self.left(during)?;
        self.stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| ControlError::os(during, &error))
    }

    pub(super) fn send(
        &mut self,
        message: &[u8],
        during: &'static str,
    ) -> Result<(), ControlError> {
        self.write_all(&framed(message, during)?, during)
    }

    /// The next message. Its length is two bytes, so that nobody can make us reserve more than 64 KiB.
    pub(super) fn receive(&mut self, during: &'static str) -> Result<Vec<u8>, ControlError> {
        let mut length = [0; 2];
        self.read_exact(&mut length, during)?;
        let mut message = vec![0; u16::from_le_bytes(length).into()];
        self.read_exact(&mut message, during)?;
        Ok(message)
    }

    fn left(&self, during: &'static str) -> Result<std::time::Duration, ControlError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A socket's time-out of zero would mean "none".
        if left.is_zero() {
            return Err(ControlError::Timeout { during });
        }
        Ok(left)
    }
}

/// The message with its length before it, in one piece, so that it leaves in one packet.
pub(super) fn framed(message: &[u8], during: &'static str) -> Result<Vec<u8>, ControlError> {
    let length = u16::try_from(message.len()).map_err(|_| ControlError::TooLong {
        during,
        len: message.len(),
        limit: u16::MAX.into(),
    })?;
    Ok([&length.to_le_bytes(), message].concat())
}
