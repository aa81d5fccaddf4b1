//! The origin: starts the servers, and takes the times.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcode_transport::{
    Body, Fabric, HeaderBytes, Patience, PeerFailure, PeerId, RemoteRegion, Sink, Token,
    TransportError,
};

use crate::wire::{Net, Op, patience, turn, unhex, word, words};
use crate::{Failure, Table, successor};

const PATIENCE: Duration = Duration::from_secs(10);
/// Of the time for one figure, this share is for warming up.
const WARM_UP: u32 = 8;
/// At least so many rounds for one figure.
const FEWEST: usize = 4;
/// A depth at which a round would take longer is left out, and so are those beyond.
const LONGEST: Duration = Duration::from_secs(1);
/// Messages in a stream before one that is answered.
const STREAM: u64 = 1000;

/// A server's process. It ends when its input does.
struct Server {
    child: Child,
    input: ChildStdin,
}

struct Origin {
    net: Net,
    table: Table,
    regions: Vec<Arc<dyn RemoteRegion>>,
    calls: u64,
    patience: Patience,
}

/// The last answer.
struct Inbox<'n> {
    net: &'n Net,
    wanted: u64,
    answer: Option<u64>,
}

/// Measures the modes and depths that `what` names, divided by `--`.
pub(crate) fn measure(
    transport: &str,
    table: Table,
    seconds: f64,
    what: &[&str],
) -> Result<(), Failure> {
    let mut parts = what.split(|word| *word == "--");
    let modes = parts.next().unwrap_or_default();
    let depths = parts.next().ok_or("there are no depths")?;
    let (mut origin, servers) = start(transport, table)?;
    let time = Duration::from_secs_f64(seconds);
    for mode in modes {
        let mut step = 0.0;
        for depth in depths {
            let depth: u64 = depth.parse()?;
            if step * depth as f64 > LONGEST.as_nanos() as f64 {
                break;
            }
            let median = origin.figure(mode, depth, time)?;
            step = median / depth as f64;
        }
    }
    for mut server in servers {
        drop(server.input);
        server.child.wait()?;
    }
    Ok(())
}

/// This program, to be run where the server of this number is to be: BITCODE_BENCH_PLACES names a network namespace for each, if they are to be in some.
fn at_place(number: usize) -> Result<Command, Failure> {
    let program = std::env::current_exe()?;
    let Ok(places) = std::env::var("BITCODE_BENCH_PLACES") else {
        return Ok(Command::new(program));
    };
    let place = places.split(',').nth(number);
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", place.ok_or("there are too few places")?])
        .arg(program);
    Ok(command)
}

