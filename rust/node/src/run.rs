//! A whole node: both halves put together, started and stopped.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bitcode_transport::{Fabric, UcxFabric};
use bitcode_wire::handshake::Welcome;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::info;

use crate::config::Config;
use crate::jit::JitLoader;
use crate::loader::Loader;
use crate::supervisor::{Happening, Supervisor};
use crate::{Engine, Pool, desk};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data plane.
    #[error("{0}")]
    Transport(#[from] bitcode_transport::TransportError),
    /// The compiler.
    #[error("{0}")]
    Jit(String),
    /// The control plane's address.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// The address.
        listen: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// Threads, signals, standard output.
    #[error("{what}: {error}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The system's words.
        error: std::io::Error,
    },
}

/// What a loader can say of itself to origins.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The CPU that it compiles for.
    pub cpu: String,
    /// That CPU's features.
    pub features: String,
    /// The compiler's version.
    pub compiler: String,
    /// The ABIs that it runs.
    pub abis: Vec<String>,
}

/// Runs a node until it is told to stop. `ready` gets the ready line, one JSON object, once the node serves.
///
/// # Errors
/// Why it did not start.
pub fn run(config: Config, ready: impl Write) -> Result<(), StartError> {
    let loader = JitLoader::new(config.jit.clone()).map_err(StartError::Jit)?;
    let names: Vec<_> = config.jit.libraries.names().collect();
    info!(allowed = names.join(" "), "C libraries");
    let about = loader.about();
    run_with(config, loader, about, ready)
}

/// Versions of what a node is made of, for `--version`.
pub fn versions() -> String {
    format!(
        "{} (frames {}, control {}, archives {}, LLVM {}, UCX {})",
        env!("CARGO_PKG_VERSION"),
        bitcode_wire::frame::VERSION,
        bitcode_wire::handshake::VERSION,
        bitcode_wire::archive::VERSION,
        bitcode_jit::llvm_version(),
        bitcode_transport::ucx_version(),
    )
}

/// The C libraries that shipped code may call unless the configuration says otherwise, for `--version`.
pub fn default_libraries() -> String {
    let libraries = bitcode_jit::AllowedLibraries::default();
    libraries.names().collect::<Vec<_>>().join(" ")
}

/// Runs a node with another loader than the JIT until it is told to stop. `ready` gets the ready line, one JSON object, once
/// the node serves.
///
/// # Errors
/// Why it did not start.
pub fn run_with<L: Loader>(
    config: Config,
    loader: L,
    about: About,
    mut ready: impl Write,
) -> Result<(), StartError> {
    let system = |what| move |error| StartError::System { what, error };
    // Before anything else has threads, so that no signal is missed.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(system("catching signals"))?;
    let fabric = UcxFabric::new(&config.fabric)?;
    let transport = fabric.describe();
    let welcome = Welcome {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        hostname: hostname(),
        arch: std::env::consts::ARCH.into(),
        cpu: about.cpu,
        features: about.features,
        llvm: about.compiler,
        abis: about.abis,
        transport: transport.clone(),
        max_frame: fabric.max_body().min(config.engine.max_frame) as u64,
        ..Welcome::default()
    };
    let (to_engine, inbox) = channel();
    let (outbox, from_engine) = channel();
    let engine = Arc::new(Engine::new(fabric, loader, config.engine, outbox.clone()));
    let mut pool =
        Pool::start(Arc::clone(&engine), config.pool).map_err(system("starting threads"))?;
    std::thread::Builder::new()
        .name("bitcode-desk".into())
        .spawn(move || desk::serve(&engine, &mut pool, &inbox, &outbox))
        .map_err(system("starting threads"))?;
    let supervisor =
        Supervisor::bind(&config.listen, config.key, welcome, to_engine).map_err(|error| {
            let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
            StartError::Listen {
                listen: listen.join(" or "),
                error,
            }
        })?;
    let address = supervisor
        .address()
        .map_err(system("asking for the address"))?;
    let happen = supervisor.happenings();
    let relay = happen.clone();
    spawn("bitcode-relay", move || {
        for message in from_engine {
            if relay.send(Happening::Engine(message)).is_err() {
                return;
            }
        }
    })?;
    watch_signals(signals, happen.clone())?;
    if config.exit_on_stdin_eof {
        watch_input(happen)?;
    }
    announce(&mut ready, address, &transport).map_err(system("writing the ready line"))?;
    info!(%address, transport, pid = std::process::id(), "ready");
    let clean = supervisor
        .run(config.grace)
        .map_err(system("starting threads"))?;
    info!(clean, "stopped");
    Ok(())
}

/// The ready line.
#[derive(serde::Serialize)]
struct Ready<'a> {
    /// Says what this line is.
    bitcode_node: &'static str,
    address: String,
    pid: u32,
    transport: &'a str,
    version: &'static str,
}

/// Writes the one machine-readable line on standard output.
fn announce(out: &mut impl Write, address: SocketAddr, transport: &str) -> std::io::Result<()> {
    let line = Ready {
        bitcode_node: "ready",
        address: address.to_string(),
        pid: std::process::id(),
        transport,
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)?;
    out.flush()
}

/// The host's name, for people.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

fn watch_signals(mut signals: Signals, happen: Sender<Happening>) -> Result<(), StartError> {
    spawn("bitcode-signals", move || {
        for number in signals.forever() {
            if happen.send(Happening::Signal(number)).is_err() {
                return;
            }
        }
    })
}

/// The parent holds the other end of standard input for as long as it lives.
fn watch_input(happen: Sender<Happening>) -> Result<(), StartError> {
    spawn("bitcode-input", move || {
        let mut input = std::io::stdin().lock();
        let mut rest = [0; 256];
        // What it says does not matter, only that it ends; an error is an end, too.
        while input.read(&mut rest).is_ok_and(|count| count > 0) {}
        // A supervisor that is gone is stopping already.
        let _ = happen.send(Happening::InputEnded);
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(256 << 10)
        .spawn(body)
        .map(|_| ())
        .map_err(|error| StartError::System {
            what: "starting threads",
            error,
        })
}
