//! `bitcode-node`: a node as a process. It only reads the command line; everything else is in the library.
//!
//! Exit codes: 0 stopped as told, 1 could not start, 2 the command line or the configuration makes no sense.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use bitcode_node::{LogFormat, Wishes, default_libraries, run, versions};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Receives, links, keeps and runs functions that Julia processes ship to it.
///
/// Prints one line of JSON on standard output when it is ready; logs go to standard error. Stops on SIGTERM and SIGINT.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    wishes: Wishes,
    /// TOML file with the same settings, by the same names; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the versions of the node, its formats, LLVM and UCX, and the C libraries that shipped code may call by default
    #[arg(short = 'V', long)]
    version: bool,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    if line.version {
        println!("bitcode-node {}", versions());
        println!("C libraries, by default: {}", default_libraries());
        return ExitCode::SUCCESS;
    }
    let file = line.config.as_deref().map(Wishes::read).transpose();
    let wishes = match file {
        Ok(file) => line.wishes.or(file.unwrap_or_default()),
        Err(error) => return fail(2, &error),
    };
    let filter = wishes.log.as_deref().unwrap_or("info");
    let filter = match EnvFilter::try_new(filter) {
        Ok(filter) => filter,
        Err(error) => return fail(2, &format!("log = {filter}: {error}")),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match wishes.log_format.unwrap_or_default() {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    let config = match wishes.decide() {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    match run(config, std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("bitcode-node: {error}");
    ExitCode::from(code)
}
