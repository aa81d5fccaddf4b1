use super::*;
use crate::error::PeerFailure;
use crate::fabric::Event;
use crate::region::Update;

const HEADER: HeaderBytes = [1; 64];

fn pair(hub: &MemoryHub) -> (MemoryFabric, MemoryFabric, PeerId) {
    let (here, there) = (hub.fabric(), hub.fabric());
    let peer = here.add_peer(&there.address()).unwrap();
    (here, there, peer)
}

fn send(from: &MemoryFabric, to: PeerId, byte: u8) {
    let status = from.send(to, &HEADER, &[Segment::borrowed(&[byte])], Token(0));
    assert_eq!(status, Ok(SendStatus::Done));
}

/// All that one poll delivers: the first byte of each frame.
fn frames(fabric: &MemoryFabric) -> Vec<u8> {
    let mut bytes = Vec::new();
    fabric.poll(&mut |event: Event| {
        if let Event::Frame { header, body } = event {
            assert_eq!(header, HEADER);
            bytes.push(body[0]);
        }
    });
    bytes
}

/// All that one poll delivers besides frames.
fn notices(fabric: &MemoryFabric) -> Vec<Event> {
    let mut events = Vec::new();
    fabric.poll(&mut |event: Event| {
        if !matches!(event, Event::Frame { .. }) {
            events.push(event);
        }
    });
    events
}

#[test]
fn an_ideal_network_delivers_in_order_at_once() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    for byte in 0..100 {
        send(&here, peer, byte);
    }
    assert_eq!(hub.in_flight(&there), 100);
    assert_eq!(frames(&there), (0..100).collect::<Vec<u8>>());
    assert_eq!(here.stats().frames_sent, 100);
    assert_eq!(there.stats().bytes_received, 6500);
}

#[test]
fn segments_are_joined() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    let body = [
        Segment::borrowed(b"ab"),
        Segment::borrowed(b""),
        Segment::borrowed(b"c"),
    ];
    let _ = here.send(peer, &HEADER, &body, Token(0)).unwrap();
    let mut bodies = Vec::new();
    there.poll(&mut |event: Event| {
        if let Event::Frame { body, .. } = event {
            bodies.push(body.to_vec());
        }
    });
    assert_eq!(bodies, [b"abc"]);
}

#[test]
fn latency_is_virtual_time() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    hub.set_weather(Weather {
        latency: Duration::from_secs(3600),
        ..Weather::default()
    });
    send(&here, peer, 1);
    hub.advance(Duration::from_secs(3599));
    assert!(frames(&there).is_empty());
    hub.advance(Duration::from_secs(1));
    assert_eq!(frames(&there), [1]);
    // A sleeper need not sit the hour out.
    send(&here, peer, 2);
    there.wait(Duration::from_secs(3600));
    assert_eq!(frames(&there), [2]);
    assert_eq!(hub.now(), Duration::from_secs(7200));
}

#[test]
fn bad_weather_is_the_same_for_the_same_seed() {
    let weather = Weather {
        latency: Duration::from_micros(1),
        jitter: Duration::from_micros(50),
        loss: 0.2,
        doubling: 0.2,
    };
    let arrivals = |seed| {
        let hub = MemoryHub::with_seed(seed);
        hub.set_weather(weather);
        let (here, there, peer) = pair(&hub);
        (0..200).for_each(|byte| send(&here, peer, byte));
        hub.advance(Duration::from_secs(1));
        frames(&there)
    };
    let one = arrivals(7);
    assert_eq!(one, arrivals(7));
    assert_ne!(one, arrivals(8));
    let mut sorted = one.clone();
    sorted.sort_unstable();
    assert_ne!(one, sorted, "frames overtake each other");
    let different = {
        sorted.dedup();
        sorted.len()
    };
    assert!(different < 200, "some are lost");
    assert!(different < one.len(), "some arrive twice");
}

