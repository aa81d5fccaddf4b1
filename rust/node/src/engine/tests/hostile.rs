//! Frames that are forged, doubled, late or out of order. None of them may do harm, and the node serves on.

use bitcode_client::CallState;
use bitcode_transport::{Fabric, MemoryFabric, PeerId, Segment, Token};
use bitcode_wire::code::CodeId;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Flags, HEADER_LEN, Header, Kind, SessionKey, SessionKeys};

use super::world::{Origin, World, archive, remote_code, value};
use crate::EngineSettings;

/// Someone who can send frames, and make up what they like.
struct Stranger {
    fabric: MemoryFabric,
    peer: PeerId,
}

impl Stranger {
    fn to(world: &World, fabric: &MemoryFabric) -> Self {
        let own = world.hub.fabric();
        let peer = own.add_peer(&fabric.address()).unwrap();
        Self { fabric: own, peer }
    }

    fn send(&self, header: &Header, key: &SessionKey, body: &[u8]) {
        self.send_bytes(&header.encode(key, body.len()), body);
    }

    fn send_bytes(&self, header: &[u8; HEADER_LEN], body: &[u8]) {
        let _ = self
            .fabric
            .send(self.peer, header, &[Segment::borrowed(body)], Token(0))
            .unwrap();
    }
}

fn still_serves(world: &World, origin: &Origin) {
    let call = origin.call(&origin.code("reverse"), b"still there");
    world.settle(&[origin]);
    assert_eq!(value(&call), b"ereht llits");
}

#[test]
fn payloads_of_many_calls_that_are_none_are_refused() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    still_serves(&world, &origin);
    let stranger = Stranger::to(&world, world.engine.fabric());
    let header = Header {
        session: origin.id,
        flags: Flags::NO_REPLY.with(Flags::MANY),
        call: 1 << 40,
        code: CodeId::of(&archive("reverse")).prefix(),
        epoch: 3,
        ..Header::new(Kind::Call)
    };
    for body in [&b""[..], &[0; 64], &[9, 0, 0, 0, 2, 0, 0, 0]] {
        stranger.send(&header, &origin.keys.to_node, body);
    }
    world.settle(&[&origin]);
    assert_eq!(world.engine.counters().errors.get(), 3);
    still_serves(&world, &origin);
}

/// The call that a free slot of the origin's names.
#[test]
fn an_answer_to_no_call_is_dropped() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    still_serves(&world, &origin);
    let session = world.engine.sessions.get(origin.id).unwrap();
    let answer = Header {
        session: origin.id,
        epoch: 3,
        ..Header::new(Kind::Value)
    };
    let bytes = answer.encode(&origin.keys.to_origin, 0);
    let sent = world
        .engine
        .fabric()
        .send(session.peer, &bytes, &[], Token(0));
    let _ = sent.unwrap();
    world.settle(&[&origin]);
    assert_eq!(origin.client.stray_frames(), 1);
    assert_eq!(origin.session.stats().pending, 0);
    still_serves(&world, &origin);
}

#[test]
fn frames_that_are_not_believed_are_counted_and_never_answered() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let stranger = Stranger::to(&world, world.engine.fabric());
    let call = Header {
        session: origin.id,
        call: 1,
        epoch: 3,
        ..Header::new(Kind::Call)
    };
    let wrong = SessionKeys::derive(b"wrong");
    stranger.send(&call, &wrong.to_node, b"");
    // Another direction's key, another epoch, another session, a kind for origins.
    stranger.send(&call, &origin.keys.to_origin, b"");
    stranger.send(&Header { epoch: 4, ..call }, &origin.keys.to_node, b"");
    let elsewhere = Header {
        session: origin.id + 1,
        ..call
    };
    stranger.send(&elsewhere, &origin.keys.to_node, b"");
    let value = Header {
        kind: Kind::Value,
        ..call
    };
    stranger.send(&value, &origin.keys.to_node, b"");
    // A header that was changed after it was tagged, and a body that is longer than the tag says.
    let mut changed = call.encode(&origin.keys.to_node, 0);
    changed[16] ^= 1;
    stranger.send_bytes(&changed, b"");
    stranger.send_bytes(&call.encode(&origin.keys.to_node, 0), b"longer");
    stranger.send_bytes(&[0xA5; HEADER_LEN], b"garbage");
    // Large enough to be asked about before it is taken.
    stranger.send(&call, &wrong.to_node, &vec![0; 1 << 20]);
    world.settle(&[&origin]);
    assert_eq!(world.engine.counters().bad_frames.get(), 9);
    assert_eq!(origin.client.stray_frames(), 0);
    assert_eq!(world.engine.counters().errors.get(), 0);
    still_serves(&world, &origin);
}

