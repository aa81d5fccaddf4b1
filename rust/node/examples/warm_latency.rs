//! Round trips of warm calls, Int → Int, between two processes, beside bare frames of the same size on the same fabric.
//!
//! `cargo run --release -p bitcode-node --example warm_latency -- [--transport shm|tcp|…] [--seconds N]`
//!
//! What the node runs is a line of Rust instead of compiled code: this measures the call path alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bitcode_client::{CallOptions, Client, Terms};
use bitcode_node::{Engine, EngineSettings, LoadError, Loader, Opening, Pool, PoolSettings};
use bitcode_node::{Host, Listener, Place, Program, Ran};
use bitcode_transport::{Body, Fabric, HeaderBytes, PeerFailure, PeerId, Segment, Settings};
use bitcode_transport::{Sink, Token, TransportError, UcxFabric};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::CodeId;
use bitcode_wire::frame::SessionKeys;
use bitcode_wire::handshake::Welcome;
use bitcode_wire::manifest::Manifest;

struct AddOne;

impl Loader for AddOne {
    type Program = Self;

    fn load(&self, _: &CodeId, _: &Archive<'_>) -> Result<Self, LoadError> {
        Ok(Self)
    }
}

impl Program for AddOne {
    type Output = Vec<u8>;

    fn run(
        &self,
        _: Place,
        _: &dyn Host,
        payload: &mut [u8],
        _: &Listener<'_>,
        output: &mut Vec<u8>,
    ) -> Ran {
        let number = payload
            .first_chunk()
            .map_or(0, |bytes| i64::from_le_bytes(*bytes));
        output.clear();
        output.extend_from_slice(&(number + 1).to_le_bytes());
        Ran::Value
    }

    fn bytes(&self) -> usize {
        0
    }
}

fn main() {
    let mut transport = "shm".to_owned();
    let mut seconds = 1.0;
    let mut role = "origin".to_owned();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().expect("an option wants a value");
        match arg.as_str() {
            "--transport" => transport = value,
            "--seconds" => seconds = value.parse().expect("a number"),
            "--role" => role = value,
            other => panic!("unknown option {other}"),
        }
    }
    let choice = transport.parse().expect("a transport");
    let fabric = UcxFabric::new(&Settings::with_transport(choice)).expect("UCX");
    match role.as_str() {
        "echo" => echo(&fabric),
        "node" => node(fabric),
        _ => {
            let (bare, bare99) = bare(&fabric, &transport, seconds);
            println!("bare frames     median {bare:7.3} µs   p99 {bare99:7.3} µs");
            let (warm, warm99) = warm(fabric, &transport, seconds);
            println!("warm calls      median {warm:7.3} µs   p99 {warm99:7.3} µs");
            println!("ratio           median {:7.3}", warm / bare);
        }
    }
}

/// Starts this program again in another role, exchanges addresses with it and calls `body` with its address.
fn beside<R>(role: &str, transport: &str, own: &[u8], body: impl FnOnce(Vec<u8>) -> R) -> R {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--role", role, "--transport", transport])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, "{}", hex(own)).expect("a reader");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("the child's address");
    let result = body(unhex(line.trim()));
    drop(input);
    child.wait().expect("the child's end");
    result
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The other side's address, from standard input, after telling it ours.
fn meet(own: &[u8]) -> Vec<u8> {
    println!("{}", hex(own));
    parents_address()
}

fn parents_address() -> Vec<u8> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("an address");
    unhex(line.trim())
}

/// Ends the process when standard input ends.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
}

struct Echo<'a>(&'a UcxFabric, PeerId);

impl Sink for Echo<'_> {
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        let _ = self
            .0
            .send(self.1, header, &[Segment::borrowed(body)], Token(0))
            .expect("sent");
    }
    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}
    fn peer_failed(&mut self, _: PeerId, _: PeerFailure) {
        std::process::exit(0);
    }
}