fn start(transport: &str, table: Table) -> Result<(Origin, Vec<Server>), Failure> {
    let here = table.servers as usize;
    let (net, own) = Net::open(transport, here, here + 1)?;
    let mut servers = Vec::new();
    let mut outputs = Vec::new();
    let mut addresses = Vec::new();
    let mut keys = Vec::new();
    for number in 0..here {
        let mut child = at_place(number)?
            .args(["--serve", transport, &number.to_string()])
            .args([table.servers.to_string(), table.words.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no pipe to a server")?;
        let output = child.stdout.take().ok_or("no pipe from a server")?;
        let mut lines = BufReader::new(output).lines();
        let mut theirs = Vec::new();
        for _ in 0..=here {
            theirs.push(lines.next().ok_or("a server has died")??);
        }
        keys.push(unhex(&lines.next().ok_or("a server has died")??)?);
        addresses.push(theirs);
        servers.push(Server { child, input });
        outputs.push(lines);
    }
    addresses.push(own);
    for (number, server) in servers.iter_mut().enumerate() {
        for (there, theirs) in addresses.iter().enumerate() {
            if there != number {
                writeln!(server.input, "{}", theirs[number])?;
            }
        }
        net.connect(number, &addresses[number][here])?;
    }
    for lines in &mut outputs {
        lines.next().ok_or("a server has died")??;
    }
    let import = |(number, key): (usize, &Vec<u8>)| net.fabric.import(net.peer_id(number), key);
    let regions = keys
        .iter()
        .enumerate()
        .map(import)
        .collect::<Result<_, _>>()?;
    let origin = Origin {
        net,
        table,
        regions,
        calls: 0,
        patience: patience(),
    };
    Ok((origin, servers))
}

impl Origin {
    /// Repeats one thing for about this time, and prints its line. Returns the median, in nanoseconds.
    fn figure(&mut self, mode: &str, depth: u64, time: Duration) -> Result<f64, Failure> {
        let begin = Instant::now();
        let mut rounds = 0;
        while begin.elapsed() < time / WARM_UP || rounds == 0 {
            self.round(mode, depth, rounds)?;
            rounds += 1;
        }
        let mut nanoseconds = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < time || nanoseconds.len() < FEWEST {
            let start = Instant::now();
            let end = self.round(mode, depth, nanoseconds.len() as u64)?;
            let parts = if mode == "stream" { STREAM } else { 1 };
            nanoseconds.push(start.elapsed().as_nanos() as f64 / parts as f64);
            self.check(mode, depth, nanoseconds.len() as u64 - 1, end)?;
        }
        nanoseconds.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| nanoseconds[(nanoseconds.len() - 1) * share / 100];
        let (median, p99, rounds) = (at(50), at(99), nanoseconds.len());
        println!("mode={mode} depth={depth} median_ns={median:.1} p99_ns={p99:.1} rounds={rounds}");
        Ok(median)
    }

    /// The word that a round's chase starts at.
    fn first(&self, number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) & (self.table.words - 1)
    }

    /// One round. Returns where the chase ended, or the counter.
    fn round(&mut self, mode: &str, depth: u64, number: u64) -> Result<u64, Failure> {
        let start = self.first(number);
        match mode {
            "get" => self.get(start, depth),
            "read" => self.read(start, depth),
            "am" => {
                let there = self.table.owner(start);
                self.ask(there, Op::Chase, &words(start, depth))
            }
            "increment" => self.ask(0, Op::Increment, &vec![0; depth as usize]),
            "stream" => {
                let body = vec![0; depth as usize];
                (1..STREAM).for_each(|_| self.net.send(0, Op::Stream, 0, &body));
                self.ask(0, Op::Increment, &body)
            }
            other => Err(format!("there is no mode {other}").into()),
        }
    }

    /// Whether a chase ended where it had to.
    fn check(&self, mode: &str, depth: u64, number: u64, end: u64) -> Result<(), Failure> {
        let (start, words) = (self.first(number), self.table.words);
        let expected = (0..depth).fold(start, |index, _| successor(index, words));
        if matches!(mode, "increment" | "stream") || end == expected {
            return Ok(());
        }
        Err(format!("{mode} from {start}: {end} after {depth} steps, not {expected}").into())
    }

    fn get(&self, start: u64, depth: u64) -> Result<u64, Failure> {
        let mut index = start;
        for _ in 0..depth {
            let (owner, block) = (self.table.owner(index), self.table.block());
            let mut word = [0; 8];
            self.regions[owner].read(8 * (index % block), &mut word, PATIENCE)?;
            index = u64::from_le_bytes(word);
        }
        Ok(index)
    }

    fn read(&mut self, start: u64, depth: u64) -> Result<u64, Failure> {
        (0..depth).try_fold(start, |index, _| {
            self.ask(self.table.owner(index), Op::Read, &index.to_le_bytes())
        })
    }

    /// Sends a message, and waits for the answer.
    fn ask(&mut self, there: usize, op: Op, body: &[u8]) -> Result<u64, Failure> {
        self.calls += 1;
        self.net.send(there, op, self.calls, body);
        let mut inbox = Inbox {
            net: &self.net,
            wanted: self.calls,
            answer: None,
        };
        loop {
            turn(&self.net.fabric, &mut self.patience, &mut inbox);
            if let Some(answer) = inbox.answer {
                return Ok(answer);
            }
        }
    }
}

impl Sink for Inbox<'_> {
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        let believed = self.net.believe(header, body.len());
        if let Some((header, Op::Answer)) = believed
            && header.call == self.wanted
        {
            self.answer = Some(word(body.bytes(), 0));
        }
    }

    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}

    fn peer_failed(&mut self, _: PeerId, reason: PeerFailure) {
        eprintln!("native-xrdma: a server is lost: {reason}");
        std::process::exit(1);
    }
}
