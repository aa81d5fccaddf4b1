//! Calls that hop: several nodes and an origin in one process.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bitcode_client::{
    Call, CallOptions, CallState, Client, ClientError, Code, Outcome, Session, Terms,
};
use bitcode_transport::{MemoryFabric, MemoryHub};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Directory as Told, Header, Kind, SessionKeys};
use bitcode_wire::handshake::Welcome;

use super::super::{Beat, Leader};
use super::world::{TestEngine, Word, Words, archive, error, owned, remote_code, value};
use crate::message::{FromEngine, LinkTerms};
use crate::{Engine, EngineSettings, Opening};

struct Node {
    engine: TestEngine,
    messages: Receiver<FromEngine>,
    beat: Beat<Word>,
    /// Takes no new sessions.
    deaf: bool,
}

/// Nodes, and an origin with a session to each. Links are made by this, as supervisors would.
struct Cluster {
    nodes: Vec<Node>,
    client: Client<MemoryFabric>,
    sessions: Vec<Session<MemoryFabric>>,
    ids: Vec<u32>,
    /// Nobody makes links for now.
    held_up: Cell<bool>,
    /// The sessions of links: with which node, and its number there.
    links: RefCell<Vec<(usize, u32)>>,
}

impl Cluster {
    fn new(count: usize, settings: &EngineSettings) -> Self {
        let hub = MemoryHub::new();
        let client = Client::without_helper(hub.fabric());
        let mut cluster = Self {
            nodes: Vec::new(),
            client,
            sessions: Vec::new(),
            ids: Vec::new(),
            held_up: Cell::new(false),
            links: RefCell::default(),
        };
        for index in 0..count {
            let (outbox, messages) = channel();
            let loader = Words::default();
            let node = Node {
                engine: Engine::new(hub.fabric(), loader, settings.clone(), outbox),
                messages,
                beat: Beat::default(),
                deaf: false,
            };
            cluster.join(&node, index);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// Opens the origin's session with a node.
    fn join(&mut self, node: &Node, index: usize) {
        let keys = SessionKeys::derive(format!("node {index}").as_bytes());
        let way = self.client.way_in().unwrap();
        let epoch = index as u16 + 1;
        let opening = Opening {
            keys: keys.clone(),
            address: way.address().to_vec(),
            epoch,
            name: "the origin".into(),
        };
        let opened = node.engine.open_session(opening).unwrap();
        let welcome = Welcome {
            session: opened.session,
            origin: opened.session,
            worker_address: opened.address,
            max_frame: 1 << 20,
            epoch,
            ..Welcome::default()
        };
        let terms = Terms {
            keys,
            welcome,
            address: index.to_string(),
            hang_up: None,
        };
        self.sessions.push(self.client.open(way, terms).unwrap());
        self.ids.push(opened.session);
    }

    /// Does what the nodes ask their supervisors for. Returns how much that was.
    fn supervise(&self) -> usize {
        let mut done = 0;
        if self.held_up.get() {
            return done;
        }
        for (from, node) in self.nodes.iter().enumerate() {
            for message in node.messages.try_iter() {
                done += 1;
                let FromEngine::Link {
                    link,
                    place,
                    address,
                } = message
                else {
                    continue;
                };
                let to = place.parse::<usize>().unwrap();
                let other = &self.nodes[to];
                if other.deaf {
                    node.engine.unlinked(link, "nobody answers");
                    continue;
                }
                let keys = SessionKeys::derive(format!("{from} {place} {link}").as_bytes());
                let opening = Opening {
                    keys: keys.clone(),
                    address,
                    epoch: link,
                    name: format!("node {from}"),
                };
                let opened = other.engine.open_session(opening).unwrap();
                self.links.borrow_mut().push((to, opened.session));
                let terms = LinkTerms {
                    keys,
                    session: opened.session,
                    address: opened.address,
                    max_frame: 1 << 20,
                };
                node.engine.linked(link, terms);
            }
        }
        done
    }

    /// Lets everything happen that can happen, up to so many rounds. Returns whether it came to rest.
    fn settle_for(&self, rounds: usize) -> bool {
        let mut leaders: Vec<_> = self
            .nodes
            .iter()
            .map(|node| Leader::new(&node.engine, &node.beat))
            .collect();
        for _ in 0..rounds {
            let mut happened = self.supervise() + self.client.poll();
            for (node, leader) in self.nodes.iter().zip(&mut leaders) {
                happened += node.engine.turn(leader);
                happened += usize::from(node.engine.work_once());
            }
            if happened == 0 {
                return true;
            }
        }
        false
    }

    fn settle(&self) {
        assert!(self.settle_for(100_000));
    }

    /// Has the nodes told of each other.
    fn tell(&self) {
        let telling = self.client.tell_nodes().unwrap();
        self.settle();
        telling.settle(Duration::ZERO).unwrap();
    }

    fn code(&self, word: &str) -> Code {
        self.client.code(archive(word)).unwrap()
    }

    /// A call on node 1.
    fn call(&self, code: &Code, payload: &[u8], budget: u32) -> Call<MemoryFabric> {
        let options = CallOptions::default().hop_budget(budget);
        let call = self.sessions[0].call(code, &[owned(payload)], &options);
        call.unwrap()
    }

    fn compiled(&self) -> Vec<u64> {
        let compiled = |node: &Node| node.engine.counters().compiled.get();
        self.nodes.iter().map(compiled).collect()
    }

    fn link_count(&self) -> usize {
        self.nodes.iter().map(|it| it.engine.link_count()).sum()
    }
}

#[test]
fn a_tour_is_answered_from_where_it_ends_and_code_spreads_as_it_goes() {
    let cluster = Cluster::new(4, &EngineSettings::default());
    cluster.tell();
    assert_eq!(cluster.link_count(), 0, "nobody has wanted to go anywhere");
    let code = cluster.code("hops on a tour");
    let route = [5, 2, 3, 3, 1, 4];
    let call = cluster.call(&code, &route, 5);
    cluster.settle();
    assert_eq!(value(&call), [1, 2, 3, 3, 1, 4]);
    assert_eq!(cluster.compiled(), [1, 1, 1, 1], "once each");
    assert_eq!(cluster.link_count(), 4, "1 to 2, 2 to 3, 3 to 1, 1 to 4");
    for _ in 0..100 {
        let call = cluster.call(&code, &route, 5);
        cluster.settle();
        assert_eq!(value(&call), [1, 2, 3, 3, 1, 4]);
    }
    assert_eq!((cluster.compiled(), cluster.link_count()), (vec![1; 4], 4));
    let stats: Vec<_> = cluster.sessions.iter().map(Session::stats).collect();
    assert_eq!((stats[0].values, stats[0].archives_sent), (101 + 1, 1));
    assert!(stats[1..].iter().all(|it| it.archives_sent == 0));
    assert!(stats.iter().all(|it| it.dropped_frames == 0));
}

#[test]
fn many_calls_hop_at_once_before_the_links_are_there() {
    let cluster = Cluster::new(3, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let calls: Vec<_> = (0..50u8)
        .map(|number| (cluster.call(&code, &[2, 2, 3, number], 2), number))
        .collect();
    cluster.settle();
    for (call, number) in &calls {
        assert_eq!(value(call), [*number, 1, 2, 3]);
    }
    assert_eq!((cluster.compiled(), cluster.link_count()), (vec![1; 3], 2));
}

#[test]
fn large_payloads_hop_too() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let mut payload = vec![3, 2, 1, 2];
    payload.extend((0..300_000u32).map(|at| at as u8));
    let call = cluster.call(&code, &payload, 3);
    cluster.settle();
    let expected = [&payload[4..], &[1, 2, 1, 2]].concat();
    assert!(value(&call) == expected);
}

#[test]
fn a_budget_ends_calls_that_would_hop_for_ever() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let forever = cluster.code("hops for ever");
    let call = cluster.call(&forever, &[], 1000);
    let tour = cluster.code("hops on a tour");
    let enough = cluster.call(&tour, &[3, 2, 1, 2], 3);
    let short = cluster.call(&tour, &[3, 2, 1, 2], 2);
    cluster.settle();
    assert_eq!(remote_code(&call), ErrorCode::HOP_BUDGET);
    assert_eq!(value(&enough), [1, 2, 1, 2]);
    assert_eq!(remote_code(&short), ErrorCode::HOP_BUDGET);
    let hops: u64 = cluster
        .nodes
        .iter()
        .map(|it| it.engine.counters().hops.get())
        .sum();
    assert_eq!(hops, 1000 + 3 + 2);
}

#[test]
fn a_call_starts_others_as_many_as_it_may() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops and spawns");
    let options = CallOptions::default().fan_out(6);
    let spawns = |count| {
        let call = cluster.sessions[0].call(&code, &[owned(&[count])], &options);
        cluster.settle();
        call.unwrap()
    };
    let ran = |index: usize| {
        let counters = cluster.nodes[index].engine.counters();
        counters.ran_inline.get() + counters.ran_queued.get()
    };
    assert_eq!(value(&spawns(3)), b"");
    assert_eq!((ran(0), ran(1)), (1 + 3, 3), "each of them, and no more");
    assert_eq!(remote_code(&spawns(4)), ErrorCode::FAN_OUT);
    assert_eq!((ran(0), ran(1)), (2 + 6, 6));
    let counters = cluster.nodes[0].engine.counters();
    assert_eq!((counters.spawned.get(), counters.errors.get()), (12, 1));
    assert!(
        cluster
            .sessions
            .iter()
            .all(|it| it.stats().dropped_frames == 0)
    );
}

