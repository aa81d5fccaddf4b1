//! Why an archive could not be made to run.

use crate::libraries::LibraryError;
use bitcode_runtime::constant::BuildError;
use bitcode_wire::error::ErrorCode;
use std::fmt;

/// Why an archive could not be compiled; [`JitError::code`] says it to the origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JitError {
    /// The archive was made for another object layout: the origin's Julia is another version.
    #[error("the archive needs the ABI {found}; this node offers {}", offered.join(", "))]
    Abi {
        /// What the archive says.
        found: String,
        /// What there is.
        offered: &'static [&'static str],
    },
    /// A native image was made for another build of the runtime, whose thread state lies otherwise.
    #[error(
        "the native image was made for another build of the node: it is marked {found}, this node's own are {ours}; make it anew, or send bitcode"
    )]
    Build {
        /// The image's mark.
        found: String,
        /// What it should be.
        ours: String,
    },
    /// No image suits this machine.
    #[error("no image of the archive suits {machine}, {takes}: it has {found}")]
    NoImage {
        /// This machine.
        machine: String,
        /// What it takes, in words.
        takes: &'static str,
        /// What the archive has.
        found: String,
    },
    /// LLVM cannot read the image, or finds it inconsistent: the sender's fault.
    #[error("the image is not valid: {0}")]
    Invalid(String),
    /// The image holds something that must not travel: the sender's fault.
    #[error("the image was refused: {0}")]
    Refused(Refusal),
    /// The image holds something that this node cannot do.
    #[error("the image needs something that this node cannot do: {0}")]
    Unsupported(String),
    /// The image is larger than a node compiles.
    #[error("the image has {found} {what}; a node compiles at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// Symbols that the node does not offer, or that the manifest does not name.
    #[error("the image refers to {}, which {}", names(.symbols), .reason)]
    Unresolved {
        /// The symbols.
        symbols: Vec<String>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A C library that the code depends on is not to be had.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The manifest's objects cannot be built: the sender's fault, or another Julia's.
    #[error("the archive's objects cannot be built: {0}")]
    Objects(BuildError),
    /// LLVM failed on an image that it had accepted. Our fault, or LLVM's.
    #[error(
        "LLVM could not compile the image: {0} (this is a fault of the node, not of the sender: please report it)"
    )]
    Llvm(String),
    /// There is no such target, or none that nodes have: who asked for an image is wrong.
    #[error("no image can be made for {spec:?}: {problem}")]
    Target {
        /// What was asked for.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The node's own set-up is wrong.
    #[error("the node cannot compile: {0}")]
    Setup(String),
}

impl JitError {
    /// The code that an ERROR frame carries for this.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Abi { .. } | Self::Build { .. } | Self::Objects(BuildError::Layout(_)) => {
                ErrorCode::BAD_ABI
            }
            Self::NoImage { .. } | Self::Target { .. } => ErrorCode::NO_IMAGE,
            Self::Invalid(_) | Self::Refused(_) => ErrorCode::BAD_IMAGE,
            Self::Unsupported(_) => ErrorCode::UNSUPPORTED,
            Self::TooLarge { .. } => ErrorCode::TOO_LARGE,
            Self::Unresolved { .. } | Self::Library(_) => ErrorCode::UNRESOLVED_SYMBOL,
            Self::Objects(_) => ErrorCode::BAD_ARCHIVE,
            Self::Llvm(_) | Self::Setup(_) => ErrorCode::INTERNAL,
        }
    }
}

/// What an image may not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A pointer made from a number: an address of the process that captured the code.
    AbsoluteAddress {
        /// Where.
        place: String,
        /// The number.
        address: u64,
    },
    /// Assembly in a function or in the module.
    Assembly {
        /// Where.
        place: String,
    },
    /// An alias or an indirect function.
    Alias {
        /// Its name.
        name: String,
    },
    /// Code that would run when the image is loaded.
    Constructor {
        /// The variable that names it.
        name: String,
    },
    /// A thread-local variable.
    ThreadLocal {
        /// Its name.
        name: String,
    },
    /// A section of its own choice, a prologue of its own bytes, a collector or a personality.
    Attachment {
        /// On what.
        name: String,
        /// What.
        what: &'static str,
    },
    /// No entry, or one with another signature.
    Entry {
        /// The name that the manifest gives.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Data laid out for another byte order or another width of pointers.
    DataLayout {
        /// The layout.
        layout: String,
    },
    /// An intrinsic that nobody knows.
    Intrinsic {
        /// Its name.
        name: String,
    },
    /// A section, symbol or relocation of a native object.
    Object {
        /// Which.
        name: String,
        /// What it is.
        what: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AbsoluteAddress { place, address } => {
                write!(
                    f,
                    "{place} holds the absolute address {address:#x} of another process"
                )
            }
            Self::Assembly { place } => write!(f, "{place} holds assembly"),
            Self::Alias { name } => write!(f, "{name} is an alias or an indirect function"),
            Self::Constructor { name } => write!(f, "{name} names code to be run at load time"),
            Self::ThreadLocal { name } => write!(f, "{name} is a thread-local variable"),
            Self::Object { name, what } => write!(f, "in the object file, {name} {what}"),
            Self::Attachment { name, what } => write!(f, "{name} has {what}"),
            Self::Entry { name, problem } => write!(f, "the entry {name} {problem}"),
            Self::DataLayout { layout } => {
                write!(
                    f,
                    "its data layout {layout:?} is not that of a little-endian machine with 64-bit pointers"
                )
            }
            Self::Intrinsic { name } => write!(
                f,
                "it calls {name}, which is no intrinsic of LLVM's or Julia's that a node knows"
            ),
        }
    }
}

/// At most eight names, quoted.
pub(crate) fn names(symbols: &[String]) -> String {
    let shown: Vec<_> = symbols
        .iter()
        .take(8)
        .map(|symbol| format!("`{symbol}`"))
        .collect();
    let more = symbols.len().saturating_sub(shown.len());
    let rest = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    shown.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code() {
        let address = Refusal::AbsoluteAddress {
            place: "f".into(),
            address: 0x7f00_1234,
        };
        assert_eq!(
            JitError::Refused(address.clone()).code(),
            ErrorCode::BAD_IMAGE
        );
        assert!(address.to_string().contains("0x7f001234"));
        assert_eq!(
            JitError::Abi {
                found: "julia-9".into(),
                offered: &["julia-1.5-64le"]
            }
            .code(),
            ErrorCode::BAD_ABI
        );
        assert_eq!(JitError::Llvm(String::new()).code(), ErrorCode::INTERNAL);
    }

    #[test]
    fn unresolved_names_are_listed_and_cut() {
        let symbols = (0..10).map(|i| format!("s{i}")).collect();
        let error = JitError::Unresolved {
            symbols,
            reason: "this node does not offer",
        };
        let text = error.to_string();
        assert!(
            text.contains("`s7` and 2 more, which this node does not offer"),
            "{text}"
        );
        assert_eq!(error.code(), ErrorCode::UNRESOLVED_SYMBOL);
    }
}