fn echo(fabric: &UcxFabric) {
    let (peer, own) = fabric.open_peer().expect("a peer");
    fabric.connect_peer(peer, &meet(&own)).expect("a peer");
    end_with_parent();
    let mut sink = Echo(fabric, peer);
    loop {
        fabric.poll(&mut sink);
    }
}

struct Count(u64);

impl Sink for Count {
    fn frame(&mut self, _: &HeaderBytes, _: &mut Body) {
        self.0 += 1;
    }
    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}
    fn peer_failed(&mut self, _: PeerId, reason: PeerFailure) {
        panic!("{reason}");
    }
}

fn bare(fabric: &UcxFabric, transport: &str, seconds: f64) -> (f64, f64) {
    let (peer, own) = fabric.open_peer().expect("a peer");
    beside("echo", transport, &own, |address| {
        fabric.connect_peer(peer, &address).expect("a peer");
        let mut sink = Count(0);
        let mut sent = 0;
        let result = measure(seconds, || {
            let body = [Segment::borrowed(&[7; 8])];
            let _ = fabric.send(peer, &[0; 64], &body, Token(0)).expect("sent");
            sent += 1;
            while sink.0 < sent {
                fabric.poll(&mut sink);
            }
        });
        fabric.remove_peer(peer);
        result
    })
}

const SECRET: &[u8] = b"of the example";

fn node(fabric: UcxFabric) {
    let address = parents_address();
    let (outbox, _messages) = channel();
    let engine = Arc::new(Engine::new(
        fabric,
        AddOne,
        EngineSettings::default(),
        outbox,
    ));
    let opening = Opening {
        keys: SessionKeys::derive(SECRET),
        address,
        epoch: 1,
        name: "parent".into(),
    };
    let opened = engine.open_session(opening).expect("a session");
    println!("{}", hex(&opened.address));
    let _pool = Pool::start(engine, PoolSettings::default()).expect("threads");
    end_with_parent();
    loop {
        std::thread::park();
    }
}

fn warm(fabric: UcxFabric, transport: &str, seconds: f64) -> (f64, f64) {
    let client = Client::new(fabric).expect("a client");
    let way = client.way_in().expect("a way in");
    let own = way.address().to_vec();
    beside("node", transport, &own, |address| {
        let session = client
            .open(
                way,
                Terms {
                    keys: SessionKeys::derive(SECRET),
                    welcome: Welcome {
                        session: 0x10001,
                        origin: 0x10001,
                        worker_address: address,
                        max_frame: 1 << 20,
                        epoch: 1,
                        ..Welcome::default()
                    },
                    address: "child".into(),
                    hang_up: None,
                },
            )
            .expect("a session");
        let image = Image {
            kind: ImageKind::Bitcode,
            triple: "any",
            cpu: "",
            features: "",
            code: b"BC",
        };
        let archive = Archive {
            manifest: Manifest {
                abi: "julia-1.5-64le",
                entry: "bitcode_entry",
                ..Manifest::default()
            },
            images: vec![image],
        };
        let (bytes, _) = archive.encode().expect("an archive");
        let code = client.code(bytes).expect("code");
        let options = CallOptions::default();
        let payload = Segment::shared(Arc::new(41i64.to_le_bytes()));
        let spin = Duration::from_secs(10);
        measure(seconds, || {
            let payload = [payload.clone()];
            let accept = |bytes: &[u8]| bytes == 42i64.to_le_bytes();
            let call = session.call_and_spin(&code, &payload, &options, spin, accept);
            assert!(matches!(call, Ok(None)), "{call:?}");
        })
    })
}

/// Median and 99th percentile of `body`'s duration in µs, measured for about `seconds`.
fn measure(seconds: f64, mut body: impl FnMut()) -> (f64, f64) {
    for _ in 0..1000 {
        body();
    }
    let mut times = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..100 {
            let start = Instant::now();
            body();
            times.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