#[test]
fn new_code_goes_down_a_tree_of_nodes_over_each_link_once() {
    let cluster = Cluster::new(32, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops down a tree");
    for round in 1..=3 {
        let call = cluster.call(&code, &[], 9);
        cluster.settle();
        assert_eq!(value(&call), b"");
        assert_eq!(cluster.compiled(), [1; 32], "once on each node");
        assert_eq!(cluster.link_count(), 31, "each has heard from one other");
        let hops = |it: &Node| it.engine.counters().hops.get();
        let sent: Vec<_> = cluster.nodes.iter().map(hops).collect();
        let children = |node: u64| (2 * node..=2 * node + 1).filter(|it| *it <= 32).count() as u64;
        let expected: Vec<_> = (1..=32).map(|node| round * children(node)).collect();
        assert_eq!(sent, expected, "one for each link in each round");
        let need_code = |it: &Node| it.engine.counters().need_code.get();
        assert_eq!(cluster.nodes.iter().map(need_code).sum::<u64>(), 0);
    }
    let archives: u64 = cluster
        .sessions
        .iter()
        .map(|it| it.stats().archives_sent)
        .sum();
    assert_eq!(
        archives, 1,
        "from the origin to node 1; the others have it from each other"
    );
}

/// What was spawned has the id of the call that did it, which is still under way.
#[test]
fn a_panic_in_what_a_call_has_started_does_not_end_the_call() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    cluster.held_up.set(true);
    let call = cluster.call(&cluster.code("hops and leaves a panic"), &[], 9);
    cluster.settle();
    assert_eq!(call.state(), CallState::Pending, "on its way to node 2");
    cluster.held_up.set(false);
    cluster.settle();
    assert_eq!(value(&call), b"");
}

