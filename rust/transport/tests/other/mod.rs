//! The other process of a test: started, spoken to, killed; and what it does.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitcode_transport::{
    Body, Event, Fabric, HeaderBytes, PeerId, Segment, SendStatus, Settings, Token, UcxFabric,
};

/// Both ways between two processes of one machine.
pub(crate) const TRANSPORTS: [&str; 2] = ["shm", "tcp"];

/// Length of the memory that the role `region` offers.
pub(crate) const REGION: usize = 1 << 20;

const ROLE: &str = "BITCODE_TRANSPORT_TEST_ROLE";
const DEAFEN: &str = "DEAFEN";
const TRANSPORT: &str = "BITCODE_TRANSPORT_TEST_TRANSPORT";

/// Only a machine that has stopped makes a test wait this long.
pub(crate) fn long_enough() -> Instant {
    Instant::now() + Duration::from_secs(90)
}

/// A header that begins with `number`.
pub(crate) fn header(number: u8) -> HeaderBytes {
    let mut header = [0xA5; 64];
    header[0] = number;
    header
}

/// Bytes that are different for each place and each seed.
pub(crate) fn body(len: usize, seed: u8) -> Vec<u8> {
    let byte = |index: usize| {
        (index as u32)
            .wrapping_mul(2_654_435_761)
            .wrapping_add(seed.into())
            >> 13
    };
    (0..len).map(|index| byte(index) as u8).collect()
}

/// Compares without printing megabytes.
pub(crate) fn check_body(bytes: &[u8], len: usize, seed: u8, what: &str) {
    assert_eq!(bytes.len(), len, "{what}");
    let differs = bytes
        .iter()
        .zip(body(len, seed))
        .position(|(&got, expected)| got != expected);
    assert_eq!(differs, None, "{what}: {len} bytes, first difference");
}

/// Drives until `done` says so.
pub(crate) fn poll_until(fabric: &UcxFabric, what: &str, mut done: impl FnMut(Event) -> bool) {
    let end = long_enough();
    let mut finished = false;
    while !finished {
        fabric.poll(&mut |event: Event| finished |= done(event));
        assert!(Instant::now() < end, "waited in vain for {what}");
    }
}

/// A fabric of this process.
pub(crate) fn new_fabric(transport: &str) -> Arc<UcxFabric> {
    Arc::new(UcxFabric::new(&settings(transport)).unwrap())
}

fn settings(transport: &str) -> Settings {
    let mut settings = Settings::with_transport(transport.parse().unwrap());
    settings.keepalive = Duration::from_millis(200);
    settings
}

/// The other process, connected.
pub(crate) struct Other {
    pub(crate) fabric: Arc<UcxFabric>,
    pub(crate) peer: PeerId,
    process: Process,
}

/// A process that does not outlive its value.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stdin: Option<ChildStdin>,
}

impl Other {
    /// Starts it and exchanges addresses.
    pub(crate) fn start(transport: &str, role: &str) -> Self {
        Self::beside(&new_fabric(transport), transport, role)
    }

    /// Starts it as one more peer of a fabric.
    pub(crate) fn beside(fabric: &Arc<UcxFabric>, transport: &str, role: &str) -> Self {
        // `RUST_LOG=ucx=debug UCX_LOG_LEVEL=debug` shows what UCX thinks. Other tests may have been first.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer();
        logs.try_init().ok();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--nocapture"])
            .env(ROLE, role)
            .env(TRANSPORT, transport)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (peer, own) = fabric.open_peer().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{}", hex(&own)).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = read_hex(&mut stdout, "ADDRESS ");
        // As in a session: the node has its endpoint before the origin makes one.
        read_hex(&mut stdout, "READY ");
        fabric.connect_peer(peer, &address).unwrap();
        Self {
            fabric: Arc::clone(fabric),
            peer,
            process: Process {
                child,
                stdout,
                stdin: Some(stdin),
            },
        }
    }

    /// Its parts.
    pub(crate) fn apart(self) -> (Arc<UcxFabric>, PeerId, Process) {
        (self.fabric, self.peer, self.process)
    }

    /// Reads what it printed after `prefix`.
    pub(crate) fn read_hex(&mut self, prefix: &str) -> Vec<u8> {
        read_hex(&mut self.process.stdout, prefix)
    }

    /// From now on it drives its fabric no more. It has to be told, and not to decide by itself, because what it has sent goes
    /// out only while it drives.
    pub(crate) fn deafen(&mut self) {
        let stdin = self.process.stdin.as_mut().unwrap();
        writeln!(stdin, "{DEAFEN}").unwrap();
        self.read_hex("DEAF ");
    }

