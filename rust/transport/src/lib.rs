//! UCX and the control channel made safe.
//!
//! This room turns UCX (a C library with its own rules about threads, lifetimes and callbacks) into the trait
//! [`Fabric`]: "send this frame to that peer". It knows how bytes travel and that a peer has died. It does not know
//! what a frame means, and must never look inside a body: that is for `node` and `client`.
//!
//! - [`control`]: who the peer is, what it speaks, and whether it lives;
//! - [`fabric`]: the trait and its words; [`segment`], [`body`]: the memory of frames on the way out and in;
//! - [`patience`]: how long a thread looks for frames before it sleeps;
//! - [`region`]: memory that peers read and write themselves;
//! - [`ucx`]: the trait over UCX; [`memory`]: the trait over nothing, with a virtual clock, for tests;
//! - [`settings`], [`error`]: what can be chosen and what can go wrong.

pub mod body;
pub mod control;
pub mod error;
pub mod fabric;
pub mod memory;
pub mod patience;
pub mod region;
pub mod segment;
pub mod settings;
pub mod ucx;

pub use body::{BODY_ALIGN, Body, BodyPool};
pub use error::{PeerFailure, TransportError};
pub use fabric::{
    Event, Fabric, FabricStats, HEADER_LEN, HeaderBytes, PeerId, SendStatus, Sink, Token,
};
pub use memory::{MemoryFabric, MemoryHub, Weather};
pub use patience::Patience;
pub use region::{Region, RemoteRegion, Update};
pub use segment::{Segment, body_len};
pub use settings::{Settings, TransportChoice};
pub use ucx::{UcxFabric, ucx_version};
