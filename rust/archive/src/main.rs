//! `bitcode-archive`: looks at files of shipped functions, checks them, and changes which code they hold.
//!
//! What this room is for: what a user does with such a file without Julia and without a node. It may know the formats and how an image
//! is made and read; it must never know sessions, or run what it reads.
//!
//! Exit codes: 0 done, 1 the file is refused or the work cannot be done, 2 the command line makes no sense.
#![forbid(unsafe_code)]

mod change;
mod file;
mod show;
mod verify;

use bitcode_jit::JitError;
use bitcode_wire::archive::ArchiveError;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks at files of functions that BitCode.save wrote, checks them, and changes which code they hold.
///
/// FILE is a library or a single archive; `-` stands for standard input, or output.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One line for each function: code id, name, images
    List {
        /// Library or archive
        file: PathBuf,
    },
    /// All that the file says of its functions
    Inspect {
        #[command(flatten)]
        which: Which,
        /// List the Julia objects that the code refers to, too
        #[arg(long)]
        objects: bool,
    },
    /// The code as text: LLVM's language for bitcode, instructions for native code
    Disassemble {
        #[command(flatten)]
        which: Which,
        /// Only this image, counted from 1
        #[arg(long, value_name = "NUMBER")]
        image: Option<usize>,
    },
    /// Check every image as a node would before it links it; nothing is run
    Verify {
        /// Library or archive
        file: PathBuf,
    },
    /// Add native code, made here of the bitcode for the same architecture
    Compile {
        /// Library or archive
        file: PathBuf,
        /// `ARCHITECTURE[:CPU[:FEATURES]]`, such as x86_64:x86-64-v3 or aarch64:neoverse-n1, or `native`; repeatable
        #[arg(long, value_name = "TARGET", required = true)]
        target: Vec<String>,
        #[command(flatten)]
        to: Output,
    },
    /// Take away what no node needs: the origin's notes, with names and lines of the source; and images, if told to
    Strip {
        /// Library or archive
        file: PathBuf,
        /// Take bitcode away where there is native code
        #[arg(long)]
        bitcode: bool,
        /// Take away the images of all other architectures
        #[arg(long, value_name = "ARCHITECTURE")]
        only: Option<String>,
        #[command(flatten)]
        to: Output,
    },
    /// Put the functions of several files into one; the same code with other images becomes one function
    Merge {
        /// Libraries or archives
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        to: Output,
    },
}

#[derive(Args)]
struct Which {
    /// Library or archive
    file: PathBuf,
    /// The function: its name, or what was shipped, such as `f(::Int64)` [default: all]
    name: Option<String>,
}

#[derive(Args)]
struct Output {
    /// Where the new library goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{path}: {error}")]
    File {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{path}: {error}")]
    Refused { path: PathBuf, error: ArchiveError },
    #[error("{0}")]
    Target(JitError),
    #[error("{name}: {error}")]
    Code { name: String, error: JitError },
    #[error("{0}")]
    Encode(#[from] ArchiveError),
    #[error("{0}")]
    Nothing(String),
    #[error("{bad} of {all} images are refused")]
    Bad { bad: usize, all: usize },
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has enough of it.
        Err(Failure::File { error, .. }) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("bitcode-archive: {failure}");
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { file } => show::list(&file),
        Command::Inspect { which, objects } => {
            show::inspect(&which.file, which.name.as_deref(), objects)
        }
        Command::Disassemble { which, image } => {
            show::disassemble(&which.file, which.name.as_deref(), image)
        }
        Command::Verify { file } => verify::verify(&file),
        Command::Compile { file, target, to } => change::compile(&file, &target, &to.output),
        Command::Strip {
            file,
            bitcode,
            only,
            to,
        } => change::strip(&file, bitcode, only.as_deref(), &to.output),
        Command::Merge { files, to } => change::merge(&files, &to.output),
    }
}
