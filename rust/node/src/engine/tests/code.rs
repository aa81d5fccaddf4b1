//! How code gets to a node, and goes away again.

use std::sync::atomic::Ordering;

use bitcode_client::{CallOptions, CallState, Code};
use bitcode_wire::error::ErrorCode;
use bitcode_wire::frame::View;

use super::world::{World, archive, remote_code, value};
use crate::EngineSettings;

/// Room for three of the test's programs.
fn small_cache() -> EngineSettings {
    EngineSettings {
        cache_bytes: 5000,
        ..EngineSettings::default()
    }
}

#[test]
fn a_node_that_lost_the_code_asks_for_it_and_the_same_call_goes_on() {
    let world = World::new(small_cache());
    let origin = world.origin("a");
    let first = origin.code("first");
    for word in ["first", "second", "third", "fourth"] {
        let call = origin.call(&origin.code(word), word.as_bytes());
        world.settle(&[&origin]);
        assert_eq!(call.state(), CallState::Value);
    }
    // `origin.code` made another code of the same archive above; this one has not been sent by number, so say it was.
    let known = origin.call(&first, b"ab");
    world.settle(&[&origin]);
    assert_eq!(value(&known), b"ba");
    for word in ["fifth", "sixth", "seventh"] {
        origin.call(&origin.code(word), b"");
        world.settle(&[&origin]);
    }
    let again = origin.call(&first, b"abc");
    world.settle(&[&origin]);
    assert_eq!(value(&again), b"cba");
    assert_eq!(again.timings().unwrap().need_code, 1);
    assert!(again.timings().unwrap().archive_sent);
    assert_eq!(origin.session.stats().need_code, 1);
    assert_eq!(world.engine.counters().need_code.get(), 1);
}

#[test]
fn evicted_programs_are_freed_and_the_cache_keeps_its_bounds() {
    let world = World::new(small_cache());
    let origin = world.origin("a");
    for number in 0..50 {
        origin.call(&origin.code(&format!("program {number}")), b"");
        world.settle(&[&origin]);
    }
    let (entries, bytes) = world.engine.cache_size();
    assert_eq!(entries, 3);
    assert!(bytes <= 5000);
    assert_eq!(world.engine.loader().alive.load(Ordering::SeqCst), 3);
    assert_eq!(world.engine.counters().evicted.get(), 47);
}

#[test]
fn calls_that_bring_or_await_the_same_code_share_one_compilation() {
    let world = World::new(EngineSettings::default());
    let origins = ["a", "b", "c"].map(|secret| world.origin(secret));
    let mut calls = Vec::new();
    for origin in &origins {
        let code = origin.code("shared");
        for number in 0..5u8 {
            calls.push((origin.call(&code, &[number, 9]), number));
        }
    }
    world.settle(&[&origins[0], &origins[1], &origins[2]]);
    for (call, number) in &calls {
        assert_eq!(value(call), [9, *number]);
    }
    assert_eq!(world.engine.counters().compiled.get(), 1);
    assert_eq!(world.engine.counters().need_code.get(), 0);
}

#[test]
fn code_that_the_loader_refuses_is_an_error_for_all_who_wait() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let code = origin.code("unresolved");
    let calls: Vec<_> = (0..4).map(|_| origin.call(&code, b"")).collect();
    world.settle(&[&origin]);
    for call in &calls {
        assert_eq!(remote_code(call), ErrorCode::UNRESOLVED_SYMBOL);
    }
    // The node did not keep it, and the client knows: the next call brings it again at once.
    let again = origin.call(&code, b"");
    world.settle(&[&origin]);
    assert_eq!(remote_code(&again), ErrorCode::UNRESOLVED_SYMBOL);
    assert_eq!(again.timings().unwrap().need_code, 0);
    assert_eq!(world.engine.cache_size(), (0, 0));
}

#[test]
fn equal_archives_are_equal_code() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let codes = [(); 2].map(|()| origin.client.code(archive("same")).unwrap());
    assert_eq!(codes[0].id(), codes[1].id());
    assert_eq!(codes[0].archive_len() as usize, archive("same").len());
    for code in &codes {
        let call = origin.call(code, b"xy");
        world.settle(&[&origin]);
        assert_eq!(value(&call), b"yx");
    }
    assert_eq!(world.engine.counters().compiled.get(), 1);
    assert!(origin.client.code(b"no archive".to_vec()).is_err());
}

#[test]
fn code_is_shown_and_not_run() {
    let world = World::new(small_cache());
    let origin = world.origin("a");
    let show = CallOptions::default().show(true);
    let ask = |code: &Code, payload: &[u8]| {
        let call = origin.call_with(code, payload, &show).unwrap();
        world.settle(&[&origin]);
        call
    };
    let code = origin.code("throw");
    let call = ask(&code, &View::Llvm.encode());
    assert_eq!(value(&call), b"throw in the form Llvm");
    // This time the origin thinks that the node has the code.
    let call = ask(&code, &View::Native.encode());
    assert_eq!(value(&call), b"throw in the form Native");
    assert_eq!(call.timings().unwrap().need_code, 1);
    assert_eq!(world.engine.cache_size(), (0, 0));
    // Nor does it matter that it has it.
    let run = origin.call(&code, b"");
    world.settle(&[&origin]);
    assert_eq!(run.state(), CallState::Throw);
    assert_eq!(ask(&code, &View::Llvm.encode()).state(), CallState::Value);
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let world = World::new(small_cache());
    let origin = world.origin("a");
    let show = CallOptions::default().show(true);
    for (word, payload, expected) in [
        ("f", &b""[..], ErrorCode::BAD_PAYLOAD),
        ("f", b"\x03", ErrorCode::BAD_PAYLOAD),
        ("f", b"\x01\x01", ErrorCode::BAD_PAYLOAD),
        ("unresolved", b"\x01", ErrorCode::UNRESOLVED_SYMBOL),
        ("panics while loading", b"\x01", ErrorCode::INTERNAL),
    ] {
        let call = origin.call_with(&origin.code(word), payload, &show);
        world.settle(&[&origin]);
        assert_eq!(remote_code(&call.unwrap()), expected, "{word} {payload:?}");
    }
}
