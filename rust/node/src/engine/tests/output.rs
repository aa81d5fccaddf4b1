//! What code prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bitcode_client::{CallOptions, Output};
use bitcode_transport::{Fabric, Segment, Token};
use bitcode_wire::frame::{Header, Kind, OUTPUT_WINDOW, OutputPayload, OutputTaken, Stream};

use super::super::{Beat, Leader};
use super::world::{Origin, World, value};
use crate::EngineSettings;

/// A payload of the program "print".
fn prints(times: u8, text: &[u8]) -> Vec<u8> {
    [&[times], text].concat()
}

fn taken(origin: &Origin) -> Vec<Output> {
    std::iter::from_fn(|| origin.client.take_output(|_| true)).collect()
}

fn impatient() -> EngineSettings {
    EngineSettings {
        output_patience: Duration::ZERO,
        ..EngineSettings::default()
    }
}

#[test]
fn output_comes_before_the_value_and_in_order() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let other = world.origin("b");
    let code = origin.code("print");
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let notify = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    origin.client.notify_output(Some(Box::new(notify)));
    let mut calls = Vec::new();
    for round in 0..5 {
        calls.push(origin.call(&code, &prints(2, &[b'a' + round, b'\n'])));
        world.settle(&[&origin, &other]);
    }
    let texts: Vec<_> = taken(&origin)
        .into_iter()
        .inspect(|piece| {
            assert_eq!(
                (piece.stream, piece.open, piece.address.as_str()),
                (Stream::Out, false, "memory")
            );
        })
        .map(|piece| piece.text)
        .collect();
    assert_eq!(texts.concat(), b"a\na\nb\nb\nc\nc\nd\nd\ne\ne\n");
    assert_eq!(told.load(Ordering::Relaxed), 1, "once until it is taken");
    assert_eq!(taken(&other), []);
    for call in &calls {
        assert_eq!(value(call), b"");
    }
    // Again, on the leader.
    origin.call(&code, &prints(1, b"x\n"));
    world.settle(&[&origin]);
    assert_eq!(told.load(Ordering::Relaxed), 2);
    assert_eq!(taken(&origin).len(), 1);
    assert!(world.engine.counters().ran_inline.get() > 0);
}

#[test]
fn a_value_waits_for_the_output_before_it() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("print");
    origin.call(&code, &prints(1, b"x\n"));
    world.settle(&[&origin]);
    let payload = [super::world::owned(&prints(0, b""))];
    let begun = |accept: bool| {
        let world = &world;
        let options = CallOptions::default();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let engine = &world.engine;
            let (beat, done) = (Beat::default(), &done);
            let node = scope.spawn(move || {
                let mut leader = Leader::new(engine, &beat);
                while !done.load(Ordering::Relaxed) {
                    engine.turn(&mut leader);
                    engine.work_once();
                }
            });
            let spin = Duration::from_secs(60);
            let call = origin
                .session
                .call_and_spin(&code, &payload, &options, spin, |_| accept)
                .unwrap();
            done.store(true, Ordering::Relaxed);
            node.join().unwrap();
            call.is_none()
        })
    };
    assert!(!begun(true), "there is output to take first");
    assert_eq!(taken(&origin).len(), 1);
    assert!(begun(true));
}

#[test]
fn output_of_a_call_that_nobody_waits_for() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("print");
    let options = CallOptions::default().no_result(true);
    let call = origin
        .call_with(&code, &prints(3, b"x\n"), &options)
        .unwrap();
    world.settle(&[&origin]);
    drop(call);
    assert_eq!(taken(&origin).len(), 3);
    assert_eq!(origin.client.stray_frames(), 0);
}

#[test]
fn what_is_not_wanted_stays() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    origin.call(&origin.code("print"), &prints(2, b"x\n"));
    world.settle(&[&origin]);
    assert!(origin.client.take_output(|_| false).is_none());
    assert_eq!(taken(&origin).len(), 2);
}

/// Somebody who prints for ever fills neither side's memory, and is not held up for ever.
#[test]
fn output_that_nobody_takes_is_bounded() {
    let world = World::new(impatient());
    let origin = world.origin("a");
    let code = origin.code("print");
    let line = [&[b'x'; 4000][..], b"\n"].concat();
    for _ in 0..4 {
        origin.call(&code, &prints(255, &line));
        world.settle(&[&origin]);
    }
    let dropped = world.engine.counters().output_dropped.get();
    let pieces = taken(&origin);
    let text: u64 = pieces.iter().map(|piece| piece.text.len() as u64).sum();
    let counted = text + 64 * pieces.len() as u64;
    assert!(counted <= OUTPUT_WINDOW && counted > OUTPUT_WINDOW - 8192);
    assert_eq!(dropped + text, 4 * 255 * line.len() as u64);
    // The origin is back: it hears of the loss, and everything from then on.
    world.settle(&[&origin]);
    origin.call(&code, &prints(2, b"again\n"));
    world.settle(&[&origin]);
    let pieces = taken(&origin);
    let note = String::from_utf8(pieces[0].text.clone()).unwrap();
    assert!(
        note.contains(&format!("[{dropped} bytes of output")),
        "{note}"
    );
    assert_eq!(pieces[1].text, b"again\n");
    assert_eq!(pieces.len(), 3);
}

