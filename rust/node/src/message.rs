//! What the two halves of a node say to each other. Values only, no shared memory: the halves will be two processes.

use std::time::Duration;

use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::SessionKeys;

use crate::engine::{Opened, Opening};

/// From the supervisor to the engine.
pub enum ToEngine {
    /// Take an origin in. Answered by [`FromEngine::Opened`] or [`FromEngine::Refused`] with the same ticket.
    Open {
        /// Chosen by the supervisor.
        ticket: u64,
        /// Who, and how to reach it.
        opening: Opening,
    },
    /// The origin is gone.
    Close {
        /// The session.
        session: u32,
        /// Why, for the log.
        reason: String,
    },
    /// A link is there: the answer to [`FromEngine::Link`].
    Linked {
        /// The engine's number for it.
        link: u16,
        /// What the other node said.
        terms: LinkTerms,
    },
    /// A link is over, or could not be made.
    Unlinked {
        /// The engine's number for it.
        link: u16,
        /// Why, for people.
        reason: String,
    },
    /// Stop: answer what waits with SHUTTING_DOWN, let what runs run for `grace`. Answered by [`FromEngine::Stopped`].
    Stop {
        /// What running calls get.
        grace: Duration,
    },
}

/// What a node that was connected to says of the session.
pub struct LinkTerms {
    /// The keys of the data plane.
    pub keys: SessionKeys,
    /// The session's number over there.
    pub session: u32,
    /// Where to send frames.
    pub address: Vec<u8>,
    /// The longest body that it takes.
    pub max_frame: u64,
}

/// From the engine to the supervisor.
#[derive(Debug)]
pub enum FromEngine {
    /// The origin is in.
    Opened {
        /// The supervisor's ticket.
        ticket: u64,
        /// What the origin is to be told.
        opened: Opened,
    },
    /// The origin is not taken in.
    Refused {
        /// The supervisor's ticket.
        ticket: u64,
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The data plane has lost the origin.
    Lost {
        /// The session.
        session: u32,
    },
    /// Connect to another node. Answered by [`ToEngine::Linked`] or [`ToEngine::Unlinked`].
    Link {
        /// Chosen by the engine, and the session's epoch over there.
        link: u16,
        /// Where the other node takes sessions, `host:port`.
        place: String,
        /// Where it is to send its frames.
        address: Vec<u8>,
    },
    /// Give a link up.
    Unlink {
        /// The engine's number for it.
        link: u16,
    },
    /// Nothing is served any more.
    Stopped {
        /// Whether everything that ran came to its end.
        clean: bool,
    },
}