    /// Kills it as nothing else does.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Sends a body and returns the answer's.
    pub(crate) fn ask(&self, bytes: &[u8]) -> Body {
        let status = self
            .fabric
            .send(self.peer, &header(0), &[Segment::borrowed(bytes)], Token(0));
        assert_eq!(status, Ok(SendStatus::Done));
        let mut answer = None;
        poll_until(&self.fabric, "an answer", |event| {
            match event {
                Event::Frame { body, .. } => answer = Some(body),
                other => panic!("{other:?}"),
            }
            answer.is_some()
        });
        answer.unwrap()
    }

    /// One frame each way.
    pub(crate) fn ping(&self) {
        assert_eq!(self.ask(b"ping").bytes(), b"ping");
    }
}

impl Process {
    /// Lets it end by itself, and looks whether it did.
    pub(crate) fn end(mut self) {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the other process: {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// The test harness prints on the same stream, even on the same line.
fn read_hex(from: &mut impl BufRead, prefix: &str) -> Vec<u8> {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(
            from.read_line(&mut line).unwrap(),
            0,
            "the other process ended early"
        );
        if let Some((_, rest)) = line.split_once(prefix) {
            return unhex(rest);
        }
    }
}

/// What the other process does: a test of the parent's binary, where it does nothing.
pub(crate) fn run() {
    let Ok(role) = env::var(ROLE) else { return };
    let fabric = UcxFabric::new(&settings(&env::var(TRANSPORT).unwrap())).unwrap();
    let region = (role == "region").then(|| fabric.allocate_region(REGION).unwrap());
    let (peer, own) = fabric.open_peer().unwrap();
    println!("\nADDRESS {}", hex(&own));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let fabric = Arc::new(fabric);
    // A parent that left early is no matter.
    if fabric.connect_peer(peer, &unhex(&line)).is_err() {
        return;
    }
    println!("\nREADY ");
    if let Some(region) = &region {
        println!("\nKEY {}", hex(&region.key().unwrap()));
    }
    let parent = watch_parent(&fabric);
    if role == "flood" {
        return flood(&fabric, peer, &parent.gone);
    }
    if role == "stone deaf" {
        parent.deafens.store(true, Ordering::Relaxed);
    }
    while !parent.gone.load(Ordering::Relaxed) {
        if parent.deafens.load(Ordering::Relaxed) {
            println!("\nDEAF ");
            while !parent.gone.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            return;
        }
        let delivered = fabric.poll(&mut |event: Event| {
            let Event::Frame { header, body } = event else {
                return;
            };
            let answer = match &region {
                Some(region) => {
                    let mut bytes = vec![0; REGION];
                    region.read(0, &mut bytes).unwrap();
                    Segment::shared(Arc::new(bytes))
                }
                None => Segment::shared(Arc::new(body)),
            };
            // Pending or not, the fabric keeps what it needs; a parent that left early is no matter.
            let _ = fabric.send(peer, &header, &[answer], Token(0));
        });
        if delivered == 0 {
            fabric.wait(Duration::from_secs(60));
        }
    }
}

/// Sends small frames and large ones as fast as they go, to somebody who takes them all.
fn flood(fabric: &UcxFabric, peer: PeerId, orphaned: &AtomicBool) {
    let bodies =
        [0, 8, 7000, 8000, 100, 200_000].map(|len| Segment::shared(Arc::new(body(len, 1))));
    for segment in bodies.iter().cycle() {
        if orphaned.load(Ordering::Relaxed) {
            return;
        }
        // A parent that has had enough is no matter.
        let _ = fabric.send(peer, &header(0xF1), slice::from_ref(segment), Token(0));
        while fabric.pending_sends() > 8 && !orphaned.load(Ordering::Relaxed) {
            fabric.poll(&mut |_: Event| {});
        }
    }
}

/// What the parent wants.
#[derive(Default)]
struct Parent {
    /// It ended, or has had enough.
    gone: AtomicBool,
    /// It said [`Other::deafen`].
    deafens: AtomicBool,
}

/// Notices what the parent wants.
fn watch_parent(fabric: &Arc<UcxFabric>) -> Arc<Parent> {
    let parent = Arc::new(Parent::default());
    let (told, fabric) = (parent.clone(), fabric.clone());
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            assert_eq!(line, DEAFEN);
            told.deafens.store(true, Ordering::Relaxed);
            fabric.wake();
        }
        told.gone.store(true, Ordering::Relaxed);
        fabric.wake();
    });
    parent
}