#[test]
fn a_closed_session_is_not_believed_any_more() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let stranger = Stranger::to(&world, world.engine.fabric());
    let ping = Header {
        session: origin.id,
        epoch: 3,
        ..Header::new(Kind::Ping)
    };
    let mut leader = world.leader();
    stranger.send(&ping, &origin.keys.to_node, b"");
    world.settle_with(&mut leader, &[&origin]);
    assert_eq!(world.engine.counters().bad_frames.get(), 0);
    world.engine.close_session(origin.id, "test");
    stranger.send(&ping, &origin.keys.to_node, b"");
    world.settle_with(&mut leader, &[&origin]);
    assert_eq!(world.engine.counters().bad_frames.get(), 1);
    still_serves(&world, &world.origin("b"));
}

#[test]
fn an_archive_that_is_not_what_the_frame_says_never_reaches_the_loader() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let stranger = Stranger::to(&world, world.engine.fabric());
    let body = archive("reverse");
    let claim = |code: &[u8], call| Header {
        flags: Flags::HAS_ARCHIVE,
        session: origin.id,
        epoch: 3,
        call,
        code: CodeId::of(code).prefix(),
        archive_len: body.len() as u32,
        ..Header::new(Kind::Call)
    };
    // Two bring the same fake, a third waits for it and has nothing to bring.
    let wanted = archive("wanted");
    stranger.send(&claim(&wanted, 1), &origin.keys.to_node, &body);
    stranger.send(&claim(&wanted, 2), &origin.keys.to_node, &body);
    let bare = Header {
        flags: Flags::NONE,
        archive_len: 0,
        ..claim(&wanted, 3)
    };
    stranger.send(&bare, &origin.keys.to_node, b"");
    // And the true one waits as well.
    let call = origin.call(&origin.code("wanted"), b"ab");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"ba");
    assert_eq!(world.engine.counters().refused.get(), 2);
    assert_eq!(world.engine.counters().compiled.get(), 1);
    // Genuine, but no archive.
    let garbage = vec![7; body.len()];
    stranger.send(&claim(&garbage, 9), &origin.keys.to_node, &garbage);
    world.settle(&[&origin]);
    assert_eq!(world.engine.counters().refused.get(), 3);
    assert_eq!(world.engine.counters().compiled.get(), 1);
    still_serves(&world, &origin);
}

#[test]
fn what_a_node_cannot_do_it_refuses_politely() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let stranger = Stranger::to(&world, world.engine.fabric());
    for kind in [Kind::Cancel, Kind::Ping] {
        let header = Header {
            session: origin.id,
            epoch: 3,
            ..Header::new(kind)
        };
        stranger.send(&header, &origin.keys.to_node, &[1; 2000]);
    }
    world.settle(&[&origin]);
    assert_eq!(world.engine.counters().errors.get(), 2);
    assert_eq!(world.engine.counters().bad_frames.get(), 0);
}

/// What the client knows of a call that waits, so that answers can be made up.
fn answer_to(origin: &Origin, kind: Kind, call: u64) -> Header {
    Header {
        session: origin.id,
        epoch: 3,
        call,
        ..Header::new(kind)
    }
}

/// Call ids of a fresh client: slot 0 in its first generation, and so on.
const FIRST_CALL: u64 = 1 << 24;

