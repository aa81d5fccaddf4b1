//! Trails: where a call went, as the nodes that sent it on remember.
//!
//! Nothing of this is in the frames of a call that hops. Who wants to know, because the call has failed, asks the nodes afterwards.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// A call went on from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many hops it had left then. Of two steps the earlier one has more.
    pub hops_left: u32,
    /// The number of the node that it went to.
    pub to: u32,
}

/// The payload of a TRAIL frame: the call that is asked about. Its directory is in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailRequest {
    /// Which.
    pub call: u64,
}

impl TrailRequest {
    /// The bytes.
    pub fn encode(&self) -> [u8; 8] {
        self.call.to_le_bytes()
    }

    /// Reads the payload of a TRAIL frame.
    ///
    /// # Errors
    /// Another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("TRAIL payload", bytes);
        let call = reader.u64("call")?;
        reader.finish()?;
        Ok(Self { call })
    }
}

/// The payload of the VALUE that answers a TRAIL: the call's last steps from this node, the earliest first.
///
/// ```
/// use bitcode_wire::frame::{Step, Steps};
///
/// let steps = vec![Step { hops_left: 9, to: 2 }, Step { hops_left: 7, to: 3 }];
/// assert_eq!(Steps::decode(&Steps::encode(&steps)?)?, steps);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Steps;

impl Steps {
    /// The most steps that one node remembers of the calls of one directory.
    pub const MAX: usize = 1024;
    const STEP_LEN: usize = 8;

    /// The bytes.
    ///
    /// # Errors
    /// Too many.
    pub fn encode(steps: &[Step]) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::new("TRAIL answer");
        writer.list("steps", steps, Self::MAX, |w, step| {
            w.u32(step.hops_left);
            w.u32(step.to);
        });
        writer.finish()
    }

    /// Reads the payload of the VALUE that answers a TRAIL.
    ///
    /// # Errors
    /// Bytes that are short or overlong, or too many steps.
    pub fn decode(bytes: &[u8]) -> Result<Vec<Step>, DecodeError> {
        let mut reader = Reader::new("TRAIL answer", bytes);
        let steps = reader.list("steps", Self::STEP_LEN, Self::MAX, |r| {
            let hops_left = r.u32("hops_left")?;
            let to = r.u32("to")?;
            Ok(Step { hops_left, to })
        })?;
        reader.finish()?;
        Ok(steps)
    }
}
