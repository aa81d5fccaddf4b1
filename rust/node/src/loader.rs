//! What the engine needs of a compiler: archive in, something that can be run out.
//!
//! The engine is written against these traits, not against the JIT, so that the protocol can be tested without LLVM.

use bitcode_jit::{Host, Onward, Place};
use bitcode_wire::archive::{Archive, ArchiveError};
use bitcode_wire::code::CodeId;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{StageTimings, View};

/// Makes programs of archives.
pub trait Loader: Send + Sync + 'static {
    /// What it makes.
    type Program: Program;

    /// Links, optimises and emits the archive, whose hash (`id`) and form have been checked. `links` is the code that it links to, in the
    /// manifest's order: the program may call it as long as whoever holds the program holds that.
    ///
    /// # Errors
    /// Why this node cannot run it.
    fn load(
        &self,
        id: &CodeId,
        archive: &Archive<'_>,
        links: &[&Self::Program],
    ) -> Result<Self::Program, LoadError>;

    /// What it would make of the archive, as text. The hash (`id`) and the form have been checked.
    ///
    /// # Errors
    /// As for [`Loader::load`]; UNSUPPORTED if it has nothing to show.
    fn show(&self, _id: &CodeId, _archive: &Archive<'_>, view: View) -> Result<String, LoadError> {
        Err(LoadError {
            code: ErrorCode::UNSUPPORTED,
            message: format!("this node has no {view:?} form of code"),
        })
    }

    /// Prepares the calling thread for running programs. Called once on each of the engine's threads.
    ///
    /// # Errors
    /// The system refuses what it takes, such as memory for another stack.
    fn enter_thread(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Where a program's output goes: stream (1: standard output, 2: standard error), text, and whether the text's last line goes
/// on in the next piece of the same stream. Pieces come in order and have at most
/// [`OutputPayload::MAX_TEXT`](bitcode_wire::frame::OutputPayload::MAX_TEXT) bytes.
pub type Listener<'a> = dyn Fn(u8, &[u8], bool) + 'a;

/// Code that is ready to run, as often as one likes and on many threads at once.
pub trait Program: Send + Sync + 'static {
    /// Where a run leaves its result. Used again by the next run on the same thread.
    type Output: AsRef<[u8]> + Default + Send + Sync + 'static;

    /// Runs once. `payload` is aligned to 64 bytes and may be written into; the result, value or exception graph, is left in
    /// `output`; what the code prints goes to `listener`; `place` is what it is told of where it runs, and `host`
    /// answers for the node.
    fn run(
        &self,
        place: Place,
        host: &dyn Host,
        payload: &mut [u8],
        listener: &Listener<'_>,
        output: &mut Self::Output,
    ) -> Ran;

    /// Where the entry of specialised code is, for code of the same archive that runs on the same thread; `None` if it is not specialised.
    fn special_entry(&self) -> Option<usize> {
        None
    }

    /// Memory that it takes, for the cache.
    fn bytes(&self) -> usize;

    /// Whether it was not made now, but found where an earlier node had left it.
    fn was_kept(&self) -> bool {
        false
    }

    /// How long the stages parse, link, optimise and emit took.
    fn stages(&self) -> StageTimings {
        StageTimings::default()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The output is the packed result.
    Value,
    /// The output is the graph of an exception.
    Thrown,
    /// The code died of this signal; the process is sound.
    Fault {
        /// The signal's number.
        signal: i32,
    },
    /// There was no memory for it.
    OutOfMemory,
    /// It did not run: this is wrong with the payload.
    BadPayload(&'static str),
    /// It goes on elsewhere: the output is the payload for that.
    Forward(Onward),
    /// Its host has stopped it, and knows why.
    Stopped,
}

impl From<ArchiveError> for LoadError {
    fn from(error: ArchiveError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

/// Why an archive was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct LoadError {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}