#[test]
fn code_waits_for_what_it_calls() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let tour = cluster.call(&cluster.code("hops on a tour"), &[1, 2], 9);
    cluster.settle();
    assert_eq!(value(&tour), [1, 2]);
    // Code that waits holds up the thread that drives all nodes, and so node 2 gets one of its own.
    let other = &cluster.nodes[1].engine;
    let over = AtomicBool::new(false);
    let code = cluster.code("hops and asks");
    let entries = [(2, 7), (2, 7), (2, 8), (2, 9), (2, 10), (3, 7), (1, 7)];
    let calls = std::thread::scope(|scope| {
        scope.spawn(|| {
            let beat = Beat::default();
            let mut leader = Leader::new(other, &beat);
            while !over.load(Ordering::Relaxed) {
                other.turn(&mut leader);
                other.work_once();
            }
        });
        let calls = entries.map(|(node, entry)| {
            let call = cluster.call(&code, &[node, entry], 9);
            let settled = cluster.settle_for(100_000);
            (call, settled)
        });
        over.store(true, Ordering::Relaxed);
        calls
    });
    assert!(calls.iter().all(|(_, settled)| *settled));
    let [first, again, thrown, forwards, panics, nowhere, itself] = calls.map(|(call, _)| call);
    assert_eq!(value(&first), b"setyb emos");
    assert_eq!(value(&again), b"setyb emos");
    let Some(Outcome::Throw(graph)) = thrown.outcome() else {
        panic!("nothing was thrown")
    };
    assert_eq!(graph, b"thrown over there");
    assert_eq!(remote_code(&forwards), ErrorCode::UNSUPPORTED);
    assert_eq!(remote_code(&panics), ErrorCode::INTERNAL);
    assert_eq!(remote_code(&nowhere), ErrorCode::UNREACHABLE);
    assert_eq!(remote_code(&itself), ErrorCode::UNREACHABLE);
    let asked = cluster.nodes[0].engine.counters().asked.get();
    assert_eq!(asked, 5, "those that left the node");
    assert_eq!(cluster.compiled(), [2, 2], "code came along once");
}

#[test]
fn a_deadline_ends_them_too() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops for ever");
    let options = CallOptions::default().deadline(Some(Duration::from_millis(50)));
    let call = cluster.sessions[0].call(&code, &[], &options).unwrap();
    cluster.settle_for(usize::MAX);
    assert_eq!(remote_code(&call), ErrorCode::DEADLINE);
}

