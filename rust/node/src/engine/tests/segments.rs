//! Memory that origins read and write themselves.

use bitcode_client::{ClientError, RemoteSegment};
use bitcode_jit::Denied;
use bitcode_transport::{MemoryFabric, Update};

use super::world::{Origin, World};
use crate::EngineSettings;

type Segment = RemoteSegment<MemoryFabric>;

/// Runs `body` in a thread of its own, and the node and these origins in this one until it is over.
fn with_node<T: Send>(world: &World, origins: &[&Origin], body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let asking = scope.spawn(body);
        while !asking.is_finished() {
            world.settle(origins);
            std::thread::yield_now();
        }
        asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn world(segment_bytes: u64) -> World {
    World::new(EngineSettings {
        segment_bytes,
        ..EngineSettings::default()
    })
}

fn made(origin: &Origin, bytes: u64) -> Segment {
    origin.session.allocate(bytes).unwrap()
}

fn is_too_much<T: std::fmt::Debug>(result: Result<T, ClientError>) -> bool {
    matches!(result, Err(ClientError::TooLarge(_)))
}

fn is_gone<T: std::fmt::Debug>(result: Result<T, ClientError>) -> bool {
    matches!(result, Err(ClientError::SegmentGone(_)))
}

#[test]
fn a_segment_is_zero_and_keeps_what_is_written() {
    let world = world(1 << 20);
    let origin = world.origin("one");
    with_node(&world, &[&origin], || {
        let segment = made(&origin, 1000);
        let mut bytes = [1; 1000];
        segment.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 1000]);
        segment.write(990, b"at the end").unwrap();
        segment.read(985, &mut bytes[..15]).unwrap();
        assert_eq!(&bytes[..15], b"\0\0\0\0\0at the end");
        assert_eq!(segment.update(8, Update::Add(3)), Ok(0));
        let exchange = |expected, new| Update::CompareSwap { expected, new };
        assert_eq!(segment.update(8, exchange(3, 9)), Ok(3));
        assert_eq!(segment.update(8, Update::Swap(1)), Ok(9));
        segment.close().unwrap();
        segment.close().unwrap();
    });
    assert_eq!(world.engine.segments().size(), (0, 0));
}

#[test]
fn what_is_out_of_range_is_refused_untouched() {
    let world = world(1 << 20);
    let origin = world.origin("one");
    with_node(&world, &[&origin], || {
        let segment = made(&origin, 16);
        segment.write(0, &[7; 16]).unwrap();
        let refused = |result| matches!(result, Err(ClientError::BadArgument(_)));
        assert!(refused(segment.write(9, &[1; 8])));
        assert!(refused(segment.write(u64::MAX, &[1])));
        assert!(refused(segment.read(17, &mut [])));
        assert!(refused(segment.update(16, Update::Add(1)).map(drop)));
        assert!(refused(segment.update(4, Update::Add(1)).map(drop)));
        let mut bytes = [0; 16];
        segment.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 16]);
    });
}

#[test]
fn after_close_nothing_is_reached_by_anybody() {
    let world = world(1 << 20);
    let (owner, other) = (world.origin("one"), world.origin("two"));
    with_node(&world, &[&owner, &other], || {
        let segment = made(&owner, 64);
        let attached = other.session.attach(segment.number()).unwrap();
        let again = other.session.attach(segment.number()).unwrap();
        assert_eq!(attached.len(), 64);
        segment.write(0, b"hello").unwrap();
        let mut bytes = [0; 5];
        attached.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        again.close().unwrap();
        assert!(is_gone(again.read(0, &mut bytes)));
        attached.read(0, &mut bytes).unwrap();

        segment.close().unwrap();
        assert!(!segment.is_open());
        assert!(is_gone(segment.read(0, &mut bytes)));
        assert!(is_gone(segment.write(0, &bytes)));
        assert!(is_gone(segment.update(0, Update::Add(1))));
        // The other one hears of it with what comes in next.
        while attached.is_open() {
            std::thread::yield_now();
        }
        assert!(is_gone(attached.read(0, &mut bytes)));
        assert!(is_gone(other.session.attach(segment.number())));
        attached.close().unwrap();
    });
    world.settle(&[&owner, &other]);
    assert_eq!(world.engine.segments().size(), (0, 0));
}

