//! Frames between two real processes, over shared memory and over TCP. The other process is this test binary again, in
//! the role that `the_other_process` plays.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is a failure with its place"
)]

mod other;

use std::sync::Arc;
use std::time::Duration;

use bitcode_transport::{Event, Fabric, Segment, SendStatus, Token, TransportError, Update};
use other::{Other, TRANSPORTS, body, check_body, header, long_enough, poll_until};

/// What the spawned process runs; nothing in the parent.
#[test]
fn the_other_process() {
    other::run();
}

#[test]
fn frames_of_all_sizes_come_back() {
    for transport in TRANSPORTS {
        let other = Other::start(transport, "echo");
        let fabric = &other.fabric;
        let sizes = [
            0,
            1,
            8,
            27,
            28,
            29,
            127,
            128,
            129,
            192,
            193,
            1000,
            7999,
            8000,
            8001,
            8192,
            20_000,
            65_535,
            65_536,
            300_000,
            1 << 20,
            (20 << 20) + 3,
        ];
        for (number, size) in sizes.into_iter().enumerate() {
            let number = number as u8;
            let bytes = Arc::new(body(size, number));
            // Lasting and borrowed memory take different ways.
            let kinds = [Segment::shared(bytes.clone()), Segment::borrowed(&bytes)];
            for segment in kinds {
                let lasts = segment.outlives_call();
                let status = fabric
                    .send(other.peer, &header(number), &[segment], Token(7))
                    .unwrap();
                assert!(
                    lasts || status == SendStatus::Done,
                    "borrowed memory is free after the call"
                );
                let mut sent = status == SendStatus::Done;
                let mut answer = None;
                poll_until(fabric, "an answer", |event| {
                    match event {
                        Event::Frame { header: got, body } => {
                            assert_eq!(got, header(number));
                            answer = Some(body);
                        }
                        Event::Sent { token, result } => {
                            assert_eq!((token, result), (Token(7), Ok(())));
                            assert!(!sent, "told once");
                            sent = true;
                        }
                        Event::PeerFailed { reason, .. } => panic!("{reason}"),
                    }
                    answer.is_some() && sent
                });
                let answer = answer.unwrap();
                assert_eq!(answer.as_ptr().align_offset(64), 0);
                check_body(&answer, size, number, transport);
            }
        }
    }
}

#[test]
fn bodies_of_many_pieces_are_joined() {
    for transport in TRANSPORTS {
        let other = Other::start(transport, "echo");
        let piece = |len, seed| Segment::shared(Arc::new(body(len, seed)));
        let lengths = [3, 100_000, 0, 8, 5000, 70_001, 64, 64, 1 << 20];
        let borrowed = body(4000, 99);
        let mut segments: Vec<Segment<'_>> = Vec::new();
        let mut expected = Vec::new();
        for (seed, len) in lengths.into_iter().enumerate() {
            segments.push(piece(len, seed as u8));
            expected.extend(body(len, seed as u8));
        }
        segments.insert(4, Segment::borrowed(&borrowed));
        let at: usize = lengths[..4].iter().sum();
        expected.splice(at..at, borrowed.iter().copied());
        let status = other
            .fabric
            .send(other.peer, &header(1), &segments, Token(1))
            .unwrap();
        drop(segments);
        assert_eq!(status, SendStatus::Pending);
        let (mut sent, mut answer) = (false, None);
        poll_until(&other.fabric, "the joined body", |event| {
            match event {
                Event::Frame { body, .. } => answer = Some(body),
                Event::Sent { result, .. } => sent = result.is_ok(),
                Event::PeerFailed { reason, .. } => panic!("{reason}"),
            }
            sent && answer.is_some()
        });
        assert!(
            answer.unwrap().bytes() == expected,
            "{transport}: the bytes differ"
        );
    }
}

#[test]
fn ten_thousand_small_frames_arrive_in_order() {
    const COUNT: u32 = 10_000;
    for transport in TRANSPORTS {
        let other = Other::start(transport, "echo");
        let mut next = 0u32;
        let mut on_event = |event: Event| match event {
            Event::Frame { body, .. } => {
                assert_eq!(body.bytes(), next.to_le_bytes(), "{transport}");
                next += 1;
            }
            other => panic!("{other:?}"),
        };
        for number in 0..COUNT {
            let bytes = number.to_le_bytes();
            let status = other.fabric.send(
                other.peer,
                &header(0),
                &[Segment::borrowed(&bytes)],
                Token(0),
            );
            assert_eq!(status, Ok(SendStatus::Done));
            other.fabric.poll(&mut on_event);
        }
        let end = long_enough();
        while next < COUNT {
            other.fabric.poll(&mut |event: Event| match event {
                Event::Frame { body, .. } => {
                    assert_eq!(body.bytes(), next.to_le_bytes(), "{transport}");
                    next += 1;
                }
                other => panic!("{other:?}"),
            });
            assert!(
                std::time::Instant::now() < end,
                "{transport}: {next} of {COUNT}"
            );
        }
        assert_eq!(other.fabric.pending_sends(), 0);
    }
}