#[test]
fn what_is_on_the_way_can_be_lost_and_turned_round() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    (0..3).for_each(|byte| send(&here, peer, byte));
    hub.reverse_in_flight(&there);
    assert_eq!(frames(&there), [2, 1, 0]);
    send(&here, peer, 9);
    assert_eq!(hub.drop_in_flight(&there), 1);
    assert!(frames(&there).is_empty());
}

#[test]
fn a_dead_peer_is_told_once_and_refuses_sends() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    send(&here, peer, 1);
    hub.kill(&there);
    hub.kill(&there);
    let told = notices(&here);
    assert!(
        matches!(told[..], [Event::PeerFailed { peer: failed, reason: PeerFailure::Reset }] if failed == peer),
        "{told:?}"
    );
    assert_eq!(
        here.send(peer, &HEADER, &[], Token(0)),
        Err(TransportError::PeerFailed(PeerFailure::Reset))
    );
    assert!(frames(&there).is_empty());
    here.remove_peer(peer);
    assert_eq!(
        here.send(peer, &HEADER, &[], Token(0)),
        Err(TransportError::UnknownPeer(peer))
    );
    // Whoever comes too late hears of it as well.
    here.add_peer(&there.address()).unwrap();
    assert_eq!(notices(&here).len(), 1);
}

#[test]
fn held_sends_are_pending_until_they_are_let_go() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    hub.hold_sends(&here, true);
    let owner = Arc::new(vec![5u8]);
    let body = [Segment::shared(owner.clone())];
    assert_eq!(
        here.send(peer, &HEADER, &body, Token(3)),
        Ok(SendStatus::Pending)
    );
    drop(body);
    send(&here, peer, 6); // Borrowed: nothing to hold.
    assert_eq!(frames(&there), [5, 6]);
    assert_eq!(here.pending_sends(), 1);
    assert!(notices(&here).is_empty());
    hub.hold_sends(&here, false);
    assert_eq!(here.pending_sends(), 1, "until it is told");
    let mut free = false;
    here.poll(&mut |event: Event| {
        assert!(matches!(
            event,
            Event::Sent {
                token: Token(3),
                result: Ok(())
            }
        ));
        free = Arc::strong_count(&owner) == 1;
    });
    assert!(free, "the owner is let go before the sink is told");
    assert_eq!(here.pending_sends(), 0);
}

#[test]
fn a_removed_peer_ends_its_held_sends() {
    let hub = MemoryHub::new();
    let (here, _there, peer) = pair(&hub);
    hub.hold_sends(&here, true);
    let body = [Segment::shared(Arc::new(vec![5u8]))];
    let _ = here.send(peer, &HEADER, &body, Token(3)).unwrap();
    here.remove_peer(peer);
    let told = notices(&here);
    assert!(
        matches!(
            told[..],
            [Event::Sent {
                token: Token(3),
                result: Err(_)
            }]
        ),
        "{told:?}"
    );
}

#[test]
fn large_bodies_are_asked_about_and_pending() {
    struct Strict(usize);
    impl Sink for Strict {
        fn admit(&mut self, _header: &HeaderBytes, body_len: usize) -> bool {
            self.0 = body_len;
            false
        }
        fn frame(&mut self, _header: &HeaderBytes, _body: &mut Body) {
            panic!("it was not admitted");
        }
        fn sent(&mut self, _token: Token, _result: Result<(), TransportError>) {}
        fn peer_failed(&mut self, _peer: PeerId, _reason: PeerFailure) {}
    }
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    let body = [Segment::shared(Arc::new(vec![5u8; ASKED_ABOVE + 1]))];
    assert_eq!(
        here.send(peer, &HEADER, &body, Token(3)),
        Ok(SendStatus::Pending)
    );
    assert_eq!(notices(&here).len(), 1);
    let mut strict = Strict(0);
    there.poll(&mut strict);
    assert_eq!(strict.0, ASKED_ABOVE + 1);
    assert_eq!(there.stats().dropped, 1);
    assert_eq!(there.stats().frames_received, 0);
}

