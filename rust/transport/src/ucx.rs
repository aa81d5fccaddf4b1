//! UCX made safe.
//!
//! | file | what it knows |
//! |---|---|
//! | `status`, `log`, `names` | UCX's numbers, log lines and reports |
//! | `context`, `worker`, `endpoint` | UCX's objects and who may use them when |
//! | `lane`, `state`, `peer`, `lock` | a worker of each peer's own, and one thread at a time in it |
//! | `lanes`, `bitmap`, `poll`, `sleep` | all of them: found, driven, and left alone when there is nothing to do |
//! | `message`, `ring`, `inbox`, `outbox` | frames as active messages |
//! | `fabric`, `region`, `remote` | what other rooms use |

mod bitmap;
mod context;
mod endpoint;
mod fabric;
mod inbox;
mod lane;
mod lanes;
mod lock;
mod log;
mod message;
mod names;
mod outbox;
mod peer;
mod poll;
mod region;
mod remote;
mod ring;
mod sleep;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod worker;

pub use fabric::UcxFabric;
pub use region::MemoryRegion;
pub use remote::{RemoteKey, Transfer};

/// The version of the UCX library in use, such as `1.13.1`.
pub fn ucx_version() -> String {
    let (major, minor, release) = context::version();
    format!("{major}.{minor}.{release}")
}
