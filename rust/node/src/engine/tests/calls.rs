//! Calls and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bitcode_client::{CallOptions, CallState, ClientError, Outcome};
use bitcode_transport::Fabric;
use bitcode_wire::error::ErrorCode;

use super::world::{World, error, owned, remote_code, value};
use crate::{EngineSettings, FromEngine};

#[test]
fn a_call_returns_its_value_and_the_code_travels_once() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    for round in 0..20u8 {
        let call = origin.call(&code, &[1, 2, round]);
        assert_eq!(call.state(), CallState::Pending);
        assert!(call.outcome().is_none());
        world.settle(&[&origin]);
        assert_eq!(call.state(), CallState::Value);
        assert_eq!(value(&call), [round, 2, 1]);
    }
    let stats = origin.session.stats();
    assert_eq!((stats.calls, stats.values, stats.pending), (20, 20, 0));
    assert_eq!((stats.archives_sent, stats.need_code), (1, 0));
    assert_eq!(world.engine.counters().compiled.get(), 1);
}

#[test]
fn warm_short_code_runs_on_the_leader() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let mut leader = world.leader();
    for _ in 0..50 {
        let call = origin.call(&code, b"x");
        world.settle_with(&mut leader, &[&origin]);
        assert_eq!(value(&call), b"x");
    }
    let counters = world.engine.counters();
    assert!(counters.ran_inline.get() >= 40, "{counters:?}");
    assert_eq!(counters.ran_inline.get() + counters.ran_queued.get(), 50);
}

#[test]
fn code_that_is_not_short_enough_is_queued() {
    let world = World::new(EngineSettings {
        inline_below: Duration::ZERO,
        ..EngineSettings::default()
    });
    let origin = world.origin("a");
    let code = origin.code("reverse");
    for _ in 0..5 {
        origin.call(&code, b"x");
        world.settle(&[&origin]);
    }
    assert_eq!(world.engine.counters().ran_queued.get(), 5);
}

#[test]
fn the_first_call_reports_the_stages_and_later_ones_do_not() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let first = origin.call(&code, b"abc");
    world.settle(&[&origin]);
    assert_eq!(
        value(&first),
        b"cba",
        "the trailer is not part of the result"
    );
    let timings = first.timings().unwrap();
    assert_eq!(timings.node.unwrap().emit, 7);
    assert!(timings.archive_sent && timings.total.is_some());
    let second = origin.call(&code, b"abc");
    world.settle(&[&origin]);
    assert_eq!(
        second.timings().unwrap(),
        bitcode_client::Timings::default()
    );
}

#[test]
fn exceptions_faults_and_lack_of_memory_come_back() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let thrown = origin.call(&origin.code("throw"), b"");
    let fault = origin.call(&origin.code("fault"), b"");
    let memory = origin.call(&origin.code("out of memory"), b"");
    world.settle(&[&origin]);
    assert_eq!(thrown.state(), CallState::Throw);
    assert!(matches!(thrown.outcome(), Some(Outcome::Throw(b"thrown"))));
    assert_eq!(remote_code(&fault), ErrorCode::FAULT);
    assert!(error(&fault).to_string().contains("signal 11"));
    assert_eq!(remote_code(&memory), ErrorCode::OUT_OF_MEMORY);
    let stats = origin.session.stats();
    assert_eq!((stats.throws, stats.errors), (1, 2));
}

#[test]
fn a_panic_on_the_node_is_an_error_and_the_node_goes_on() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    for word in ["panic", "panics while loading"] {
        let call = origin.call(&origin.code(word), b"");
        world.settle(&[&origin]);
        assert_eq!(remote_code(&call), ErrorCode::INTERNAL);
    }
    let call = origin.call(&origin.code("reverse"), b"ab");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"ba");
}

