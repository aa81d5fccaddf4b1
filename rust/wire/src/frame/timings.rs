//! The trailer of a timed reply: what the node did with code that it had to compile first.

use crate::codec::{DecodeError, Problem, Reader};

/// Microseconds that each stage took on the node, at the end of a reply that has
/// [`Flags::TIMED`](super::Flags::TIMED). Stages longer than 71 minutes saturate.
///
/// ```
/// use bitcode_wire::frame::StageTimings;
///
/// let timings = StageTimings { optimise: 900, emit: 1200, run: 3, ..StageTimings::default() };
/// assert_eq!(StageTimings::decode(&timings.encode())?, timings);
/// # Ok::<(), bitcode_wire::codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimings {
    /// Waiting for a thread that compiles.
    pub queue: u32,
    /// Hashing and decoding the archive.
    pub decode: u32,
    /// Reading and verifying the image, or the machine code that an earlier node made of it and kept.
    pub parse: u32,
    /// Linking, and building its objects.
    pub link: u32,
    /// Optimising.
    pub optimise: u32,
    /// Making machine code.
    pub emit: u32,
    /// Running the call.
    pub run: u32,
}

impl StageTimings {
    /// Bytes of the trailer: eight numbers, the last reserved.
    pub const LEN: usize = 32;

    /// The bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let Self {
            queue,
            decode,
            parse,
            link,
            optimise,
            emit,
            run,
        } = *self;
        let mut out = [0; Self::LEN];
        for (place, value) in out
            .chunks_exact_mut(4)
            .zip([queue, decode, parse, link, optimise, emit, run])
        {
            place.copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// Reads a trailer: exactly [`Self::LEN`] bytes, of which the last four are 0.
    ///
    /// # Errors
    /// Another length, or reserved bytes that are not 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("timings", bytes);
        let timings = Self {
            queue: reader.u32("queue")?,
            decode: reader.u32("decode")?,
            parse: reader.u32("parse")?,
            link: reader.u32("link")?,
            optimise: reader.u32("optimise")?,
            emit: reader.u32("emit")?,
            run: reader.u32("run")?,
        };
        let reserved = reader.error("reserved", Problem::Rule("must be 0"));
        if reader.u32("reserved")? != 0 {
            return Err(reserved);
        }
        reader.finish()?;
        Ok(timings)
    }
}
