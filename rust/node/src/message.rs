//! What the two halves of a node say to each other. Values only, no shared memory: the halves will be two processes.

use std::time::Duration;

use bitcode_wire::error::ErrorCode;

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
    /// Stop: answer what waits with SHUTTING_DOWN, let what runs run for `grace`. Answered by [`FromEngine::Stopped`].
    Stop {
        /// What running calls get.
        grace: Duration,
    },
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
    /// Nothing is served any more.
    Stopped {
        /// Whether everything that ran came to its end.
        clean: bool,
    },
}
