//! Two fabrics in one process, and what only this room can do to them.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::UcxFabric;
use super::endpoint::Started;
use super::message::{MessageId, PART, Part, SMALL, WHOLE};
use crate::body::Body;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::{Event, Fabric, HeaderBytes, PeerId, SendStatus, Sink, Token};
use crate::segment::Segment;
use crate::settings::{Settings, TransportChoice};

const HEADER: HeaderBytes = [3; 64];
const CHOICES: [TransportChoice; 2] = [TransportChoice::Shm, TransportChoice::Tcp];

struct Pair {
    here: UcxFabric,
    there: UcxFabric,
    /// `there`, as `here` knows it.
    peer: PeerId,
    /// `here`, as `there` knows it.
    back: PeerId,
}

/// Makes two fabrics peers of each other. Returns the second as the first knows it, and the other way round.
fn connect(here: &UcxFabric, there: &UcxFabric) -> (PeerId, PeerId) {
    let (peer, to_here) = here.open_peer().unwrap();
    let (back, to_there) = there.open_peer().unwrap();
    there.connect_peer(back, &to_here).unwrap();
    here.connect_peer(peer, &to_there).unwrap();
    (peer, back)
}

impl Pair {
    fn new(choice: TransportChoice) -> Self {
        let settings = Settings {
            max_body: 10 << 20,
            ..Settings::with_transport(choice)
        };
        let here = UcxFabric::new(&settings).unwrap();
        let there = UcxFabric::new(&settings).unwrap();
        let (peer, back) = connect(&here, &there);
        Self {
            here,
            there,
            peer,
            back,
        }
    }

    /// Drives both until `there` has told enough.
    fn until(&self, what: &str, mut done: impl FnMut(Event) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut finished = false;
        while !finished {
            self.here
                .poll(&mut |event: Event| assert!(!matches!(event, Event::Frame { .. })));
            self.there.poll(&mut |event: Event| finished |= done(event));
            assert!(Instant::now() < end, "waited in vain for {what}");
        }
    }

    /// Drives both until `there` has dropped this many messages.
    fn until_dropped(&self, count: u64, sink: &mut dyn Sink) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.there.stats().dropped < count {
            self.here
                .poll(&mut |event: Event| assert!(!matches!(event, Event::Frame { .. })));
            self.there.poll(sink);
            assert!(
                Instant::now() < end,
                "{} of {count} dropped",
                self.there.stats().dropped
            );
        }
    }

    /// Sends an active message that no fabric would.
    fn send_anything(&self, id: u32, header: &[u8], data: &[u8]) {
        unsafe extern "C" fn on_end(
            request: *mut c_void,
            _: ucx_sys::ucs_status_t,
            done: *mut c_void,
        ) {
            // SAFETY: the flag outlives the send, for which the sender waits.
            unsafe { &*done.cast::<AtomicBool>() }.store(true, Ordering::Relaxed);
            // SAFETY: UCX's request, which has ended.
            unsafe { ucx_sys::ucp_request_free(request) };
        }
        let done = AtomicBool::new(false);
        let mut driving = self.here.drive(self.peer).unwrap();
        let endpoint = driving.endpoint().unwrap();
        let (header, data) = ((header.as_ptr(), header.len()), (data.as_ptr(), data.len()));
        let address = (&raw const done).cast_mut().cast();
        // SAFETY: the lock is held; both slices and the flag outlive the send, for which we wait.
        let started = unsafe { endpoint.send(id, header, data, 0, on_end, address) };
        drop(driving);
        match started {
            Started::Done => {}
            Started::UnderWay => {
                while !done.load(Ordering::Relaxed) {
                    self.here.drive(self.peer).unwrap().progress();
                    self.there.drive(self.back).unwrap().progress();
                }
            }
            Started::Failed(status) => panic!("UCX refuses to send: {}", status.0),
        }
    }
}

/// Admits nothing and expects nothing.
#[derive(Default)]
struct Refuse {
    asked: Vec<usize>,
}

impl Sink for Refuse {
    fn admit(&mut self, header: &HeaderBytes, body_len: usize) -> bool {
        assert_eq!(*header, HEADER);
        self.asked.push(body_len);
        false
    }
    fn frame(&mut self, _header: &HeaderBytes, body: &mut Body) {
        panic!("a frame of {} bytes came through", body.len());
    }
    fn sent(&mut self, _token: Token, _result: Result<(), TransportError>) {}
    fn peer_failed(&mut self, _peer: PeerId, reason: PeerFailure) {
        panic!("{reason}");
    }
}

