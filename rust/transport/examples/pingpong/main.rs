//! Round trips of frames between two processes: straight on UCX, and through `Fabric`.
//!
//! `cargo run --release -p bitcode-transport --example pingpong -- [--transport shm|tcp|…] [--mode raw|raw-contiguous|fabric]
//! [--sizes 8,1024] [--rounds N]`. A size is that of the body; the frame's header of 64 bytes comes on top.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends there"
)]

mod raw;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitcode_transport::{
    Body, Fabric, HeaderBytes, PeerFailure, PeerId, Segment, SendStatus, Settings, Sink, Token,
    TransportError, UcxFabric,
};
use raw::{Layout, Raw};

#[derive(Clone)]
struct Options {
    transport: String,
    mode: String,
    sizes: Vec<usize>,
    seconds: f64,
    peer_mode: bool,
    wakeup: bool,
}

fn options() -> (bool, Options) {
    let mut options = Options {
        transport: "shm".into(),
        mode: "raw".into(),
        sizes: vec![8, 1 << 10, 64 << 10, 1 << 20, 64 << 20],
        seconds: 1.0,
        peer_mode: true,
        wakeup: true,
    };
    let mut echo = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("an option wants a value");
        match arg.as_str() {
            "--echo" => echo = true,
            "--transport" => options.transport = value(),
            "--mode" => options.mode = value(),
            "--sizes" => {
                options.sizes = value()
                    .split(',')
                    .map(|size| size.parse().unwrap())
                    .collect()
            }
            "--seconds" => options.seconds = value().parse().unwrap(),
            "--err-none" => options.peer_mode = false,
            "--no-wakeup" => options.wakeup = false,
            other => panic!("unknown option {other}"),
        }
    }
    (echo, options)
}

/// What is measured: send a message, wait for messages.
trait Wire {
    fn address(&self) -> Vec<u8>;
    fn connect(&mut self, address: &[u8]);
    fn send(&mut self, message: &[u8]);
    fn receive(&mut self, count: u64);
}

struct RawWire(Raw, bool);

impl Wire for RawWire {
    fn address(&self) -> Vec<u8> {
        self.0.address()
    }
    fn connect(&mut self, address: &[u8]) {
        self.0.connect(address, self.1);
    }
    fn send(&mut self, message: &[u8]) {
        self.0.send(message);
    }
    fn receive(&mut self, count: u64) {
        self.0.receive(count);
    }
}

struct FabricWire {
    fabric: UcxFabric,
    peer: PeerId,
    address: Vec<u8>,
    count: Count,
}

#[derive(Default)]
struct Count {
    frames: u64,
    sent: u64,
}

impl Sink for Count {
    fn frame(&mut self, _header: &HeaderBytes, _body: &mut Body) {
        self.frames += 1;
    }
    fn sent(&mut self, _token: Token, result: Result<(), TransportError>) {
        result.unwrap();
        self.sent += 1;
    }
    fn peer_failed(&mut self, _peer: PeerId, _reason: PeerFailure) {
        std::process::exit(0);
    }
}

impl Wire for FabricWire {
    fn address(&self) -> Vec<u8> {
        self.address.clone()
    }
    fn connect(&mut self, address: &[u8]) {
        self.fabric.connect_peer(self.peer, address).unwrap();
    }
    fn send(&mut self, message: &[u8]) {
        let (header, body) = message.split_first_chunk::<64>().unwrap();
        let fabric: &dyn Fabric = &self.fabric;
        // SAFETY: the message outlives the send, for which this waits.
        let body = [unsafe { Segment::lasting(body.as_ptr(), body.len()) }];
        match fabric.send(self.peer, header, &body, Token(0)).unwrap() {
            SendStatus::Done => {}
            SendStatus::Pending => {
                let sent = self.count.sent;
                while self.count.sent == sent {
                    fabric.poll(&mut self.count);
                }
            }
        }
    }
    fn receive(&mut self, count: u64) {
        let fabric: &dyn Fabric = &self.fabric;
        while self.count.frames < count {
            fabric.poll(&mut self.count);
        }
    }
}

fn fabric(options: &Options) -> Box<dyn Wire> {
    let settings = Settings::with_transport(options.transport.parse().unwrap());
    let fabric = UcxFabric::new(&settings).unwrap();
    let (peer, address) = fabric.open_peer().unwrap();
    Box::new(FabricWire {
        fabric,
        peer,
        address,
        count: Count::default(),
    })
}

fn wire(options: &Options) -> Box<dyn Wire> {
    let tls = match options.transport.as_str() {
        "auto" => Some("^sysv"),
        "shm" => Some("posix,cma"),
        "tcp" => Some("tcp"),
        names => Some(names),
    };
    let layout = match options.mode.as_str() {
        "raw" => Layout::Argument,
        "fabric" => return fabric(options),
        "raw-contiguous" => Layout::Contiguous,
        other => panic!("unknown mode {other}"),
    };
    Box::new(RawWire(
        Raw::new(tls, None, layout, options.wakeup),
        options.peer_mode,
    ))
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

fn rounds_for(size: usize, seconds: f64) -> u64 {
    let guess = Duration::from_nanos(2_000 + size as u64 / 2).as_secs_f64();
    ((seconds / guess) as u64).clamp(10, 200_000)
}

/// The other process: answers every message with one of the same size.
fn echo(options: &Options) {
    let mut wire = wire(options);
    println!("{}", hex(&wire.address()));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    wire.connect(&unhex(&line));
    let mut count = 0;
    for &size in &options.sizes {
        let message = vec![1u8; 64 + size];
        for _ in 0..total_rounds(size, options.seconds) {
            count += 1;
            wire.receive(count);
            wire.send(&message);
        }
    }
    // The last answer may still be under way.
    std::io::stdin().read_line(&mut line).ok();
}

fn warm_up(size: usize, seconds: f64) -> u64 {
    (rounds_for(size, seconds) / 10).max(3)
}

fn total_rounds(size: usize, seconds: f64) -> u64 {
    rounds_for(size, seconds) + warm_up(size, seconds)
}

fn spawn(_options: &Options) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--echo")
        .args(std::env::args().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn main() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let (is_echo, options) = options();
    if is_echo {
        return echo(&options);
    }
    let mut child = spawn(&options);
    let mut wire = wire(&options);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", hex(&wire.address())).unwrap();
    wire.connect(&unhex(&line));
    println!(
        "{} over {}, peer error handling {}",
        options.mode, options.transport, options.peer_mode
    );
    println!(
        "{:>10} {:>8} {:>10} {:>10} {:>10} {:>10}",
        "body", "rounds", "min us", "median us", "p99 us", "GB/s"
    );
    let mut count = 0;
    for &size in &options.sizes {
        let message = vec![1u8; 64 + size];
        let mut times = Vec::new();
        for round in 0..total_rounds(size, options.seconds) {
            let start = Instant::now();
            wire.send(&message);
            count += 1;
            wire.receive(count);
            if round >= warm_up(size, options.seconds) {
                times.push(start.elapsed());
            }
        }
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
        let bandwidth = size as f64 / (at(0.5) / 2.0) / 1e3;
        println!(
            "{size:>10} {:>8} {:>10.3} {:>10.3} {:>10.3} {bandwidth:>10.3}",
            times.len(),
            at(0.0),
            at(0.5),
            at(0.99)
        );
    }
    drop(stdin);
    child.wait().unwrap();
}
