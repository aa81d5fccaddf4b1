//! A world in one process: a node's engine, clients, and programs that are a word in a manifest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bitcode_client::{Call, CallOptions, CallState, Client, ClientError, Code, Outcome};
use bitcode_client::{Session, Terms};
use bitcode_jit::{Answer, Host, Onward, Place};
use bitcode_transport::{MemoryFabric, MemoryHub, Segment};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::CodeId;
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::{SessionKeys, StageTimings, View};
use bitcode_wire::handshake::Welcome;
use bitcode_wire::link;
use bitcode_wire::manifest::{Dependency, Manifest};

use super::super::{Beat, Leader};
use crate::loader::{Listener, LoadError, Loader, Program, Ran};
use crate::message::FromEngine;
use crate::{Engine, EngineSettings, Opening};

/// A loader whose programs do what their name says.
#[derive(Default)]
pub(crate) struct Words {
    /// Programs that exist.
    pub(crate) alive: Arc<AtomicUsize>,
    pub(crate) gate: Arc<Gate>,
}

/// Where programs wait until so many others have passed.
#[derive(Default)]
pub(crate) struct Gate {
    passed: AtomicUsize,
    waiting: AtomicUsize,
}

impl Gate {
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_waited_at(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Passes once `others` more have. They may have to be given time, but not for ever.
    fn pass(&self, others: usize) {
        let start = Instant::now();
        let wanted = if others == 0 {
            0
        } else {
            self.passed() + others - 1
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while self.passed() < wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody comes");
            std::thread::yield_now();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.passed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A program that is a word.
pub(crate) struct Word {
    word: String,
    alive: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

impl Drop for Word {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Loader for Words {
    type Program = Word;

    fn show(&self, id: &CodeId, archive: &Archive<'_>, view: View) -> Result<String, LoadError> {
        let _ = self.load(id, archive, &[])?;
        Ok(format!("{} in the form {view:?}", archive.manifest.name))
    }

    fn load(
        &self,
        _id: &CodeId,
        archive: &Archive<'_>,
        _links: &[&Word],
    ) -> Result<Word, LoadError> {
        let word = archive.manifest.name;
        match word {
            "unresolved" => Err(LoadError {
                code: ErrorCode::UNRESOLVED_SYMBOL,
                message: "no symbol jl_nothing_like_it".into(),
            }),
            "panics while loading" => panic!("as told"),
            _ => {
                self.alive.fetch_add(1, Ordering::SeqCst);
                Ok(Word {
                    word: word.into(),
                    alive: Arc::clone(&self.alive),
                    gate: Arc::clone(&self.gate),
                })
            }
        }
    }
}

impl Program for Word {
    type Output = Vec<u8>;

    fn run(
        &self,
        place: Place,
        host: &dyn Host,
        payload: &mut [u8],
        listener: &Listener<'_>,
        output: &mut Vec<u8>,
    ) -> Ran {
        assert_eq!(payload.as_ptr().align_offset(64), 0);
        output.clear();
        match self.word.as_str() {
            "hops on a tour" => tour(place, payload, output),
            "hops for ever" => Ran::Forward(Onward {
                node: i64::from(place.here % place.nodes + 1),
                entry: 0,
            }),
            // Starts what only counts, on node 2 and here, so many times as its first byte says.
            "hops and spawns" if place.entry == 7 => Ran::Value,
            "hops and spawns" => {
                let spawn = |node| host.spawn(Onward { node, entry: 7 }, b"some bytes");
                if (0..payload[0]).all(|_| spawn(2) && spawn(1)) {
                    Ran::Value
                } else {
                    Ran::Stopped
                }
            }
            // Starts itself on the two nodes below this one in a tree, if there are so many.
            "hops down a tree" => {
                let children = [2 * place.here, 2 * place.here + 1];
                let there = children.iter().filter(|child| **child <= place.nodes);
                let spawn = |child: &u32| {
                    let node = i64::from(*child);
                    host.spawn(Onward { node, entry: 7 }, b"some bytes")
                };
                if there.into_iter().all(spawn) {
                    Ran::Value
                } else {
                    Ran::Stopped
                }
            }
            "hops and asks" if place.entry == 7 => {
                output.extend(payload.iter().rev());
                Ran::Value
            }
            "hops and asks" if place.entry == 8 => {
                output.extend_from_slice(b"thrown over there");
                Ran::Thrown
            }
            "hops and asks" if place.entry == 9 => Ran::Forward(Onward { node: 1, entry: 7 }),
            "hops and asks" if place.entry == 10 => panic!("as told"),
            // Calls the node and the entry that its first bytes say, and returns what it hears.
            "hops and asks" => {
                let onward = Onward {
                    node: payload[0].into(),
                    entry: payload[1].into(),
                };
                match host.call(onward, b"some bytes") {
                    Some(Answer::Value(bytes)) => {
                        output.extend(bytes);
                        Ran::Value
                    }
                    Some(Answer::Thrown(bytes)) => {
                        output.extend(bytes);
                        Ran::Thrown
                    }
                    None => Ran::Stopped,
                }
            }
            // Starts on node 1 what panics, and goes on to node 2.
            "hops and leaves a panic" if place.entry == 7 => panic!("as told"),
            "hops and leaves a panic" if place.entry == 8 => Ran::Value,
            "hops and leaves a panic" => {
                let panics = Onward { node: 1, entry: 7 };
                assert!(host.spawn(panics, b"some bytes"));
                Ran::Forward(Onward { node: 2, entry: 8 })
            }
            "hops and throws" if place.entry == 7 => {
                output.extend_from_slice(b"thrown far away");
                Ran::Thrown
            }
            "hops and throws" => Ran::Forward(Onward { node: 2, entry: 7 }),
            "waits for others" => {
                self.gate.pass(payload[0].into());
                Ran::Value
            }
            "throw" => {
                output.extend_from_slice(b"thrown");
                Ran::Thrown
            }
            "fault" => Ran::Fault { signal: 11 },
            "out of memory" => Ran::OutOfMemory,
            "panic" => panic!("as told"),
            // Prints its payload, so many times as its first byte says.
            "print" => {
                for _ in 0..payload[0] {
                    listener(1, &payload[1..], false);
                }
                Ran::Value
            }
            "zeros" => {
                let len = payload
                    .first_chunk()
                    .map_or(0, |len| u64::from_le_bytes(*len));
                output.resize(len as usize, 0);
                Ran::Value
            }
            _ => {
                output.extend(payload.iter().rev());
                Ran::Value
            }
        }
    }

    fn bytes(&self) -> usize {
        1000
    }

    fn stages(&self) -> StageTimings {
        StageTimings {
            emit: 7,
            ..StageTimings::default()
        }
    }
}

/// Visits the nodes whose numbers are in the payload, behind their count; then come those that have been visited, and
/// those are the result.
fn tour(place: Place, payload: &[u8], output: &mut Vec<u8>) -> Ran {
    let (route, visited) = payload[1..].split_at(payload[0].into());
    let [next, rest @ ..] = route else {
        output.extend_from_slice(visited);
        output.push(place.here as u8);
        return Ran::Value;
    };
    output.push(rest.len() as u8);
    output.extend_from_slice(rest);
    output.extend_from_slice(visited);
    output.push(place.here as u8);
    Ran::Forward(Onward {
        node: i64::from(*next),
        entry: 0,
    })
}

/// An archive whose program is `word`.
pub(crate) fn archive(word: &str) -> Vec<u8> {
    linking_archive(word, &[])
}

/// The archive of a word that links to other code.
pub(crate) fn linking_archive(word: &str, links: &[CodeId]) -> Vec<u8> {
    let names: Vec<_> = links.iter().map(link::soname).collect();
    let dependency = |soname| Dependency {
        soname,
        symbols: Vec::new(),
    };
    let archive = Archive {
        manifest: Manifest {
            abi: "julia-1.5-64le",
            entry: "bitcode_entry",
            name: word,
            imports: if word.starts_with("hops") {
                vec!["bc_forward"]
            } else {
                Vec::new()
            },
            dependencies: names.iter().map(|name| dependency(name)).collect(),
            ..Manifest::default()
        },
        images: vec![Image {
            kind: ImageKind::Bitcode,
            triple: "x86_64-linux-gnu",
            cpu: "",
            features: "",
            code: b"BC",
        }],
        ..Archive::default()
    };
    archive.encode().unwrap().0
}

pub(crate) type TestEngine = Engine<MemoryFabric, Words>;

/// A node and what connects to it.
pub(crate) struct World {
    pub(crate) hub: MemoryHub,
    pub(crate) engine: TestEngine,
    pub(crate) messages: Receiver<FromEngine>,
    beat: Beat<Word>,
}

/// A client with one session to the world's node.
pub(crate) struct Origin {
    pub(crate) client: Client<MemoryFabric>,
    pub(crate) session: Session<MemoryFabric>,
    pub(crate) keys: SessionKeys,
    pub(crate) id: u32,
}

impl World {
    pub(crate) fn new(settings: EngineSettings) -> Self {
        let hub = MemoryHub::new();
        let (outbox, messages) = channel();
        let engine = Engine::new(hub.fabric(), Words::default(), settings, outbox);
        Self {
            hub,
            engine,
            messages,
            beat: Beat::default(),
        }
    }

    /// A client that is connected, on a fabric of its own.
    pub(crate) fn origin(&self, secret: &str) -> Origin {
        let client = Client::without_helper(self.hub.fabric());
        let keys = SessionKeys::derive(secret.as_bytes());
        let way = client.way_in().unwrap();
        let opening = Opening {
            keys: keys.clone(),
            address: way.address().to_vec(),
            epoch: 3,
            name: secret.into(),
        };
        let id = self.engine.open_session(opening).unwrap().session;
        let session = client.open(way, self.terms(id, &keys)).unwrap();
        Origin {
            client,
            session,
            keys,
            id,
        }
    }

    pub(crate) fn terms(&self, session: u32, keys: &SessionKeys) -> Terms {
        Terms {
            keys: keys.clone(),
            welcome: Welcome {
                session,
                origin: session,
                worker_address: self.engine.fabric().address(),
                max_frame: 1 << 20,
                epoch: 3,
                ..Welcome::default()
            },
            address: "memory".into(),
            hang_up: None,
        }
    }

    /// What the world's watchdog would look at.
    pub(crate) fn beat(&self) -> &Beat<Word> {
        &self.beat
    }

    /// A leader, who remembers.
    pub(crate) fn leader(&self) -> Leader<'_, MemoryFabric, Words> {
        Leader::new(&self.engine, &self.beat)
    }

    /// Lets everything happen that can happen.
    pub(crate) fn settle(&self, origins: &[&Origin]) {
        let mut leader = self.leader();
        self.settle_with(&mut leader, origins);
    }

    pub(crate) fn settle_with(
        &self,
        leader: &mut Leader<'_, MemoryFabric, Words>,
        origins: &[&Origin],
    ) {
        loop {
            let mut happened = self.engine.turn(leader);
            happened += usize::from(self.engine.work_once());
            for origin in origins {
                happened += origin.client.poll();
            }
            if happened == 0 {
                return;
            }
        }
    }
}

impl Origin {
    pub(crate) fn code(&self, word: &str) -> Code {
        self.client.code(archive(word)).unwrap()
    }

    pub(crate) fn call(&self, code: &Code, payload: &[u8]) -> Call<MemoryFabric> {
        self.call_with(code, payload, &CallOptions::default())
            .unwrap()
    }

    pub(crate) fn call_with(
        &self,
        code: &Code,
        payload: &[u8],
        options: &CallOptions,
    ) -> Result<Call<MemoryFabric>, ClientError> {
        self.session.call(code, &[owned(payload)], options)
    }
}

pub(crate) fn owned(bytes: &[u8]) -> Segment<'static> {
    Segment::shared(Arc::new(bytes.to_vec()))
}

/// The bytes that a call returned.
pub(crate) fn value(call: &Call<MemoryFabric>) -> Vec<u8> {
    match call.outcome() {
        Some(Outcome::Value(bytes)) => bytes.to_vec(),
        other => panic!("{other:?} is no value"),
    }
}

/// The error that a call ended with.
pub(crate) fn error(call: &Call<MemoryFabric>) -> ClientError {
    assert_eq!(call.state(), CallState::Error);
    match call.outcome() {
        Some(Outcome::Error(error)) => error.clone(),
        other => panic!("{other:?} is no error"),
    }
}

/// The node's error code that a call ended with.
pub(crate) fn remote_code(call: &Call<MemoryFabric>) -> ErrorCode {
    match error(call) {
        ClientError::Remote { code, .. } => code,
        other => panic!("{other:?} is not the node's"),
    }
}