fn part(body_len: u64, offset: u64, sender: u64) -> Vec<u8> {
    let id = MessageId { sender, message: 1 };
    let part = Part {
        frame: HEADER,
        id,
        body_len,
        offset,
    };
    part.encode().to_vec()
}

#[test]
fn messages_that_are_no_frames_are_dropped_and_counted() {
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let long = vec![0; 11 << 20];
        let known = pair.here.number();
        pair.send_anything(SMALL, &[], &[]);
        pair.send_anything(SMALL, &[], &[1; 63]);
        pair.send_anything(SMALL, &[], &long); // A rendezvous, where nothing small could be.
        pair.send_anything(WHOLE, &[], b"no header");
        pair.send_anything(WHOLE, &[1; 65], b"a long header");
        pair.send_anything(WHOLE, &HEADER, &long);
        pair.send_anything(PART, &[], b"no header");
        pair.send_anything(PART, &[0xFF; 96], b"nonsense");
        pair.send_anything(PART, &part(100, 95, known), b"beyond");
        pair.send_anything(PART, &part(11 << 20, 0, known), b"of too much");
        pair.send_anything(PART, &part(100, 0, known ^ 1), b"of nobody");
        pair.until_dropped(11, &mut Refuse::default());
        // A message that nobody handles is UCX's to drop.
        pair.send_anything(9, &[1; 10], b"what");
        // And then a frame.
        let _ = pair.here.send(pair.peer, &HEADER, &[], Token(0)).unwrap();
        pair.until("a frame", |event| matches!(event, Event::Frame { .. }));
        assert_eq!(pair.there.stats().frames_received, 1);
    }
}

#[test]
fn parts_that_contradict_each_other_are_no_danger() {
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let known = pair.here.number();
        // The second claims a longer body than the first has made room for.
        pair.send_anything(PART, &part(100, 0, known), &[1; 50]);
        pair.send_anything(PART, &part(1000, 900, known), &[2; 50]);
        pair.send_anything(PART, &part(100, 50, known), &[3; 50]);
        let mut body = Vec::new();
        pair.until("the frame", |event| {
            if let Event::Frame { body: got, .. } = event {
                body = got.to_vec();
            }
            !body.is_empty()
        });
        assert_eq!(body, [[1; 50], [3; 50]].concat());
    }
}

#[test]
fn a_large_body_that_is_not_admitted_takes_no_memory() {
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let owner = Arc::new(vec![7u8; 5 << 20]);
        // In one piece, and in two.
        let one = [Segment::shared(owner.clone())];
        let two = [
            Segment::shared(owner.clone()),
            Segment::shared(owner.clone()),
        ];
        let mut refuse = Refuse::default();
        assert_eq!(
            pair.here.send(pair.peer, &HEADER, &one, Token(1)),
            Ok(SendStatus::Pending)
        );
        pair.until_dropped(1, &mut refuse);
        assert_eq!(
            pair.here.send(pair.peer, &HEADER, &two, Token(2)),
            Ok(SendStatus::Pending)
        );
        pair.until_dropped(3, &mut refuse);
        assert_eq!(refuse.asked, [5 << 20, 10 << 20, 10 << 20]);
        drop((one, two));
        let end = Instant::now() + Duration::from_secs(60);
        while pair.here.pending_sends() > 0 {
            pair.here.poll(&mut Refuse::default());
            pair.there.poll(&mut Refuse::default());
            assert!(Instant::now() < end, "the sender is never told");
        }
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}

#[test]
fn a_body_that_is_too_long_is_not_sent() {
    let pair = Pair::new(TransportChoice::Shm);
    let long = vec![0; (10 << 20) + 1];
    assert_eq!(
        pair.here
            .send(pair.peer, &HEADER, &[Segment::borrowed(&long)], Token(0)),
        Err(TransportError::TooLarge {
            len: long.len(),
            max: 10 << 20
        })
    );
}