#[test]
fn doubled_and_late_answers_are_dropped() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let node = Stranger::to(&world, origin.client.fabric());
    let call = origin.call(&origin.code("reverse"), b"");
    let key = &origin.keys.to_origin;
    node.send(&answer_to(&origin, Kind::Value, FIRST_CALL), key, b"one");
    node.send(&answer_to(&origin, Kind::Value, FIRST_CALL), key, b"two");
    node.send(&answer_to(&origin, Kind::Throw, FIRST_CALL), key, b"three");
    while origin.client.poll() > 0 {}
    assert_eq!(value(&call), b"one");
    drop(call);
    node.send(&answer_to(&origin, Kind::Value, FIRST_CALL), key, b"four");
    while origin.client.poll() > 0 {}
    assert_eq!(origin.session.stats().dropped_frames, 2);
    assert_eq!(origin.client.stray_frames(), 1);
    // The slot is used again, by a call with another id.
    let next = origin.call(&origin.code("reverse"), b"");
    node.send(&answer_to(&origin, Kind::Value, FIRST_CALL), key, b"five");
    while origin.client.poll() > 0 {}
    assert_eq!(next.state(), CallState::Pending);
    world.settle(&[&origin]);
    assert_eq!(value(&next), b"");
}

#[test]
fn forged_answers_are_dropped() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let stranger = Stranger::to(&world, origin.client.fabric());
    let call = origin.call(&origin.code("reverse"), b"xy");
    let answer = answer_to(&origin, Kind::Value, FIRST_CALL);
    let wrong = SessionKeys::derive(b"wrong");
    stranger.send(&answer, &wrong.to_origin, b"forged");
    stranger.send(&answer, &origin.keys.to_node, b"reflected");
    stranger.send(&answer, &wrong.to_origin, &vec![0; 1 << 20]);
    let elsewhere = Header {
        session: origin.id + 1,
        ..answer
    };
    stranger.send(&elsewhere, &origin.keys.to_origin, b"of another session");
    stranger.send_bytes(&[0; HEADER_LEN], b"garbage");
    while origin.client.poll() > 0 {}
    assert_eq!(call.state(), CallState::Pending);
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"yx");
    let dropped = origin.session.stats().dropped_frames + origin.client.stray_frames();
    assert_eq!(dropped, 5);
}

#[test]
fn need_code_is_obeyed_once_per_call() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let _first = origin.call(&code, b"");
    let second = origin.call(&code, b"ab");
    let node = Stranger::to(&world, origin.client.fabric());
    let ask = answer_to(&origin, Kind::NeedCode, FIRST_CALL + 1);
    for _ in 0..3 {
        node.send(&ask, &origin.keys.to_origin, b"");
    }
    while origin.client.poll() > 0 {}
    let stats = origin.session.stats();
    assert_eq!((stats.need_code, stats.archives_sent), (1, 2));
    assert_eq!(stats.dropped_frames, 2);
    world.settle(&[&origin]);
    assert_eq!(value(&second), b"ba");
}

#[test]
fn an_error_that_is_not_one_still_ends_the_call() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let node = Stranger::to(&world, origin.client.fabric());
    let call = origin.call(&origin.code("reverse"), b"");
    let answer = answer_to(&origin, Kind::Error, FIRST_CALL);
    node.send(&answer, &origin.keys.to_origin, b"?");
    let other = origin.call(&origin.code("reverse"), b"");
    let unknown = ErrorPayload {
        code: ErrorCode(4711),
        message: "from the future",
    };
    let answer = answer_to(&origin, Kind::Error, FIRST_CALL + 1);
    node.send(&answer, &origin.keys.to_origin, &unknown.encode());
    while origin.client.poll() > 0 {}
    assert_eq!(call.state(), CallState::Error);
    assert_eq!(remote_code(&other), ErrorCode(4711));
}

#[test]
fn a_call_that_arrives_before_the_code_it_relies_on_is_served() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    // The first call carries the archive and is lost on the way; the second relies on it.
    let lost = origin.call(&code, b"lost");
    world.hub.drop_in_flight(world.engine.fabric());
    let call = origin.call(&code, b"ab");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"ba");
    assert_eq!(call.timings().unwrap().need_code, 1);
    assert_eq!(lost.state(), CallState::Pending);
}