#[test]
fn sleepers_are_woken_by_frames_and_by_hand() {
    let hub = MemoryHub::new();
    let (here, there, peer) = pair(&hub);
    let long = Duration::from_secs(60);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| send(&here, peer, 1));
        there.wait(long);
    });
    assert_eq!(frames(&there), [1]);
    std::thread::scope(|scope| {
        scope.spawn(|| there.wake());
        there.wait(long);
    });
    there.wake();
    there.wait(long);
    assert!(start.elapsed() < long);
    there.wait(Duration::from_millis(1));
}

#[test]
fn foreign_addresses_are_refused() {
    let hub = MemoryHub::new();
    let (here, ..) = pair(&hub);
    for address in [&b""[..], b"memory:", b"memory:12345678", b"elsewhere"] {
        assert!(matches!(
            here.add_peer(address),
            Err(TransportError::Address { .. })
        ));
    }
}

#[test]
fn a_region_is_used_by_peers_as_long_as_it_is_there() {
    let hub = MemoryHub::new();
    let (owner, user, stranger) = (hub.fabric(), hub.fabric(), hub.fabric());
    let peer = user.add_peer(&owner.address()).unwrap();
    let region = owner.allocate(100).unwrap();
    let key = region.key().unwrap();
    let remote = user.import(peer, &key).unwrap();
    let mut bytes = [1; 4];
    remote.read(96, &mut bytes, Duration::ZERO).unwrap();
    assert_eq!(bytes, [0; 4]);
    remote.write(96, &[1, 2, 3, 4], Duration::ZERO).unwrap();
    remote.flush(Duration::ZERO).unwrap();
    remote.read(95, &mut bytes, Duration::ZERO).unwrap();
    assert_eq!(bytes, [0, 1, 2, 3]);
    let update = |offset, update| remote.update(offset, update, Duration::ZERO);
    assert_eq!(update(8, Update::Add(5)), Ok(0));
    let exchange = |expected, new| Update::CompareSwap { expected, new };
    assert_eq!(update(8, exchange(4, 9)), Ok(5));
    assert_eq!(update(8, exchange(5, 9)), Ok(5));
    assert_eq!(update(8, Update::Swap(1)), Ok(9));

    // Out of range, or not aligned: refused without touching anything.
    let beyond = remote.write(97, &[9; 4], Duration::ZERO);
    assert!(matches!(beyond, Err(TransportError::OutOfRange { .. })));
    assert!(matches!(
        update(96, Update::Add(1)),
        Err(TransportError::OutOfRange { .. })
    ));
    assert!(matches!(
        update(1, Update::Add(1)),
        Err(TransportError::Misaligned { .. })
    ));
    remote.read(96, &mut bytes, Duration::ZERO).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);

    // The key is for the owner's memory, not for that of others.
    let other = user.add_peer(&stranger.address()).unwrap();
    let refused = user.import(other, &key).err();
    assert_eq!(refused, Some(TransportError::NoRegion));
    assert!(user.import(peer, b"short").is_err());

    drop(region);
    let stale = remote.read(0, &mut bytes, Duration::ZERO);
    assert_eq!(stale, Err(TransportError::NoRegion));
    user.remove_peer(peer);
    assert!(!user.has_peer(peer));
    let gone = remote.flush(Duration::ZERO);
    assert_eq!(gone, Err(TransportError::UnknownPeer(peer)));
}

#[test]
fn memory_of_a_dead_fabric_is_out_of_reach() {
    let hub = MemoryHub::new();
    let (owner, user) = (hub.fabric(), hub.fabric());
    let peer = user.add_peer(&owner.address()).unwrap();
    let region = owner.allocate(8).unwrap();
    let remote = user.import(peer, &region.key().unwrap()).unwrap();
    hub.kill(&owner);
    let gone = remote.update(0, Update::Add(1), Duration::ZERO);
    assert!(matches!(gone, Err(TransportError::PeerFailed(_))));
}