#[test]
fn a_killed_peer_is_noticed() {
    for transport in TRANSPORTS {
        let mut other = Other::start(transport, "echo");
        other.ping();
        other.kill();
        let peer = other.peer;
        let mut failures = 0;
        let end = long_enough();
        while failures == 0 {
            other.fabric.poll(&mut |event: Event| {
                if let Event::PeerFailed { peer: failed, .. } = event {
                    assert_eq!(failed, peer);
                    failures += 1;
                }
            });
            other.fabric.wait(Duration::from_millis(50));
            assert!(
                std::time::Instant::now() < end,
                "{transport}: nobody told us"
            );
        }
        let refused = other.fabric.send(peer, &header(0), &[], Token(0));
        assert!(
            matches!(refused, Err(TransportError::PeerFailed(_))),
            "{refused:?}"
        );
        other.fabric.remove_peer(peer);
        let refused = other.fabric.send(peer, &header(0), &[], Token(0));
        assert_eq!(refused, Err(TransportError::UnknownPeer(peer)));
    }
}

#[test]
fn a_peer_that_dies_in_the_middle_ends_the_sends_to_it() {
    for transport in TRANSPORTS {
        let mut other = Other::start(transport, "echo");
        other.ping();
        // It reads nothing any more, so the send cannot end by itself.
        other.deafen();
        let owner = send_what_nobody_takes(&other);
        other.kill();
        let (mut failed, mut sent) = (false, None);
        poll_until(
            &other.fabric,
            &format!("both ends of the send over {transport}"),
            |event| {
                match event {
                    Event::PeerFailed { .. } => failed = true,
                    Event::Sent { token, result } => {
                        assert_eq!(token, Token(5));
                        sent = Some(result);
                    }
                    Event::Frame { .. } => panic!("a frame from the deaf"),
                }
                failed && sent.is_some()
            },
        );
        assert!(sent.unwrap().is_err());
        assert_eq!(
            Arc::strong_count(&owner),
            1,
            "{transport}: nobody reads it any more"
        );
        assert_eq!(other.fabric.pending_sends(), 0);
    }
}

/// UCX checks only peers that have answered it once; one that never drove its fabric is known to be dead by the control
/// channel alone, and then this is what helps.
#[test]
fn removing_a_peer_ends_the_sends_to_it() {
    for transport in TRANSPORTS {
        let other = Other::start(transport, "stone deaf");
        let owner = send_what_nobody_takes(&other);
        other.fabric.remove_peer(other.peer);
        let mut sent = None;
        poll_until(
            &other.fabric,
            &format!("the end of the send over {transport}"),
            |event| {
                if let Event::Sent { token, result } = event {
                    assert_eq!(token, Token(5));
                    sent = Some(result);
                }
                sent.is_some()
            },
        );
        assert!(sent.unwrap().is_err());
        assert_eq!(
            Arc::strong_count(&owner),
            1,
            "{transport}: nobody reads it any more"
        );
        assert_eq!(other.fabric.pending_sends(), 0);
    }
}

/// A large send that stays pending.
fn send_what_nobody_takes(other: &Other) -> Arc<Vec<u8>> {
    let owner = Arc::new(body(32 << 20, 1));
    let segments = [Segment::shared(owner.clone())];
    let status = other
        .fabric
        .send(other.peer, &header(0), &segments, Token(5))
        .unwrap();
    assert_eq!(status, SendStatus::Pending);
    assert_eq!(other.fabric.pending_sends(), 1);
    for _ in 0..1000 {
        other.fabric.poll(&mut |event: Event| panic!("{event:?}"));
    }
    owner
}

#[test]
fn sleepers_are_woken_by_frames() {
    for transport in TRANSPORTS {
        // The other side sleeps for a minute at a time; so do we.
        let other = Other::start(transport, "echo");
        for round in 0..20 {
            let _ = other
                .fabric
                .send(other.peer, &header(round), &[], Token(0))
                .unwrap();
            let mut answered = false;
            let end = long_enough();
            while !answered {
                other
                    .fabric
                    .poll(&mut |event: Event| answered |= matches!(event, Event::Frame { .. }));
                if !answered {
                    other.fabric.wait(Duration::from_secs(60));
                }
                assert!(
                    std::time::Instant::now() < end,
                    "{transport}: round {round}"
                );
            }
        }
    }
}