#[test]
fn two_sessions_may_use_equal_call_ids() {
    let world = World::new(EngineSettings::default());
    let origins = ["a", "b"].map(|secret| world.origin(secret));
    assert_ne!(origins[0].id, origins[1].id);
    // Fresh clients number their calls alike.
    let calls = origins
        .each_ref()
        .map(|origin| origin.call(&origin.code("reverse"), &origin.id.to_le_bytes()));
    world.settle(&[&origins[0], &origins[1]]);
    for (origin, call) in origins.iter().zip(&calls) {
        assert_eq!(value(call), origin.id.to_be_bytes());
    }
}

#[test]
fn many_calls_at_once_each_get_their_own_answer() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let calls: Vec<_> = (0..500u32)
        .map(|number| origin.call(&code, &number.to_le_bytes()))
        .collect();
    world.settle(&[&origin]);
    for (number, call) in (0..500u32).zip(&calls) {
        assert_eq!(value(call), number.to_be_bytes());
    }
}

#[test]
fn long_results_and_long_payloads_cross() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let zeros = origin.call(&origin.code("zeros"), &300_000u64.to_le_bytes());
    let bytes: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
    let reversed = origin.call(&origin.code("reverse"), &bytes);
    world.settle(&[&origin]);
    assert_eq!(value(&zeros), vec![0; 300_000]);
    assert!(value(&reversed).iter().rev().eq(&bytes));
    assert_eq!(world.engine.fabric().pending_sends(), 0);
}

#[test]
fn what_is_too_large_is_refused_on_the_side_that_knows() {
    let world = World::new(EngineSettings {
        max_frame: 100_000,
        ..EngineSettings::default()
    });
    let origin = world.origin("a");
    let call = origin.call(&origin.code("zeros"), &100_001u64.to_le_bytes());
    world.settle(&[&origin]);
    assert_eq!(remote_code(&call), ErrorCode::TOO_LARGE);
    // The world's welcome promises 1 MiB.
    let code = origin.code("reverse");
    let refused = origin
        .call_with(&code, &vec![0; 2 << 20], &CallOptions::default())
        .unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge(_)), "{refused}");
    assert_eq!(origin.session.stats().pending, 0);
}

#[test]
fn a_deadline_that_passed_on_the_node_is_an_error_there() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let options = CallOptions::default().deadline(Some(Duration::from_millis(1)));
    let call = origin.call_with(&code, b"x", &options).unwrap();
    let mut leader = world.leader();
    while world.engine.turn(&mut leader) == 0 {}
    // The frame has arrived and waits for a thread; the node's clock goes on.
    let arrived = Instant::now();
    while arrived.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    world.settle_with(&mut leader, &[&origin]);
    assert_eq!(remote_code(&call), ErrorCode::DEADLINE);
}

#[test]
fn a_deadline_that_passes_here_is_a_timeout_and_the_late_answer_is_dropped() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let options = CallOptions::default().deadline(Some(Duration::from_secs(3600)));
    let call = origin.call_with(&code, b"x", &options).unwrap();
    origin.client.expire(Instant::now());
    assert_eq!(call.state(), CallState::Pending);
    origin
        .client
        .expire(Instant::now() + Duration::from_secs(3601));
    assert!(matches!(error(&call), ClientError::Timeout(_)));
    world.settle(&[&origin]);
    assert!(matches!(error(&call), ClientError::Timeout(_)));
    drop(call);
    let stats = origin.session.stats();
    assert_eq!((stats.timeouts, stats.errors, stats.pending), (1, 1, 0));
}

#[test]
fn an_abandoned_call_frees_its_place_and_its_answer_is_dropped() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    drop(origin.call(&code, b"abandoned"));
    let next = origin.call(&code, b"next");
    world.settle(&[&origin]);
    assert_eq!(value(&next), b"txen");
    assert_eq!(origin.client.stray_frames(), 1);
    assert_eq!(origin.session.stats().pending, 0);
}

#[test]
fn a_call_whose_result_nobody_wants_is_acknowledged_before_it_runs() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("throw");
    let options = CallOptions::default().no_result(true);
    for _ in 0..3 {
        let call = origin.call_with(&code, b"x", &options).unwrap();
        world.settle(&[&origin]);
        assert_eq!(value(&call), b"", "accepted, whatever becomes of it");
    }
    let counters = world.engine.counters();
    assert_eq!(
        (counters.ran_queued.get(), counters.ran_inline.get()),
        (1, 2)
    );
}