#[test]
fn several_threads_drive_and_send() {
    const FRAMES: usize = 2000;
    const SENDERS: usize = 3;
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let received = AtomicUsize::new(0);
        let sum = AtomicUsize::new(0);
        let pair = &pair;
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                scope.spawn(move || {
                    for frame in 0..FRAMES {
                        let number = (sender * FRAMES + frame).to_le_bytes();
                        let body = [Segment::borrowed(&number)];
                        assert_eq!(
                            pair.here.send(pair.peer, &HEADER, &body, Token(0)),
                            Ok(SendStatus::Done)
                        );
                        if frame % 100 == 0 {
                            pair.here.poll(&mut |event: Event| panic!("{event:?}"));
                        }
                    }
                });
            }
            for _ in 0..3 {
                let (received, sum) = (&received, &sum);
                scope.spawn(move || {
                    let end = Instant::now() + Duration::from_secs(60);
                    while received.load(Ordering::Relaxed) < FRAMES * SENDERS {
                        pair.here.poll(&mut |event: Event| panic!("{event:?}"));
                        pair.there.poll(&mut |event: Event| {
                            let Event::Frame { body, .. } = event else {
                                panic!("{event:?}")
                            };
                            let number = usize::from_le_bytes(body[..].try_into().unwrap());
                            sum.fetch_add(number, Ordering::Relaxed);
                            received.fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(Instant::now() < end, "{received:?} frames");
                    }
                });
            }
        });
        let all = FRAMES * SENDERS;
        assert_eq!(received.into_inner(), all);
        assert_eq!(sum.into_inner(), all * (all - 1) / 2);
        assert_eq!(pair.there.stats().frames_received, all as u64);
    }
}

#[test]
fn a_sink_may_call_the_fabric() {
    let pair = Pair::new(TransportChoice::Shm);
    let back = pair.back;
    let _ = pair.here.send(pair.peer, &HEADER, &[], Token(0)).unwrap();
    let mut answered = 0;
    let end = Instant::now() + Duration::from_secs(60);
    while answered == 0 {
        pair.there.poll(&mut |event: Event| {
            let Event::Frame { header, .. } = event else {
                panic!("{event:?}")
            };
            let _ = pair.there.send(back, &header, &[], Token(0)).unwrap();
            pair.there.wake();
            assert_eq!(pair.there.poll(&mut |event: Event| panic!("{event:?}")), 0);
            let _ = (
                pair.there.stats(),
                pair.there.pending_sends(),
                pair.there.describe_peer(back),
            );
        });
        answered += pair.here.poll(&mut |_: Event| {});
        assert!(Instant::now() < end, "no answer");
    }
}

/// Who drove and said that it left keeps nobody from sleeping: frames that come then are announced by an event, not found by a nap.
#[test]
fn a_driver_that_leaves_with_a_word_is_not_waited_for() {
    let pair = Pair::new(TransportChoice::Shm);
    let nothing = |event: Event| panic!("{event:?}");
    assert_eq!(pair.there.poll(&mut |event: Event| nothing(event)), 0);
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| pair.there.poll(&mut |event: Event| nothing(event)));
        assert_eq!(driver.join().expect("it only polls"), 0);
        pair.there.wake();
        pair.there.wait(Duration::from_secs(60));
    });
    assert_eq!(pair.there.poll(&mut |event: Event| nothing(event)), 0);
    let (start, time) = (Instant::now(), Duration::from_millis(200));
    pair.there.wait(time);
    assert!(
        start.elapsed() >= time / 2,
        "a nap of {:?}",
        start.elapsed()
    );
}

#[test]
fn waiting_ends_with_a_wake_with_time_and_with_a_driver() {
    let pair = Pair::new(TransportChoice::Shm);
    let long = Duration::from_secs(60);
    let start = Instant::now();
    pair.there.wake();
    pair.there.wait(long);
    pair.there.wait(Duration::from_millis(2));
    std::thread::scope(|scope| {
        scope.spawn(|| pair.there.wake());
        pair.there.wait(long);
    });
    // A sleeper whose frame another thread takes away is woken, or it would sleep on a dead event.
    let _ = pair.here.send(pair.peer, &HEADER, &[], Token(0)).unwrap();
    let (asleep, taken) = (AtomicBool::new(true), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pair.there.wait(long);
            asleep.store(false, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !taken.load(Ordering::Relaxed) || asleep.load(Ordering::Relaxed) {
                pair.here.poll(&mut |event: Event| panic!("{event:?}"));
                if pair.there.poll(&mut |_: Event| {}) > 0 {
                    taken.store(true, Ordering::Relaxed);
                }
                if start.elapsed() > long {
                    return;
                }
            }
        });
    });
    assert!(start.elapsed() < long);
}