#[test]
fn memory_of_another_process_is_written_and_read() {
    for transport in TRANSPORTS {
        let mut other = Other::start(transport, "region");
        let key = other.read_hex("KEY ");
        let key = other.fabric.import_key(other.peer, &key).unwrap();
        assert_eq!(key.len(), other::REGION as u64);
        assert_eq!(key.peer(), other.peer);
        let minute = Duration::from_secs(60);
        let bytes = body(other::REGION, 3);
        // Small and borrowed, large and kept.
        let small = key.put(0, &Segment::borrowed(&bytes[..100])).unwrap();
        let rest = Segment::shared(Arc::new(bytes[100..].to_vec()));
        let large = key.put(100, &rest).unwrap();
        let flush = key.flush().unwrap();
        for transfer in [small, large, flush] {
            let fetched = transfer.wait(minute).expect("it ends").unwrap();
            assert!(fetched.is_empty());
            assert!(transfer.is_done());
        }
        for (offset, len) in [(0, 8), (95, 10), (0, other::REGION)] {
            let get = key.get(offset, len).unwrap();
            let fetched = get.wait(minute).expect("it ends").unwrap();
            assert!(
                fetched.bytes() == &bytes[offset as usize..][..len],
                "{transport}: {offset}+{len}"
            );
        }
        // The owner sees them too: it answers with a copy of its memory.
        let answer = other.ask(&[]);
        assert!(
            answer.bytes() == bytes,
            "{transport}: the owner's bytes differ"
        );
        let beyond = key.get(other::REGION as u64 - 4, 5);
        assert!(matches!(beyond, Err(TransportError::OutOfRange { .. })));
        let beyond = key.put(u64::MAX, &Segment::borrowed(b"x"));
        assert!(matches!(beyond, Err(TransportError::OutOfRange { .. })));
        assert!(other.fabric.import_key(other.peer, b"short").is_err());
    }
}

#[test]
fn words_of_another_process_are_updated_at_once_for_everybody() {
    const THREADS: u64 = 4;
    const UPDATES: u64 = 250;
    for transport in TRANSPORTS {
        let mut other = Other::start(transport, "region");
        let key = other.read_hex("KEY ");
        let key = other.fabric.import(other.peer, &key).unwrap();
        let minute = Duration::from_secs(60);
        key.write(8, &7u64.to_le_bytes(), minute).unwrap();
        key.flush(minute).unwrap();
        let update = |update| key.update(8, update, minute).unwrap();
        let exchange = |expected, new| update(Update::CompareSwap { expected, new });
        assert_eq!(update(Update::Add(3)), 7, "{transport}");
        assert_eq!(update(Update::Swap(20)), 10, "{transport}");
        assert_eq!(exchange(10, 30), 20, "{transport}: it was not 10");
        assert_eq!(exchange(20, 40), 20, "{transport}");
        assert_eq!(update(Update::Add(u64::MAX)), 40, "{transport}");
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..UPDATES {
                        key.update(8, Update::Add(2), minute).unwrap();
                    }
                });
            }
        });
        let mut word = [0; 8];
        key.read(8, &mut word, minute).unwrap();
        assert_eq!(u64::from_le_bytes(word), 39 + 2 * THREADS * UPDATES);
        let beyond = key.update(other::REGION as u64, Update::Add(1), minute);
        assert!(matches!(beyond, Err(TransportError::OutOfRange { .. })));
        let across = key.update(4, Update::Add(1), minute);
        assert!(matches!(across, Err(TransportError::Misaligned { .. })));
    }
}

#[test]
fn memory_of_a_peer_that_was_removed_is_out_of_reach() {
    for transport in TRANSPORTS {
        let mut other = Other::start(transport, "region");
        let key = other.read_hex("KEY ");
        let key = other.fabric.import(other.peer, &key).unwrap();
        let minute = Duration::from_secs(60);
        let mut byte = [0];
        key.read(0, &mut byte, minute).unwrap();
        assert!(other.fabric.has_peer(other.peer));
        other.fabric.remove_peer(other.peer);
        assert!(key.read(0, &mut byte, minute).is_err());
        assert!(key.write(0, &byte, minute).is_err());
        assert!(key.update(0, Update::Add(1), minute).is_err());
        assert!(key.flush(minute).is_err());
    }
}

#[test]
fn the_transport_is_the_one_that_was_asked_for() {
    let shm = Other::start("shm", "echo");
    shm.ping();
    assert_eq!(shm.fabric.describe_peer(shm.peer), "posix");
    let tcp = Other::start("tcp", "echo");
    tcp.ping();
    assert!(
        tcp.fabric.describe_peer(tcp.peer).starts_with("tcp/"),
        "{}",
        tcp.fabric.describe_peer(tcp.peer)
    );
    // Between two processes of one machine the fastest is shared memory.
    let auto = Other::start("auto", "echo");
    auto.ping();
    assert_eq!(auto.fabric.describe_peer(auto.peer), "posix");
}

#[test]
fn a_fabric_may_go_as_soon_as_it_has_connected() {
    for transport in TRANSPORTS {
        for round in 0..20 {
            let (fabric, peer, other) = Other::start(transport, "echo").apart();
            if round % 2 == 1 {
                let _ = fabric.send(peer, &header(0), &[], Token(0)).unwrap();
            }
            drop(fabric);
            other.end();
        }
    }
}
