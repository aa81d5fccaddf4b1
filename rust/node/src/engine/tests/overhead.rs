//! What a warm call costs besides the transport: both ends on one thread, over a fabric that only hands frames over.
//! `cargo test --release -p bitcode-node -- --ignored overhead --nocapture`

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bitcode_client::{CallOptions, Client, Terms};
use bitcode_transport::{
    Body, Fabric, FabricStats, HEADER_LEN, HeaderBytes, MemoryHub, PeerId, Region, RemoteRegion,
    Segment, SendStatus, Sink, Token, TransportError,
};
use bitcode_wire::frame::SessionKeys;
use bitcode_wire::handshake::Welcome;
use parking_lot::Mutex;

use super::super::{Beat, Leader};
use super::world::{Words, archive};
use crate::{Engine, EngineSettings, Opening};

type Lane = Arc<Mutex<VecDeque<(HeaderBytes, Body)>>>;

/// One end of a pair of lanes.
struct Wire {
    out: Lane,
    into: Lane,
    spare: Mutex<Vec<Body>>,
    peer: PeerId,
}

impl Wire {
    fn pair(peer: PeerId) -> (Self, Self) {
        let lanes = [(); 2].map(|()| Lane::default());
        let end = |out: &Lane, into: &Lane| Self {
            out: Arc::clone(out),
            into: Arc::clone(into),
            spare: Mutex::default(),
            peer,
        };
        (end(&lanes[0], &lanes[1]), end(&lanes[1], &lanes[0]))
    }
}

impl Fabric for Wire {
    fn open_peer(&self) -> Result<(PeerId, Vec<u8>), TransportError> {
        Ok((self.peer, Vec::new()))
    }
    fn connect_peer(&self, _: PeerId, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }
    fn remove_peer(&self, _: PeerId) {}
    fn send(
        &self,
        _: PeerId,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        _: Token,
    ) -> Result<SendStatus, TransportError> {
        let len: usize = body.iter().map(Segment::len).sum();
        let spare = self.spare.lock().pop();
        let mut whole = spare
            .filter(|body| body.len() == len)
            .unwrap_or_else(|| Body::zeroed(len));
        let mut at = 0;
        for part in body {
            whole[at..at + part.len()].copy_from_slice(part.as_bytes());
            at += part.len();
        }
        self.out.lock().push_back((*header, whole));
        Ok(SendStatus::Done)
    }
    fn poll(&self, sink: &mut dyn Sink) -> usize {
        let next = self.into.lock().pop_front();
        let Some((header, mut body)) = next else {
            return 0;
        };
        sink.frame(&header, &mut body);
        self.spare.lock().push(body);
        1
    }
    fn wait(&self, _: Duration) {}
    fn wake(&self) {}
    fn pending_sends(&self) -> usize {
        0
    }
    fn max_body(&self) -> usize {
        1 << 30
    }
    fn allocate(&self, _: usize) -> Result<Arc<dyn Region>, TransportError> {
        Err(TransportError::NoRegion)
    }
    fn import(&self, _: PeerId, _: &[u8]) -> Result<Arc<dyn RemoteRegion>, TransportError> {
        Err(TransportError::NoRegion)
    }
    fn has_peer(&self, peer: PeerId) -> bool {
        peer == self.peer
    }
    fn describe(&self) -> String {
        String::new()
    }
    fn describe_peer(&self, _: PeerId) -> String {
        String::new()
    }
    fn stats(&self) -> FabricStats {
        FabricStats::default()
    }
}

#[test]
#[ignore = "a measurement"]
fn overhead() {
    let hub = MemoryHub::new();
    let fabric = hub.fabric();
    let peer = fabric.add_peer(&fabric.address()).unwrap();
    let (near, far) = Wire::pair(peer);
    let (outbox, _messages) = channel();
    let engine = Engine::new(far, Words::default(), EngineSettings::default(), outbox);
    let keys = SessionKeys::derive(b"secret");
    let id = engine
        .open_session(Opening {
            keys: keys.clone(),
            address: Vec::new(),
            epoch: 1,
            name: "here".into(),
        })
        .unwrap()
        .session;
    let client = Client::without_helper(near);
    let way = client.way_in().unwrap();
    let session = client
        .open(
            way,
            Terms {
                keys,
                welcome: Welcome {
                    session: id,
                    max_frame: 1 << 20,
                    epoch: 1,
                    ..Welcome::default()
                },
                address: "here".into(),
                hang_up: None,
            },
        )
        .unwrap();
    let beat = Beat::default();
    let mut leader = Leader::new(&engine, &beat);
    let code = client.code(archive("reverse")).unwrap();
    let payload = Segment::shared(Arc::new([1u8; 8]));
    let mut call = || {
        let payload = [payload.clone()];
        let none = Duration::ZERO;
        let begun = session
            .call_and_spin(&code, &payload, &CallOptions::default(), none, |_| true)
            .unwrap();
        engine.turn(&mut leader);
        engine.work_once();
        client.poll();
        assert!(begun.is_some());
    };
    for _ in 0..10_000 {
        call();
    }
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..20_000 {
            call();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 20_000.0);
    }
    println!("{best:.0} ns per call on both ends together");
    let body = [Segment::borrowed(&[1u8; 8])];
    let mut sink = |_: bitcode_transport::Event| {};
    let start = Instant::now();
    for _ in 0..100_000 {
        let _ = engine
            .fabric()
            .send(peer, &[0; HEADER_LEN], &body, Token(0));
        let _ = client.fabric().poll(&mut sink);
    }
    println!(
        "of which {:.0} ns is this test's fabric",
        start.elapsed().as_nanos() as f64 / 50_000.0
    );
}