#[test]
fn output_that_is_taken_never_stops() {
    let world = World::new(impatient());
    let origin = world.origin("a");
    let code = origin.code("print");
    let line = [b'y'; 8000];
    let mut bytes = 0;
    for _ in 0..40 {
        origin.call(&code, &prints(90, &line));
        world.settle(&[&origin]);
        bytes += taken(&origin)
            .iter()
            .map(|piece| piece.text.len())
            .sum::<usize>();
        world.settle(&[&origin]);
    }
    assert_eq!(bytes, 40 * 90 * 8000);
    assert_eq!(world.engine.counters().output_dropped.get(), 0);
    assert_eq!(origin.session.stats().dropped_frames, 0);
}

#[test]
fn a_closed_session_holds_nobody_up() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("print");
    let call = origin.call(&code, &prints(255, &[b'z'; 8000]));
    std::thread::scope(|scope| {
        // Waits for room as soon as the window is full.
        let engine = &world.engine;
        let beat = Beat::default();
        let node = scope.spawn(move || {
            let mut leader = Leader::new(engine, &beat);
            while !engine.work_once() {
                engine.turn(&mut leader);
            }
        });
        while world.engine.fabric().stats().frames_sent < 100 {
            std::thread::yield_now();
        }
        world.engine.close_session(origin.id, "test");
        node.join().unwrap();
    });
    drop(call);
}

/// Sends a frame as the node would, or as somebody who has its key.
fn forge(world: &World, origin: &Origin, header: Header, body: &[u8]) {
    let peer = world
        .engine
        .fabric()
        .add_peer(&origin.client.fabric().address())
        .unwrap();
    let header = Header {
        session: origin.id,
        epoch: 3,
        ..header
    };
    let bytes = header.encode(&origin.keys.to_origin, body.len());
    let sent = world
        .engine
        .fabric()
        .send(peer, &bytes, &[Segment::borrowed(body)], Token(0));
    assert!(sent.is_ok());
    world.settle(&[origin]);
}

#[test]
fn an_origin_believes_no_more_than_the_window() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let piece = |position, text| OutputPayload {
        position,
        stream: Stream::Out,
        open: false,
        text,
    };
    let frame = Header::new(Kind::Output);
    forge(&world, &origin, frame, &piece(0, b"one").encode());
    // Doubled, malformed, beyond the window, from another's key.
    forge(&world, &origin, frame, &piece(0, b"one").encode());
    forge(&world, &origin, frame, b"short");
    forge(&world, &origin, frame, &piece(OUTPUT_WINDOW, b"x").encode());
    forge(&world, &origin, frame, &piece(u64::MAX - 9, b"x").encode());
    assert_eq!(origin.session.stats().dropped_frames, 4);
    let strange = Header { epoch: 4, ..frame };
    let bytes = Header {
        session: origin.id,
        ..strange
    }
    .encode(&origin.keys.to_origin, 0);
    let peer = world
        .engine
        .fabric()
        .add_peer(&origin.client.fabric().address())
        .unwrap();
    assert!(
        world
            .engine
            .fabric()
            .send(peer, &bytes, &[], Token(0))
            .is_ok()
    );
    world.settle(&[&origin]);
    assert_eq!(origin.client.stray_frames(), 1);
    let texts: Vec<_> = taken(&origin).into_iter().map(|piece| piece.text).collect();
    assert_eq!(texts, [b"one".to_vec()]);
}

/// Sends a frame as the origin would.
fn say_taken(world: &World, origin: &Origin, body: &[u8]) {
    let fabric = origin.client.fabric();
    let peer = fabric.add_peer(&world.engine.fabric().address()).unwrap();
    let header = Header {
        session: origin.id,
        epoch: 3,
        ..Header::new(Kind::OutputTaken)
    };
    let bytes = header.encode(&origin.keys.to_node, body.len());
    assert!(
        fabric
            .send(peer, &bytes, &[Segment::borrowed(body)], Token(0))
            .is_ok()
    );
    world.settle(&[origin]);
}

#[test]
fn a_node_believes_no_account_of_what_it_never_sent() {
    let world = World::new(impatient());
    let origin = world.origin("a");
    say_taken(&world, &origin, &OutputTaken { position: 1 << 40 }.encode());
    say_taken(&world, &origin, b"nonsense?");
    assert_eq!(world.engine.counters().bad_frames.get(), 1);
    let line = [b'x'; 8000];
    origin.call(&origin.code("print"), &prints(255, &line));
    world.settle(&[&origin]);
    assert!(world.engine.counters().output_dropped.get() > 0);
}
