//! What the processes have in common: the fabric, the frames, and how somebody waits for one.

use std::time::Duration;

use bitcode_transport::{
    Fabric, HeaderBytes, Patience, PeerId, Segment, Settings, Sink, Token, UcxFabric,
};
use bitcode_wire::code::CodePrefix;
use bitcode_wire::frame::{Header, Kind, SessionKey, SessionKeys};

use crate::Failure;

/// As a node's leader waits.
const SPIN: Duration = Duration::from_micros(50);
const SLEEP: Duration = Duration::from_millis(100);

/// What a message asks for; the first byte of the header's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Op {
    /// An answer: one word.
    Answer = 1,
    /// A word of the table, by its index.
    Read = 2,
    /// An index and how many steps to go from there.
    Chase = 3,
    /// Adds one to a counter, and answers it.
    Increment = 4,
    /// Adds one to a counter.
    Stream = 5,
}

impl Op {
    fn of(code: CodePrefix) -> Option<Self> {
        [
            Self::Answer,
            Self::Read,
            Self::Chase,
            Self::Increment,
            Self::Stream,
        ]
        .into_iter()
        .find(|op| *op as u8 == code.0[0])
    }
}

/// The other end of a way.
struct Peer {
    id: PeerId,
    outgoing: SessionKey,
    incoming: SessionKey,
}

/// A process's fabric, with the others by number. The origin has the number after the last server's.
pub(crate) struct Net {
    pub(crate) fabric: UcxFabric,
    here: usize,
    peers: Vec<Option<Peer>>,
}

impl Net {
    /// Opens ways for `count` processes, of which this one has the number `here`. Returns their addresses, in hexadecimal.
    pub(crate) fn open(
        transport: &str,
        here: usize,
        count: usize,
    ) -> Result<(Self, Vec<String>), Failure> {
        let fabric = UcxFabric::new(&Settings::with_transport(transport.parse()?))?;
        let mut net = Self {
            fabric,
            here,
            peers: Vec::new(),
        };
        let mut addresses = Vec::new();
        let key = |from, to| SessionKeys::derive(format!("{from} to {to}").as_bytes()).to_node;
        for there in 0..count {
            if there == here {
                net.peers.push(None);
                addresses.push("-".into());
                continue;
            }
            let (id, address) = net.fabric.open_peer()?;
            net.peers.push(Some(Peer {
                id,
                outgoing: key(here, there),
                incoming: key(there, here),
            }));
            addresses.push(hex(&address));
        }
        Ok((net, addresses))
    }

    /// Tells where a process is.
    pub(crate) fn connect(&self, there: usize, address: &str) -> Result<(), Failure> {
        Ok(self
            .fabric
            .connect_peer(self.peer(there).id, &unhex(address)?)?)
    }

    pub(crate) fn peer_id(&self, there: usize) -> PeerId {
        self.peer(there).id
    }

    fn peer(&self, there: usize) -> &Peer {
        self.peers[there]
            .as_ref()
            .expect("nobody sends to himself here")
    }

    /// Sends a message of `op` with `body`, for the call `call` of the origin's.
    pub(crate) fn send(&self, there: usize, op: Op, call: u64, body: &[u8]) {
        let peer = self.peer(there);
        let mut code = CodePrefix::NONE;
        code.0[0] = op as u8;
        let header = Header {
            call,
            code,
            session: self.here as u32,
            ..Header::new(Kind::Call)
        };
        let bytes = header.encode(&peer.outgoing, body.len());
        let body = [Segment::borrowed(body)];
        if let Err(error) = self.fabric.send(peer.id, &bytes, &body, Token(0)) {
            eprintln!("native-xrdma: {error}");
            std::process::exit(1);
        }
    }

    /// Reads a frame's header, and whether it is who it says that it is.
    pub(crate) fn believe(&self, bytes: &HeaderBytes, len: usize) -> Option<(Header, Op)> {
        let header = Header::decode(bytes).ok()?;
        let peer = self.peers.get(header.session as usize)?.as_ref()?;
        header.verify(bytes, &peer.incoming, len).ok()?;
        Some((header, Op::of(header.code)?))
    }
}

/// The patience of a node's leader.
pub(crate) fn patience() -> Patience {
    Patience::new(SPIN)
}

/// Drives once, or sleeps after many times in vain.
pub(crate) fn turn(fabric: &UcxFabric, patience: &mut Patience, sink: &mut dyn Sink) {
    if fabric.poll(sink) > 0 {
        patience.rewarded();
    } else if patience.runs_out() {
        fabric.wait(SLEEP);
    }
}

/// The `n`th word of a body, 0 if it has none.
pub(crate) fn word(body: &[u8], n: usize) -> u64 {
    let bytes = body.as_chunks().0.get(n);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

pub(crate) fn words(first: u64, second: u64) -> [u8; 16] {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&first.to_le_bytes());
    body[8..].copy_from_slice(&second.to_le_bytes());
    body
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let digits = text.trim().as_bytes().as_chunks::<2>().0;
    digits
        .iter()
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
