//! Counters of a session.

/// What a session has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Calls begun.
    pub calls: u64,
    /// Of those, calls not finished.
    pub pending: u64,
    /// Bytes of headers, payloads and archives sent.
    pub bytes_sent: u64,
    /// Bytes of headers and bodies received.
    pub bytes_received: u64,
    /// Frames that carried an archive.
    pub archives_sent: u64,
    /// How often the node asked for code.
    pub need_code: u64,
    /// Calls that ended with a value.
    pub values: u64,
    /// Calls that ended with an exception.
    pub throws: u64,
    /// Calls that ended with an error, here or there.
    pub errors: u64,
    /// Of those, calls that took too long.
    pub timeouts: u64,
    /// Frames that were dropped: a bad tag, or an answer to no call (any more).
    pub dropped_frames: u64,
}