#[test]
fn callbacks_are_called_once_whenever_they_come() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("reverse");
    let called = Arc::new(AtomicUsize::new(0));
    let callback = || -> bitcode_client::Notify {
        let called = Arc::clone(&called);
        Box::new(move || {
            called.fetch_add(1, Ordering::SeqCst);
        })
    };
    let call = origin.call(&code, b"x");
    call.notify(callback()).unwrap();
    assert!(matches!(
        call.notify(callback()),
        Err(ClientError::BadArgument(_))
    ));
    assert_eq!(called.load(Ordering::SeqCst), 0);
    world.settle(&[&origin]);
    assert_eq!(called.load(Ordering::SeqCst), 1);
    let late = origin.call(&code, b"x");
    world.settle(&[&origin]);
    late.notify(callback()).unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 2);
    let abandoned = origin.call(&code, b"x");
    abandoned.notify(callback()).unwrap();
    drop(abandoned);
    world.settle(&[&origin]);
    assert_eq!(called.load(Ordering::SeqCst), 2);
}

#[test]
fn closing_a_session_fails_its_calls_and_only_those() {
    let world = World::new(EngineSettings::default());
    let origins = ["a", "b"].map(|secret| world.origin(secret));
    let calls = origins
        .each_ref()
        .map(|origin| origin.call(&origin.code("reverse"), b"xy"));
    origins[0].session.close();
    origins[0].session.close();
    assert!(matches!(error(&calls[0]), ClientError::SessionClosed(_)));
    assert!(!origins[0].session.is_open());
    let refused = origins[0]
        .session
        .call(
            &origins[0].code("reverse"),
            &[owned(b"")],
            &CallOptions::default(),
        )
        .unwrap_err();
    assert!(matches!(refused, ClientError::SessionClosed(_)));
    world.settle(&[&origins[0], &origins[1]]);
    assert_eq!(value(&calls[1]), b"yx");
}

#[test]
fn a_lost_node_fails_pending_calls() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let call = origin.call(&origin.code("reverse"), b"xy");
    world.hub.kill(world.engine.fabric());
    world.settle(&[&origin]);
    assert!(matches!(error(&call), ClientError::PeerDied(_)), "{call:?}");
    assert!(!origin.session.is_open());
}

#[test]
fn a_lost_origin_is_reported_and_its_queued_calls_are_forgotten() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let other = world.origin("b");
    let _call = origin.call(&origin.code("reverse"), b"xy");
    let mut leader = world.leader();
    while world.engine.turn(&mut leader) == 0 {}
    world.hub.kill(origin.client.fabric());
    world.settle(&[&other]);
    let told = world
        .messages
        .try_iter()
        .any(|message| matches!(message, FromEngine::Lost { session } if session == origin.id));
    assert!(told);
    assert_eq!(world.engine.session_count(), 1);
    let call = other.call(&other.code("reverse"), b"xy");
    world.settle(&[&other]);
    assert_eq!(value(&call), b"yx");
}

#[test]
fn shutting_down_answers_what_waits_and_what_comes() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let queued = origin.call(&origin.code("reverse"), b"xy");
    let mut leader = world.leader();
    while world.engine.turn(&mut leader) == 0 {}
    world.engine.stop_accepting();
    let late = origin.call(&origin.code("throw"), b"xy");
    world.settle_with(&mut leader, &[&origin]);
    assert_eq!(remote_code(&queued), ErrorCode::SHUTTING_DOWN);
    assert_eq!(remote_code(&late), ErrorCode::SHUTTING_DOWN);
    assert!(world.engine.is_idle());
}

#[test]
fn a_ping_is_answered() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let ping = origin.session.ping(&CallOptions::default()).unwrap();
    world.settle(&[&origin]);
    assert_eq!(value(&ping), b"");
}
