//! Code that links to other code by its code id.

use std::sync::atomic::Ordering;

use bitcode_client::{CallState, ClientError, Code};
use bitcode_wire::code::CodeId;

use super::world::{Origin, World, archive, linking_archive, value};
use crate::EngineSettings;

/// The code of `word`, which links to `links`.
fn linking(origin: &Origin, word: &str, links: &[&Code]) -> Code {
    let ids: Vec<_> = links.iter().map(|code| code.id()).collect();
    let links: Vec<_> = links.iter().map(|code| (*code).clone()).collect();
    let archive = linking_archive(word, &ids);
    origin.client.linked_code(archive, &links).unwrap()
}

#[test]
fn what_is_there_is_not_sent_again_and_what_is_not_comes_along() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let shared = origin.code("shared");
    let first = linking(&origin, "first", &[&shared]);
    let call = origin.call(&first, b"ab");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"ba");
    assert_eq!(call.timings().unwrap().need_code, 1);
    assert_eq!(world.engine.counters().compiled.get(), 2);

    let second = linking(&origin, "second", &[&shared]);
    let call = origin.call(&second, b"cd");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"dc");
    assert_eq!(call.timings().unwrap().need_code, 0);
    // What came along is code like any other.
    let call = origin.call(&shared, b"ef");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"fe");
    assert_eq!(world.engine.counters().compiled.get(), 3);
}

#[test]
fn links_of_links_come_in_an_order_that_can_be_compiled() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let deepest = origin.code("deepest");
    let left = linking(&origin, "left", &[&deepest]);
    let right = linking(&origin, "right", &[&left, &deepest]);
    let top = linking(&origin, "top", &[&right, &left]);
    let call = origin.call(&top, b"xyz");
    world.settle(&[&origin]);
    assert_eq!(value(&call), b"zyx");
    assert_eq!(world.engine.counters().compiled.get(), 4);
}

#[test]
fn evicted_code_lives_as_long_as_what_links_to_it() {
    let settings = EngineSettings {
        cache_bytes: 5000,
        ..EngineSettings::default()
    };
    let world = World::new(settings);
    let origin = world.origin("a");
    let shared = origin.code("shared");
    let user = linking(&origin, "user", &[&shared]);
    // The cache has room for three: `user` is used again and again, `shared` is not.
    for word in ["user", "1", "2", "3", "4"] {
        let call = origin.call(&user, b"ab");
        world.settle(&[&origin]);
        assert_eq!(value(&call), b"ba");
        origin.call(&origin.code(word), b"");
        world.settle(&[&origin]);
    }
    assert!(world.engine.counters().evicted.get() >= 2);
    let (entries, _) = world.engine.cache_size();
    let alive = world.engine.loader().alive.load(Ordering::SeqCst);
    assert_eq!(alive, entries + 1, "`shared` has only left the cache");
}

#[test]
fn a_client_does_not_send_code_whose_links_it_lacks() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    let absent = CodeId::of(&archive("absent"));
    let refused = origin
        .client
        .linked_code(linking_archive("user", &[absent]), &[]);
    let Err(ClientError::BadArgument(message)) = refused else {
        panic!("{refused:?}");
    };
    assert!(message.contains(&absent.to_string()), "{message}");
}

#[test]
fn a_link_that_cannot_be_compiled_is_the_calls_error() {
    let world = World::new(EngineSettings::default());
    let origin = world.origin("a");
    for bad in ["unresolved", "panics while loading"] {
        let link = origin.code(bad);
        let call = origin.call(&linking(&origin, "user", &[&link]), b"");
        world.settle(&[&origin]);
        assert_eq!(call.state(), CallState::Error, "{bad}");
        // Nothing is left of it that others would wait for.
        let again = origin.call(&linking(&origin, "another user", &[&link]), b"");
        world.settle(&[&origin]);
        assert_eq!(again.state(), CallState::Error, "{bad}");
    }
}
