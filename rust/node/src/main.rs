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
    /// Where to listen, port 0 for any free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// File with the key that origins must have, too; needed to listen on anything but loopback
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Transports: auto, shm, tcp, or a list in UCX's own words [default: auto]
    #[arg(long, value_name = "NAMES")]
    transport: Option<String>,
    /// Network devices that UCX may use, such as eth0,lo
    #[arg(long, value_name = "NAMES")]
    net_devices: Option<String>,
    /// Bytes of compiled code to keep [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    cache_bytes: Option<u64>,
    /// Directory, for this user alone, where compiled objects are kept, so that a restarted node need not compile again
    /// [default: none]
    #[arg(long, value_name = "DIRECTORY")]
    object_cache: Option<PathBuf>,
    /// Bytes of compiled objects to keep there [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    object_cache_bytes: Option<u64>,
    /// Run native images only, and compile nothing
    #[arg(long)]
    no_jit: bool,
    /// The longest frame to take or send [default: 4294967296]
    #[arg(long, value_name = "BYTES")]
    max_frame: Option<u64>,
    /// Bytes of memory that one call may use; more is an OutOfMemoryError [default: 8589934592]
    #[arg(long, value_name = "BYTES")]
    call_memory: Option<u64>,
    /// Bytes that segments may take, memory that origins read and write themselves; 0 for none [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    segment_bytes: Option<u64>,
    /// Collect garbage whenever a call has taken so many bytes: few of them find mistakes [default: as it pays]
    #[arg(long, value_name = "BYTES")]
    collect_after: Option<u64>,
    /// What to log: a level, or a list such as warn,bitcode_node=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Threads that run shipped code [default: one per core]
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Microseconds to go on looking for frames before sleeping [default: 50]
    #[arg(long, value_name = "MICROSECONDS")]
    spin_us: Option<u64>,
    /// CPU to compile for, in LLVM's words [default: the one it runs on]
    #[arg(long, value_name = "NAME")]
    cpu: Option<String>,
    /// C library that shipped code may call besides the default ones: a name such as libz.so.1, or a path; repeatable
    #[arg(long, value_name = "NAME")]
    allow_library: Vec<String>,
    /// C library of the default ones that shipped code may not call, or all; repeatable
    #[arg(long, value_name = "NAME")]
    deny_library: Vec<String>,
    /// What running calls get when told to stop [default: 1000]
    #[arg(long, value_name = "MILLISECONDS")]
    grace_ms: Option<u64>,
    /// Stop when standard input ends, that is, when the parent process is gone
    #[arg(long)]
    exit_on_stdin_eof: bool,
    /// TOML file with the same settings, by the same names; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the versions of the node, its formats, LLVM and UCX, and the C libraries that shipped code may call by default
    #[arg(short = 'V', long)]
    version: bool,
}

impl From<CommandLine> for Wishes {
    fn from(line: CommandLine) -> Self {
        let mut wishes = Self::default();
        wishes.listen = line.listen;
        wishes.key_file = line.key_file;
        wishes.transport = line.transport;
        wishes.net_devices = line.net_devices;
        wishes.cache_bytes = line.cache_bytes;
        wishes.object_cache = line.object_cache;
        wishes.object_cache_bytes = line.object_cache_bytes;
        wishes.no_jit = line.no_jit.then_some(true);
        wishes.max_frame = line.max_frame;
        wishes.call_memory = line.call_memory;
        wishes.segment_bytes = line.segment_bytes;
        wishes.collect_after = line.collect_after;
        wishes.log = line.log;
        wishes.log_format = line.log_format;
        wishes.threads = line.threads;
        wishes.spin_us = line.spin_us;
        wishes.cpu = line.cpu;
        wishes.allow_library = Some(line.allow_library).filter(|names| !names.is_empty());
        wishes.deny_library = Some(line.deny_library).filter(|names| !names.is_empty());
        wishes.grace_ms = line.grace_ms;
        wishes.exit_on_stdin_eof = line.exit_on_stdin_eof.then_some(true);
        wishes
    }
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
        Ok(file) => Wishes::from(line).or(file.unwrap_or_default()),
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