#[test]
fn memory_that_somebody_may_still_reach_is_not_given_back() {
    let world = world(8192);
    let (owner, other) = (world.origin("one"), world.origin("two"));
    let (segment, attached) = with_node(&world, &[&owner, &other], || {
        let segment = made(&owner, 64);
        let attached = other.session.attach(segment.number()).unwrap();
        (segment, attached)
    });
    with_node(&world, &[&owner], || segment.close().unwrap());
    // Nobody has polled for the other origin: as far as it knows the segment is there.
    assert!(attached.is_open());
    assert_eq!(world.engine.segments().size(), (0, 4096));
    assert!(world.engine.segments().is_leaving());
    world.settle(&[&other]);
    assert!(!attached.is_open());
    assert_eq!(world.engine.segments().size(), (0, 0));
}

#[test]
fn segments_end_with_their_owner() {
    let world = world(1 << 20);
    let (owner, other) = (world.origin("one"), world.origin("two"));
    let attached = with_node(&world, &[&owner, &other], || {
        let segments = [64, 128].map(|bytes| made(&owner, bytes));
        made(&other, 32);
        other.session.attach(segments[1].number()).unwrap()
    });
    assert_eq!(world.engine.segments().size().0, 3);
    world.engine.close_session(owner.id, "the test says so");
    world.settle(&[&other]);
    assert!(!attached.is_open());
    assert_eq!(world.engine.segments().size(), (1, 4096));
    world.engine.close_session(other.id, "the test says so");
    assert_eq!(world.engine.segments().size(), (0, 0));
}

#[test]
fn a_node_has_so_many_bytes_for_segments() {
    let world = world(10_000);
    let origin = world.origin("one");
    with_node(&world, &[&origin], || {
        let first = made(&origin, 5000);
        assert!(is_too_much(origin.session.allocate(5000)));
        assert!(is_too_much(origin.session.allocate(u64::MAX)));
        first.close().unwrap();
        let empty = made(&origin, 0);
        assert!(empty.is_empty());
        made(&origin, 1);
        assert!(is_too_much(origin.session.allocate(1)));
    });
}

#[test]
fn a_segment_is_its_owners_to_free() {
    let world = world(1 << 20);
    let (owner, other) = (world.origin("one"), world.origin("two"));
    with_node(&world, &[&owner, &other], || {
        let segment = made(&owner, 64);
        let attached = other.session.attach(segment.number()).unwrap();
        attached.close().unwrap();
        assert!(segment.is_open());
        segment.write(0, b"still here").unwrap();
        assert!(is_gone(other.session.attach(segment.number() + 1)));
    });
}

#[test]
fn code_that_runs_here_is_lent_what_is_there() {
    let world = world(1 << 20);
    let origin = world.origin("one");
    let segments = world.engine.segments();
    with_node(&world, &[&origin], || {
        let segment = made(&origin, 64);
        let number = segment.number();
        let lent = segments.lend(number, 64).ok();
        assert!(lent.is_some());
        let denied = |number, bytes| segments.lend(number, bytes).err();
        assert_eq!(denied(number, 65), Some(Denied::OutOfRange));
        assert_eq!(denied(number + 1, 1), Some(Denied::Gone));
        segment.close().unwrap();
        assert_eq!(denied(number, 64), Some(Denied::Gone));
    });
    assert_eq!(segments.size(), (0, 0));
}

#[test]
fn one_call_has_a_segment_to_itself() {
    let world = world(1 << 20);
    let origin = world.origin("one");
    let segments = world.engine.segments();
    with_node(&world, &[&origin], || {
        let number = made(&origin, 8).number();
        let first = segments.exclude(number).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| segments.exclude(number).map(drop));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), Ok(()));
        });
        assert_eq!(
            segments.exclude(number + 1).map(drop),
            Err(Denied::Gone),
            "there is no such segment"
        );
    });
}
