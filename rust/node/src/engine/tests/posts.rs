//! Calls that nobody waits for, several in one frame.

use std::sync::Arc;
use std::time::Duration;

use bitcode_client::{CallOptions, Code};
use bitcode_transport::Fabric;

use super::world::{Origin, World, owned, value};
use crate::EngineSettings;

fn unheard() -> CallOptions {
    CallOptions::default().no_result(true)
}

/// Posts a call that prints its payload.
fn post(origin: &Origin, code: &Code, payload: &[u8]) {
    assert!(
        origin
            .session
            .post(code, &[owned(payload)], &unheard())
            .unwrap()
    );
}

/// What code printed, in the order in which it came.
fn printed(origin: &Origin) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| origin.client.take_output(|_| true))
        .map(|piece| piece.text.to_vec())
        .collect()
}

/// A world, an origin, and code that prints, which the node has.
fn printer(settings: EngineSettings) -> (World, Origin, Code) {
    let world = World::new(settings);
    let origin = world.origin("a");
    let code = origin.code("print");
    let call = origin.call(&code, &[0]);
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"");
    (world, origin, code)
}

#[test]
fn the_first_goes_at_once_and_those_behind_it_in_one_frame() {
    let (world, origin, code) = printer(EngineSettings::default());
    let frames = world.engine.fabric().stats().frames_received;
    let payloads: Vec<Vec<u8>> = (0..10).map(|n| vec![1, b'a' + n]).collect();
    for payload in &payloads {
        post(&origin, &code, payload);
    }
    world.settle(&[&origin]);
    let texts: Vec<_> = payloads
        .iter()
        .map(|payload| payload[1..].to_vec())
        .collect();
    assert_eq!(printed(&origin), texts);
    let stats = origin.session.stats();
    assert_eq!((stats.calls, stats.values, stats.pending), (11, 11, 0));
    let calls = world.engine.fabric().stats().frames_received - frames;
    assert_eq!(calls, 2);
    assert_eq!(origin.client.stray_frames(), 0);
}

#[test]
fn a_call_that_somebody_waits_for_sends_what_waits() {
    let (world, origin, code) = printer(EngineSettings::default());
    for text in [b"\x01a", b"\x01b", b"\x01c"] {
        post(&origin, &code, text);
    }
    let call = origin.call(&code, b"\x01d");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"");
    assert_eq!(printed(&origin), [b"a", b"b", b"c", b"d"]);
}

#[test]
fn full_frames_do_not_wait() {
    let (world, origin, code) = printer(EngineSettings::default());
    let frames = world.engine.fabric().stats().frames_received;
    for _ in 0..1000 {
        post(&origin, &code, &[0; 512]);
    }
    world.settle(&[&origin]);
    let calls = world.engine.fabric().stats().frames_received - frames;
    assert!(
        calls >= 1000 * 512 / (8 << 10),
        "{calls} frames are too long"
    );
    assert_eq!(origin.session.stats().values, 1001);
}

#[test]
fn what_waits_goes_when_the_session_is_closed() {
    let (world, origin, code) = printer(EngineSettings::default());
    for _ in 0..5 {
        post(&origin, &code, &[0]);
    }
    let begun = world.engine.counters().ran_inline.get() + world.engine.counters().ran_queued.get();
    origin.session.close();
    world.settle(&[&origin]);
    let ran = world.engine.counters().ran_inline.get() + world.engine.counters().ran_queued.get();
    assert_eq!(ran - begun, 5);
}

#[test]
fn some_calls_are_made_by_themselves() {
    let (world, origin, code) = printer(EngineSettings::default());
    let posted = |code: &Code, payload: &[u8], options: &CallOptions| {
        origin
            .session
            .post(code, &[owned(payload)], options)
            .unwrap()
    };
    assert!(!posted(&code, &[0; 2049], &unheard()), "too long");
    assert!(
        !posted(&origin.code("reverse"), b"x", &unheard()),
        "the node lacks it"
    );
    assert!(
        !posted(&code, &[0], &CallOptions::default()),
        "somebody waits"
    );
    let deadline = unheard().deadline(Some(Duration::from_secs(60)));
    assert!(!posted(&code, &[0], &deadline), "it has a deadline");
    assert!(posted(&code, &[0; 2048], &unheard()));
    world.settle(&[&origin]);
}

#[test]
fn a_node_that_has_lost_the_code_gets_it_with_all_of_them() {
    let (world, origin, code) = printer(EngineSettings {
        cache_bytes: 0,
        ..EngineSettings::default()
    });
    origin.call(&origin.code("reverse"), b"x");
    world.settle(&[&origin]);
    for text in [b"\x01a", b"\x01b", b"\x01c"] {
        post(&origin, &code, text);
    }
    world.settle(&[&origin]);
    assert_eq!(printed(&origin), [b"a", b"b", b"c"]);
    assert!(origin.session.stats().need_code >= 1);
}

#[test]
fn long_ones_run_each_by_itself() {
    let (world, origin, code) = printer(EngineSettings {
        inline_below: Duration::ZERO,
        ..EngineSettings::default()
    });
    for text in [b"\x01a", b"\x01b", b"\x01c"] {
        post(&origin, &code, text);
    }
    world.settle(&[&origin]);
    assert_eq!(printed(&origin).len(), 3);
    let counters = world.engine.counters();
    assert_eq!(
        (counters.ran_queued.get(), counters.ran_inline.get()),
        (4, 0)
    );
}

/// The first waits for those behind it: the watchdog gives them to another thread.
#[test]
fn those_behind_one_that_waits_for_them_run_elsewhere() {
    let (world, origin, _) = printer(EngineSettings::default());
    let code = origin.code("waits for others");
    origin.call(&code, &[0]);
    world.settle(&[&origin]);
    let (engine, beat) = (&world.engine, world.beat());
    let gate = Arc::clone(&engine.loader().gate);
    let before = gate.passed();
    for others in [0, 3, 0, 0] {
        post(&origin, &code, &[others]);
    }
    let mut leader = world.leader();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while gate.passed() < before + 4 {
                if gate.is_waited_at() {
                    beat.lose();
                    beat.take_behind().inspect(|it| it.disperse(&engine.roster));
                }
                engine.work_once();
                std::thread::yield_now();
            }
        });
        while gate.passed() < before + 4 {
            world.settle_with(&mut leader, &[&origin]);
        }
    });
    assert_eq!(
        engine.counters().ran_queued.get(),
        4,
        "warm-up twice, and the two behind"
    );
}
