//! A network with a delay, for benchmarks on one machine: network namespaces that see each other through this program, which holds each packet back.
//!
//! `delayed-network MICROSECONDS NAMESPACE…` makes a TAP device `eth0` in each of the namespaces, the k-th of which is 10.78.0.k, says `ready`, and passes on what
//! they send to each other, each packet MICROSECONDS after it came; until its standard input ends. The kernel's own way to do this
//! (netem) is not in every kernel. Wants the right to enter the namespaces and to make devices there.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// The longest packet, with room to spare.
const PACKET: usize = 1 << 16;
/// An Ethernet header: to whom, from whom, what.
const MAC: usize = 6;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("delayed-network: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let [delay, namespaces @ ..] = arguments else {
        return Err("usage: delayed-network MICROSECONDS NAMESPACE...".into());
    };
    let delay = Duration::from_micros(delay.parse()?);
    let taps: Vec<File> = namespaces
        .iter()
        .zip(1..)
        .map(|(namespace, number)| tap(namespace, number))
        .collect::<Result<_, _>>()?;
    // Timers of this process may be late by a nanosecond; 50 microseconds is the default.
    // SAFETY: changes a number of this thread's.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    println!("ready");
    std::io::stdout().flush()?;
    Switch {
        taps,
        delay,
        ports: HashMap::new(),
        held: VecDeque::new(),
    }
    .run()
}

/// A TAP device in a namespace, which this process reads and writes the packets of.
fn tap(namespace: &str, number: usize) -> Result<File, Failure> {
    let own = File::open("/proc/self/ns/net")?;
    let there = File::open(format!("/run/netns/{namespace}"))?;
    enter(&there)?;
    let device = open_device();
    enter(&own)?;
    let device = device?;
    let ip = |words: &[&str]| -> Result<(), Failure> {
        let status = Command::new("ip")
            .args(["-n", namespace])
            .args(words)
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("`ip -n {namespace} {}` has failed", words.join(" ")).into()),
        }
    };
    ip(&[
        "address",
        "add",
        &format!("10.78.0.{number}/24"),
        "dev",
        "eth0",
    ])?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "set", "eth0", "up"])?;
    Ok(device)
}

fn enter(namespace: &File) -> Result<(), Failure> {
    // SAFETY: an open file.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(format!("a network namespace: {}", std::io::Error::last_os_error()).into()),
    }
}

/// A new device `eth0` in the present namespace (the kernel's Documentation/networking/tuntap).
fn open_device() -> Result<File, Failure> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: a plain structure, all zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"eth0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
    // SAFETY: the request that this device takes.
    match unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(device),
        _ => Err(format!("a TAP device: {}", std::io::Error::last_os_error()).into()),
    }
}

/// A packet on its way.
struct Held {
    due: Instant,
    to: usize,
    bytes: Vec<u8>,
}

struct Switch {
    taps: Vec<File>,
    delay: Duration,
    /// Behind which device an address is.
    ports: HashMap<[u8; MAC], usize>,
    /// In the order in which they came, and so in which they are due.
    held: VecDeque<Held>,
}

impl Switch {
    fn run(mut self) -> Result<(), Failure> {
        let mut waits: Vec<libc::pollfd> = std::iter::once(0)
            .chain(self.taps.iter().map(AsRawFd::as_raw_fd))
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        loop {
            self.deliver()?;
            self.wait(&mut waits)?;
            if waits[0].revents != 0 && std::io::stdin().read(&mut [0; 64])? == 0 {
                return Ok(());
            }
            for port in 0..self.taps.len() {
                if waits[port + 1].revents != 0 {
                    self.take(port)?;
                }
            }
        }
    }

    /// Passes on what is due.
    fn deliver(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        while self.held.front().is_some_and(|it| it.due <= now) {
            let Some(packet) = self.held.pop_front() else {
                break;
            };
            match (&self.taps[packet.to]).write(&packet.bytes) {
                Ok(_) => {}
                // The device is full, or not up: networks lose packets.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Other) => {}
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Until something comes, or is due.
    fn wait(&self, waits: &mut [libc::pollfd]) -> Result<(), Failure> {
        let next = self
            .held
            .front()
            .map(|it| it.due.saturating_duration_since(Instant::now()));
        let time = next.map(|left| libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: so many descriptors, and a time or null.
        let ready = unsafe {
            libc::ppoll(
                waits.as_mut_ptr(),
                waits.len() as libc::nfds_t,
                time,
                std::ptr::null(),
            )
        };
        if ready < 0 {
            let error = std::io::Error::last_os_error();
            if error.kind() != ErrorKind::Interrupted {
                return Err(error.into());
            }
            waits.iter_mut().for_each(|it| it.revents = 0);
        }
        Ok(())
    }

    /// Takes what a device has sent.
    fn take(&mut self, port: usize) -> Result<(), Failure> {
        let mut buffer = [0; PACKET];
        loop {
            let length = match (&self.taps[port]).read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let packet = &buffer[..length];
            let Some((to, rest)) = packet.split_first_chunk::<MAC>() else {
                continue;
            };
            let Some((from, _)) = rest.split_first_chunk::<MAC>() else {
                continue;
            };
            self.ports.insert(*from, port);
            let due = Instant::now() + self.delay;
            let known = self.ports.get(to).copied();
            let receivers = (0..self.taps.len())
                .filter(|it| *it != port && known.is_none_or(|there| there == *it));
            for to in receivers {
                let bytes = packet.to_vec();
                self.held.push_back(Held { due, to, bytes });
            }
        }
    }
}