#[test]
fn addresses_that_are_none_are_refused() {
    let pair = Pair::new(TransportChoice::Shm);
    let (peer, _) = pair.here.open_peer().unwrap();
    let (_, good) = pair.there.open_peer().unwrap();
    let mut other_version = good.clone();
    other_version[0] ^= 0xFF;
    for bad in [&[][..], &good[..5], &good[..9], &other_version] {
        let refused = pair.here.connect_peer(peer, bad);
        assert!(
            matches!(refused, Err(TransportError::Address { .. })),
            "{refused:?}"
        );
    }
    // A process that only speaks TCP cannot be reached through shared memory.
    let tcp = UcxFabric::new(&Settings::with_transport(TransportChoice::Tcp)).unwrap();
    let (_, address) = tcp.open_peer().unwrap();
    let refused = pair.here.connect_peer(peer, &address).unwrap_err();
    assert!(
        refused.to_string().contains("transport in common"),
        "{refused}"
    );
    // After all that it may still be connected, but once.
    assert_eq!(pair.here.connect_peer(peer, &good), Ok(()));
    let again = pair.here.connect_peer(peer, &good);
    assert!(
        matches!(again, Err(TransportError::Address { .. })),
        "{again:?}"
    );
    pair.here.remove_peer(peer);
    let gone = pair.here.connect_peer(peer, &good);
    assert_eq!(gone, Err(TransportError::UnknownPeer(peer)));
}

#[test]
fn peers_come_and_go() {
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let mut seen = vec![pair.peer];
        for round in 0..20u8 {
            let (peer, back) = connect(&pair.here, &pair.there);
            assert!(!seen.contains(&peer), "no number is used twice");
            seen.push(peer);
            let _ = pair
                .here
                .send(peer, &HEADER, &[Segment::borrowed(&[round])], Token(0))
                .unwrap();
            pair.until(
                "a frame",
                |event| matches!(event, Event::Frame { body, .. } if body.bytes() == [round]),
            );
            pair.here.remove_peer(peer);
            pair.here.remove_peer(peer);
            assert_eq!(
                pair.here.send(peer, &HEADER, &[], Token(0)),
                Err(TransportError::UnknownPeer(peer))
            );
            pair.there.remove_peer(back);
        }
        assert_eq!(pair.here.stats().frames_sent, 20);
        assert_eq!(pair.there.stats().frames_received, 20);
    }
}

#[test]
fn lanes_that_doze_are_heard() {
    for choice in CHOICES {
        let pair = Pair::new(choice);
        let quiet: Vec<_> = (0..5).map(|_| connect(&pair.here, &pair.there)).collect();
        let frames = |frames: u64| {
            let end = Instant::now() + Duration::from_secs(60);
            while pair.there.stats().frames_received < frames {
                pair.here.poll(&mut |event: Event| panic!("{event:?}"));
                pair.there.poll(&mut |_: Event| {});
                assert!(Instant::now() < end, "waited in vain for frame {frames}");
            }
        };
        let send = |peer| {
            let _ = pair.here.send(peer, &HEADER, &[], Token(0)).unwrap();
        };
        for &(peer, _) in &quiet {
            send(peer);
        }
        frames(5);
        let mut sent = 5;
        let end = Instant::now() + Duration::from_secs(60);
        while pair.there.awake_peers() > 1 {
            send(pair.peer);
            sent += 1;
            frames(sent);
            assert!(
                Instant::now() < end,
                "{} lanes awake",
                pair.there.awake_peers()
            );
        }
        for (round, &(peer, _)) in quiet.iter().cycle().take(20).enumerate() {
            send(peer);
            frames(sent + round as u64 + 1);
        }
    }
}

#[test]
fn a_fabric_may_go_before_its_endpoints_are_connected() {
    for choice in CHOICES {
        for round in 0..50 {
            let pair = Pair::new(choice.clone());
            if round % 3 == 1 {
                let _ = pair.here.send(pair.peer, &HEADER, &[], Token(0));
            }
            if round % 3 == 2 {
                pair.here.remove_peer(pair.peer);
            }
            drop(pair);
        }
    }
}

#[test]
fn handles_outlive_their_fabric() {
    let pair = Pair::new(TransportChoice::Shm);
    let region = pair.there.allocate_region(1000).unwrap();
    let key = pair
        .here
        .import_key(pair.peer, &region.key().unwrap())
        .unwrap();
    region.write(10, b"there").unwrap();
    let get = key.get(10, 5).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !get.is_done() {
        // In one thread, both sides have to be driven.
        assert!(Instant::now() < end);
        pair.here.poll(&mut |event: Event| panic!("{event:?}"));
        pair.there.poll(&mut |event: Event| panic!("{event:?}"));
    }
    assert_eq!(get.take().unwrap().unwrap().bytes(), b"there");
    let Pair { here, there, .. } = pair;
    drop((here, there));
    let mut bytes = [0; 5];
    region.read(10, &mut bytes).unwrap();
    assert_eq!(&bytes, b"there");
    assert!(region.read(996, &mut bytes).is_err());
    assert!(region.write(usize::MAX, b"x").is_err());
    drop(region);
    drop(key);
}
