//! [`Fabric`] over UCX.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::context::Context;
use super::driver::{Driver, Driving, Notice, State};
use super::inbox::{Inbox, Offer};
use super::message::SMALL;
use super::sleep::{NAP, Park};
use super::status;
use super::worker::{Armed, Worker};
use crate::body::{Body, BodyPool};
use crate::error::TransportError;
use crate::fabric::{
    Fabric, FabricStats, HEADER_LEN, HeaderBytes, PeerId, SendStatus, Sink, Token,
};
use crate::segment::{Segment, body_len};
use crate::settings::Settings;

/// First byte of a fabric's address; then its number (8 bytes, little endian), then UCX's worker address.
const ADDRESS_VERSION: u8 = 1;
const ADDRESS_PREFIX: usize = 9;

/// Bodies up to this length are gathered on the stack behind their header and tried at once. UCX's short path takes 28
/// bytes beside the header over shared memory, 8 KiB over TCP.
const AT_ONCE: usize = 192;

/// Deliveries per `poll`, so that a fast sender cannot keep a driver in there.
const BATCH: usize = 64;

/// Frames over UCX: shared memory, TCP or RDMA. See [`Fabric`] and the settings.
///
/// Dropping it closes all endpoints at once (frames that UCX has not sent yet are lost: see
/// [`Fabric::pending_sends`]). Handles made from it keep the worker alive, not the endpoints.
pub struct UcxFabric {
    driver: Arc<Driver>,
    address: Vec<u8>,
    sender: u64,
    max_body: usize,
    description: String,
    pool: Arc<BodyPool>,
}

impl UcxFabric {
    /// Opens the transports that the settings allow.
    pub fn new(settings: &Settings) -> Result<Self, TransportError> {
        let context = Context::new(settings)?;
        let description = context.resources().join(",");
        let worker = Worker::new(context)?;
        // Not a secret, only unlikely to be drawn twice.
        let sender = RandomState::new().build_hasher().finish();
        let mut address = vec![ADDRESS_VERSION];
        address.extend_from_slice(&sender.to_le_bytes());
        address.extend_from_slice(&worker.address()?);
        let pool = BodyPool::new();
        let inbox = Inbox::new(Arc::clone(&pool), settings.max_body);
        let driver = Driver::new(worker, inbox)?;
        info!(setting = %settings.transport, transports = description, "UCX is up");
        Ok(Self {
            driver,
            address,
            sender,
            max_body: settings.max_body,
            description,
            pool,
        })
    }

    /// The number that it drew for itself.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.sender
    }

    /// Where its bodies come from.
    pub(crate) fn pool(&self) -> &Arc<BodyPool> {
        &self.pool
    }

    /// What makes handles of this fabric work.
    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }
}

impl Drop for UcxFabric {
    fn drop(&mut self) {
        let mut driving = self.driver.drive();
        for endpoint in driving.state().peers.close_all() {
            driving.close(endpoint);
        }
        // Closing at once is quick, but it takes progress. What does not end is ended with the worker.
        let deadline = Instant::now() + Duration::from_millis(200);
        while driving.state().under_way > 0 && Instant::now() < deadline {
            driving.progress();
        }
    }
}

/// A number for the calling thread; cheaper than its id.
#[inline]
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Where a small frame is gathered.
type Gathered = MaybeUninit<[u8; HEADER_LEN + AT_ONCE]>;

