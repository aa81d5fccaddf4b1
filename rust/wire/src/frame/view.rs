//! What a call with the flag [`Flags::SHOW`](super::Flags::SHOW) asks for.

/// In which form a node shows what it makes of an archive.
///
/// ```
/// use bitcode_wire::frame::View;
///
/// assert_eq!(View::decode(&View::Native.encode()), Some(View::Native));
/// assert_eq!(View::decode(b""), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum View {
    /// LLVM's text form of the optimised code.
    Llvm = 1,
    /// Machine instructions.
    Native = 2,
}

impl View {
    /// The payload of the call.
    pub const fn encode(self) -> [u8; 1] {
        [self as u8]
    }

    /// The view that a payload asks for; `None` if it is no such payload.
    pub const fn decode(payload: &[u8]) -> Option<Self> {
        match payload {
            [1] => Some(Self::Llvm),
            [2] => Some(Self::Native),
            _ => None,
        }
    }
}