#[test]
fn an_exception_comes_from_where_it_was_thrown_and_entries_are_told_apart() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let call = cluster.call(&cluster.code("hops and throws"), &[], 1);
    cluster.settle();
    match call.outcome() {
        Some(Outcome::Throw(bytes)) => assert_eq!(bytes, b"thrown far away"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_nodes_know_where_a_call_went_that_failed() {
    let cluster = Cluster::new(3, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let trail = |call: &Call<MemoryFabric>| {
        let sought = call.seek_trail()?;
        cluster.settle();
        Some(sought.settle(Duration::ZERO))
    };
    let calls = [[4, 2, 3, 1, 9], [4, 3, 1, 2, 9]].map(|route| cluster.call(&code, &route, 9));
    let fine = cluster.call(&code, &[1, 2], 9);
    cluster.settle();
    let ways = calls.each_ref().map(|call| trail(call).unwrap());
    assert_eq!(ways[0].places, [1, 2, 3, 1].map(Some));
    assert_eq!(ways[1].places, [1, 3, 1, 2].map(Some));
    assert_eq!((&ways[0].silent, ways[0].addresses.len()), (&vec![], 3));
    assert_eq!(value(&fine), [1, 2]);
    assert_eq!(trail(&fine), None, "it has not failed");
    // Node 2 knows nothing any more, and node 3 has gone.
    cluster.nodes[1].engine.forget_directories(cluster.ids[1]);
    cluster.sessions[2].close();
    let left = trail(&calls[0]).unwrap();
    assert_eq!(left.places, [Some(1), Some(2)]);
    assert_eq!(left.silent, [3]);
}

#[test]
fn a_node_that_does_not_exist_or_does_not_answer_is_an_error() {
    let mut cluster = Cluster::new(3, &EngineSettings::default());
    cluster.tell();
    cluster.nodes[2].deaf = true;
    let code = cluster.code("hops on a tour");
    for node in [0, 4, 255] {
        let call = cluster.call(&code, &[1, node], 9);
        cluster.settle();
        assert_eq!(remote_code(&call), ErrorCode::UNREACHABLE, "{node}");
    }
    let calls = [(); 3].map(|()| cluster.call(&code, &[2, 2, 3], 9));
    cluster.settle();
    for call in &calls {
        assert_eq!(remote_code(call), ErrorCode::UNREACHABLE);
        assert!(error(call).to_string().contains("nobody answers"));
    }
    // Nobody remembers it against the node.
    cluster.nodes[2].deaf = false;
    let call = cluster.call(&code, &[2, 2, 3], 9);
    cluster.settle();
    assert_eq!(value(&call), [1, 2, 3]);
}

#[test]
fn a_node_that_let_go_of_the_code_sends_the_hop_back_for_it() {
    let small = EngineSettings {
        cache_bytes: 5000,
        ..EngineSettings::default()
    };
    let cluster = Cluster::new(2, &small);
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let route = [1, 2, 42];
    let first = cluster.call(&code, &route, 1);
    cluster.settle();
    assert_eq!(value(&first), [42, 1, 2]);
    for word in ["a", "b", "c", "d"] {
        let other = cluster.code(word);
        let none = CallOptions::default();
        cluster.sessions[1].call(&other, &[], &none).unwrap();
        cluster.settle();
    }
    let again = cluster.call(&code, &route, 1);
    cluster.settle();
    assert_eq!(value(&again), [42, 1, 2]);
    let counters = cluster.nodes[1].engine.counters();
    assert_eq!(counters.need_code.get(), 1);
    assert_eq!(cluster.nodes[0].engine.counters().compiled.get(), 1);
}

#[test]
fn a_call_that_may_be_on_a_node_that_goes_fails_and_the_others_do_not() {
    let cluster = Cluster::new(3, &EngineSettings::default());
    cluster.tell();
    // It is held up on its way to node 2: nobody supervises.
    let hopping = cluster.call(&cluster.code("hops on a tour"), &[1, 2], 9);
    let other = cluster.sessions[0]
        .call(
            &cluster.code("reverse"),
            &[owned(b"ab")],
            &CallOptions::default(),
        )
        .unwrap();
    cluster.sessions[2].close();
    assert_eq!(hopping.state(), CallState::Error);
    assert!(matches!(error(&hopping), ClientError::PeerDied(_)));
    cluster.settle();
    assert_eq!(value(&other), b"ba");
    // The nodes that are left have new numbers, and are told when that is needed.
    cluster.nodes[2]
        .engine
        .close_session(cluster.ids[2], "test");
    assert_eq!(cluster.sessions[1].number(), Some(2));
    assert_eq!(cluster.sessions[2].number(), None);
    cluster.tell();
    let call = cluster.call(&cluster.code("hops on a tour"), &[2, 2, 1], 9);
    cluster.settle();
    assert_eq!(value(&call), [1, 2, 1]);
}

/// A hop that was sent over a link and never arrives, because the link goes while both of its nodes live on.
#[test]
fn a_hop_that_is_lost_with_its_link_is_an_error_at_once() {
    let cluster = Cluster::new(3, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let first = cluster.call(&code, &[1, 2], 9);
    cluster.settle();
    assert_eq!(value(&first), [1, 2]);
    // The other end believes nothing of the link any more, and this one does not know.
    let (to, session) = cluster.links.borrow()[0];
    cluster.nodes[to].engine.close_session(session, "cut");
    let lost = cluster.call(&code, &[1, 2], 9);
    let stays = cluster.sessions[1]
        .call(
            &cluster.code("reverse"),
            &[owned(b"ab")],
            &CallOptions::default(),
        )
        .unwrap();
    cluster.settle();
    assert_eq!(lost.state(), CallState::Pending, "nobody knows yet");
    cluster.nodes[0].engine.unlinked(1, "cut");
    cluster.settle();
    assert_eq!(remote_code(&lost), ErrorCode::UNREACHABLE);
    assert!(error(&lost).to_string().contains("cut"));
    assert_eq!(value(&stays), b"ba");
    let next = cluster.call(&code, &[1, 2], 9);
    cluster.settle();
    assert_eq!(value(&next), [1, 2], "by a new link");
    assert!(cluster.sessions.iter().all(|it| it.stats().pending == 0));
}

#[test]
fn a_directory_that_is_told_while_its_session_ends_does_not_stay() {
    let cluster = Cluster::new(1, &EngineSettings::default());
    let engine = &cluster.nodes[0].engine;
    let session = engine.sessions.get(cluster.ids[0]).unwrap();
    engine.close_session(cluster.ids[0], "test");
    let told = Told {
        here: 1,
        nodes: vec!["0".into()],
    };
    assert!(engine.directories.insert(7, &session, told));
    assert!(engine.directories.get(7).is_none());
}

/// Over a link comes what concerns the calls that went over it, and nothing else.
#[test]
fn what_comes_back_over_a_link_is_believed_of_its_own_directories_only() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    let code = cluster.code("hops on a tour");
    let first = cluster.call(&code, &[1, 2], 9);
    cluster.settle();
    assert_eq!(value(&first), [1, 2]);
    let engine = &cluster.nodes[0].engine;
    let session = engine.sessions.get(cluster.ids[0]).unwrap();
    let newest = || *session.directories.lock().back().unwrap();
    let body = ErrorPayload {
        code: ErrorCode::UNREACHABLE,
        message: "no",
    }
    .encode();
    let refusal = |origin| Header {
        epoch: 1,
        origin,
        call: 99,
        ..Header::new(Kind::Error)
    };
    engine.hop_refused(&refusal(newest()), &body);
    assert_eq!(engine.counters().errors.get(), 1);
    cluster.tell();
    engine.hop_refused(&refusal(newest()), &body);
    assert_eq!(engine.counters().errors.get(), 1);
}

#[test]
fn a_call_that_is_older_than_what_the_nodes_remember_is_given_up() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    cluster.held_up.set(true);
    let call = cluster.call(&cluster.code("hops on a tour"), &[1, 2], 9);
    for _ in 0..59 {
        cluster.tell();
    }
    assert_eq!(call.state(), CallState::Pending);
    cluster.tell();
    assert_eq!(remote_code(&call), ErrorCode::UNREACHABLE);
    cluster.held_up.set(false);
    cluster.settle();
    let call = cluster.call(&cluster.code("hops on a tour"), &[1, 2], 9);
    cluster.settle();
    assert_eq!(value(&call), [1, 2]);
}

#[test]
fn a_node_that_was_not_told_says_so() {
    let cluster = Cluster::new(2, &EngineSettings::default());
    cluster.tell();
    cluster.nodes[1].engine.forget_directories(cluster.ids[1]);
    let code = cluster.code("hops on a tour");
    let call = cluster.call(&code, &[1, 2], 9);
    cluster.settle();
    assert_eq!(remote_code(&call), ErrorCode::UNREACHABLE);
    cluster.nodes[0].engine.forget_directories(cluster.ids[0]);
    let call = cluster.call(&code, &[0], 9);
    cluster.settle();
    assert_eq!(remote_code(&call), ErrorCode::UNREACHABLE);
}