/// Puts header and body, at most [`AT_ONCE`] bytes, one behind the other.
#[inline]
fn gather<'a>(place: &'a mut Gathered, header: &HeaderBytes, body: &[Segment<'_>]) -> &'a [u8] {
    let base = place.as_mut_ptr().cast::<u8>();
    // SAFETY: the place begins with room for a header.
    unsafe { base.cast::<HeaderBytes>().write(*header) };
    let mut len = HEADER_LEN;
    for segment in body {
        let bytes = segment.as_bytes();
        assert!(
            len + bytes.len() <= HEADER_LEN + AT_ONCE,
            "the caller has added the lengths up"
        );
        // SAFETY: within the place, as was checked.
        let rest = unsafe { base.add(len) };
        if let Ok(word) = <[u8; 8]>::try_from(bytes) {
            // SAFETY: room for eight bytes, as was checked. Written without a call, because it is the usual case.
            unsafe { rest.cast::<[u8; 8]>().write(word) };
        } else {
            // SAFETY: room for as many bytes, as was checked; the place is not part of any segment.
            unsafe { rest.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        len += bytes.len();
    }
    // SAFETY: `len` bytes have been written.
    unsafe { std::slice::from_raw_parts(base, len) }
}

/// What `poll` took out under the lock besides frames, to be delivered without it.
enum Delivery {
    Offer { offer: Box<Offer>, known: bool },
    Notice(Notice),
}

impl State {
    fn next_delivery(&mut self) -> Option<Delivery> {
        if let Some(offer) = self.inbox.offers.pop_front() {
            let known = self.inbox.is_admitted(&offer);
            let offer = Box::new(offer);
            return Some(Delivery::Offer { offer, known });
        }
        let notice = self.notices.pop_front()?;
        if let Notice::Sent { .. } = notice {
            self.outbox.reported -= 1;
        }
        Some(Delivery::Notice(notice))
    }
}

impl UcxFabric {
    /// Delivers what is not a frame; the lock is free.
    #[cold]
    fn deliver(&self, delivery: Delivery, sink: &mut dyn Sink) -> usize {
        match delivery {
            Delivery::Offer { offer, known } => {
                let admitted = known || sink.admit(&offer.header, offer.body_len);
                self.driver.drive().settle(*offer, admitted);
                0
            }
            Delivery::Notice(Notice::Sent {
                token,
                result,
                kept,
            }) => {
                drop(kept);
                sink.sent(token, result);
                1
            }
            Delivery::Notice(Notice::Transferred(_)) => 0,
            Delivery::Notice(Notice::PeerFailed { peer, reason }) => {
                warn!(?peer, %reason, "a peer failed");
                sink.peer_failed(peer, reason);
                1
            }
        }
    }
}

impl Fabric for UcxFabric {
    fn local_address(&self) -> Vec<u8> {
        self.address.clone()
    }

    fn add_peer(&self, address: &[u8]) -> Result<PeerId, TransportError> {
        let unusable = |reason: &str| TransportError::Address {
            len: address.len(),
            reason: reason.to_owned(),
        };
        let Some((prefix, worker_address)) = address.split_first_chunk::<ADDRESS_PREFIX>() else {
            return Err(unusable("it is too short"));
        };
        let [ADDRESS_VERSION, number @ ..] = prefix else {
            return Err(unusable("it is of another version of this transport"));
        };
        if worker_address.is_empty() {
            return Err(unusable("it is too short"));
        }
        let mut driving = self.driver.drive();
        let endpoint = driving.connect(worker_address)?;
        Ok(driving
            .state()
            .peers
            .add(endpoint, u64::from_le_bytes(*number)))
    }

    fn remove_peer(&self, peer: PeerId) {
        let mut driving = self.driver.drive();
        let Some(removed) = driving.state().peers.remove(peer) else {
            return;
        };
        driving.state().inbox.forget_sender(removed.sender);
        if let Some(endpoint) = removed.endpoint {
            driving.close(endpoint);
        }
    }

    #[inline]
    fn send(
        &self,
        to: PeerId,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        token: Token,
    ) -> Result<SendStatus, TransportError> {
        let len = body_len(body).unwrap_or(usize::MAX);
        let max = self.max_body;
        if len > max {
            return Err(TransportError::TooLarge { len, max });
        }
        let mut gathered = MaybeUninit::uninit();
        let at_once = (len <= AT_ONCE).then(|| gather(&mut gathered, header, body));
        let mut driving = self.driver.drive();
        let state = driving.state();
        let endpoint = state.peers.endpoint(to)?;
        state.stats.frames_sent += 1;
        state.stats.bytes_sent += (HEADER_LEN + len) as u64;
        if let Some(bytes) = at_once {
            // SAFETY: the driver's lock is held; the endpoint is open as long as it is among the peers.
            match unsafe { endpoint.send_at_once(SMALL, bytes) } {
                Ok(true) => return Ok(SendStatus::Done),
                Ok(false) => {}
                Err(status) => return Err(status::error("sending a frame", status)),
            }
        }
        driving.send_with_job(endpoint, header, body, token, self.sender)
    }

    #[inline]
    fn poll(&self, sink: &mut dyn Sink) -> usize {
        let mut delivered = 0;
        for round in 0..BATCH {
            let Some(mut driving) = self.driver.try_drive() else {
                break;
            };
            if round == 0 {
                driving.sign(this_thread());
                if !driving.state().has_deliveries() {
                    driving.progress();
                }
            }
            let state = driving.state();
            if !state.has_deliveries() {
                break;
            }
            let mut body = Body::default();
            let more = if let Some(header) = state.inbox.frames.pop(&mut body) {
                state.stats.frames_received += 1;
                state.stats.bytes_received += (HEADER_LEN + body.len()) as u64;
                let more = state.has_deliveries();
                drop(driving);
                sink.frame(&header, &mut body);
                delivered += 1;
                more
            } else {
                let Some(delivery) = state.next_delivery() else {
                    break;
                };
                let more = state.has_deliveries();
                drop(driving);
                delivered += self.deliver(delivery, sink);
                // An offer that was taken up may have become a frame at once.
                more || delivered == 0
            };
            if !more {
                break;
            }
        }
        delivered
    }

    fn wait(&self, timeout: Duration) {
        let nap = timeout.min(NAP);
        let parked = match self.driver.sleep.park() {
            Park::Here(parked) => parked,
            Park::Taken => return std::thread::sleep(nap),
            Park::Woken => return,
        };
        let Some(mut driving) = self.driver.try_drive() else {
            return parked.sleep(None, nap);
        };
        let state = driving.state();
        if state.has_deliveries() {
            return;
        }
        let others_drive = state.handovers_since_wait() > 0;
        if others_drive || state.under_way > 0 {
            // Unfinished requests may need progress that no event announces: over shared memory a large body goes through a
            // queue of 2 MiB, and when that is full nothing tells the sender that the receiver has made room. A nap each
            // time would cost ten times the copying, so the core is only offered to others while things move.
            let moving = !others_drive && state.is_moving();
            drop(driving);
            return if moving {
                std::thread::yield_now();
            } else {
                parked.sleep(None, nap)
            };
        }
        state.waiting_since = None;
        match driving.arm() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                warn!(%error, "cannot sleep on UCX's events");
                drop(driving);
                return parked.sleep(None, nap);
            }
        }
        parked.set_armed();
        drop(driving);
        parked.sleep(Some(self.driver.worker().event_fd()), timeout);
    }

    fn wake(&self) {
        self.driver.sleep.wake();
    }

    fn pending_sends(&self) -> usize {
        let mut driving = self.driver.drive();
        let state = driving.state();
        state.outbox.unfinished()
    }

    fn max_body(&self) -> usize {
        self.max_body
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn describe_peer(&self, peer: PeerId) -> String {
        let mut driving = self.driver.drive();
        let Ok(endpoint) = driving.state().peers.endpoint(peer) else {
            return self.description.clone();
        };
        // SAFETY: the driver's lock is held and the endpoint is open.
        let transports = unsafe { endpoint.transports() };
        if transports.is_empty() {
            self.description.clone()
        } else {
            transports.join(",")
        }
    }

    fn stats(&self) -> FabricStats {
        self.driver.drive().state().stats
    }
}

impl Driving<'_> {
    /// Arms the event fd, progressing while UCX is busy. `false`: not armed, there is something to do.
    fn arm(&mut self) -> Result<bool, TransportError> {
        // Bounded: whoever waits may as well come back.
        for _ in 0..1000 {
            // SAFETY: the driver's lock is held.
            let armed = unsafe { self.worker().arm() }?;
            if armed == Armed::Yes {
                return Ok(true);
            }
            self.progress();
            if self.state().has_deliveries() {
                break;
            }
        }
        Ok(false)
    }
}
