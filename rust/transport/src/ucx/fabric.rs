//! [`Fabric`] over UCX.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tracing::info;

use super::context::Context;
use super::lane::Driving;
use super::lanes::Lanes;
use super::message::SMALL;
use super::state::CLOSING;
use super::status;
use crate::error::TransportError;
use crate::fabric::{
    Fabric, FabricStats, HEADER_LEN, HeaderBytes, PeerId, SendStatus, Sink, Token,
};
use crate::region::{Region, RemoteRegion};
use crate::segment::{Segment, body_len};
use crate::settings::Settings;

/// First byte of a fabric's address; then its number (8 bytes, little endian), then UCX's worker address.
const ADDRESS_VERSION: u8 = 1;
const ADDRESS_PREFIX: usize = 9;

/// Bodies up to this length are gathered on the stack behind their header and tried at once. UCX's short path takes 28
/// bytes beside the header over shared memory, 8 KiB over TCP.
const AT_ONCE: usize = 192;

/// Frames over UCX: shared memory, TCP or RDMA. See [`Fabric`] and the settings.
///
/// Dropping it closes all endpoints at once (frames that UCX has not sent yet are lost: see
/// [`Fabric::pending_sends`]). Handles made from it keep UCX's context alive, and nothing else.
pub struct UcxFabric {
    lanes: Arc<Lanes>,
    sender: u64,
    max_body: usize,
    description: String,
    /// Frames of one peer are delivered one after the other, whichever threads poll.
    pub(super) in_order: bool,
    /// Counts polls, roughly.
    pub(super) polls: AtomicU32,
}

impl UcxFabric {
    /// Opens the transports that the settings allow.
    ///
    /// # Errors
    /// The settings make no sense to UCX, or it cannot start here.
    pub fn new(settings: &Settings) -> Result<Self, TransportError> {
        let context = Context::new(settings)?;
        let description = context.resources().join(",");
        let lanes = Arc::new(Lanes::new(context, settings.max_body)?);
        info!(setting = %settings.transport, transports = description, "UCX is up");
        Ok(Self {
            lanes,
            // Not a secret, only unlikely to be drawn twice.
            sender: RandomState::new().build_hasher().finish(),
            max_body: settings.max_body,
            description,
            in_order: settings.in_order,
            polls: AtomicU32::new(0),
        })
    }

    /// The number that it drew for itself.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.sender
    }

    /// Lanes that every poll drives.
    #[cfg(test)]
    pub(crate) fn awake_peers(&self) -> usize {
        self.lanes.awake.iter().count()
    }

    /// What makes handles of this fabric work.
    pub(crate) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// The right to use a peer's lane.
    pub(crate) fn drive(&self, peer: PeerId) -> Result<Driving<'_>, TransportError> {
        let unknown = || TransportError::UnknownPeer(peer);
        self.lanes.drive(peer).ok_or_else(unknown)
    }
}

impl Drop for UcxFabric {
    fn drop(&mut self) {
        // Closing at once is quick, but it takes progress. What does not end is ended with the worker.
        let mut closing = Vec::new();
        for index in self.lanes.open.iter() {
            if let Some(mut driving) = self.lanes.drive_at(index) {
                driving.hang_up();
                closing.push(driving.peer());
            }
        }
        let end = Instant::now() + CLOSING;
        while !closing.is_empty() {
            let late = Instant::now() >= end;
            closing.retain(|&peer| {
                let Some(mut driving) = self.lanes.drive(peer) else {
                    return false;
                };
                let over = late || driving.state().is_over();
                if over {
                    self.lanes.end(driving);
                } else {
                    driving.progress();
                }
                !over
            });
        }
        while self.lanes.next_left().is_some() {}
    }
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

impl Fabric for UcxFabric {
    fn open_peer(&self) -> Result<(PeerId, Vec<u8>), TransportError> {
        let (peer, worker_address) = self.lanes.open()?;
        let mut address = vec![ADDRESS_VERSION];
        address.extend_from_slice(&self.sender.to_le_bytes());
        address.extend_from_slice(&worker_address);
        Ok((peer, address))
    }

    fn connect_peer(&self, peer: PeerId, address: &[u8]) -> Result<(), TransportError> {
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
        let mut driving = self.drive(peer)?;
        if driving.state().closing.is_some() {
            return Err(TransportError::UnknownPeer(peer));
        }
        if !driving.state().peer.is_expected() {
            return Err(unusable("the peer is connected already"));
        }
        let endpoint = driving.connect(worker_address)?;
        let number = u64::from_le_bytes(*number);
        driving.state().peer.connect(endpoint, number);
        // The endpoint's first messages may take progress that no event announces.
        driving.rouse();
        Ok(())
    }

    fn remove_peer(&self, peer: PeerId) {
        let Some(mut driving) = self.lanes.drive(peer) else {
            return;
        };
        driving.hang_up();
        if driving.state().is_over() {
            self.lanes.end(driving);
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
        let mut driving = self.drive(to)?;
        let endpoint = driving.endpoint()?;
        let state = driving.state();
        state.stats.frames_sent += 1;
        state.stats.bytes_sent += (HEADER_LEN + len) as u64;
        if let Some(bytes) = at_once {
            // SAFETY: the lane's lock is held; the endpoint is open as long as it is the peer's.
            match unsafe { endpoint.send_at_once(SMALL, bytes) } {
                Ok(true) => return Ok(SendStatus::Done),
                Ok(false) => {}
                Err(status) => return Err(status::error("sending a frame", status)),
            }
        }
        let sent = driving.send_with_job(endpoint, header, body, token, self.sender);
        driving.begun();
        sent
    }

    #[inline]
    fn poll(&self, sink: &mut dyn Sink) -> usize {
        self.poll_all(sink)
    }

    #[inline]
    fn poll_peer(&self, peer: PeerId, sink: &mut dyn Sink) -> usize {
        self.poll_lane(peer.0 as u32, false, sink)
    }

    fn wait(&self, timeout: Duration) {
        self.sleep(timeout);
    }

    fn wake(&self) {
        self.lanes.sleep.wake();
    }

    fn pending_sends(&self) -> usize {
        self.lanes.unfinished()
    }

    fn max_body(&self) -> usize {
        self.max_body
    }

    fn allocate(&self, len: usize) -> Result<Arc<dyn Region>, TransportError> {
        Ok(Arc::new(self.allocate_region(len)?))
    }

    fn import(&self, peer: PeerId, key: &[u8]) -> Result<Arc<dyn RemoteRegion>, TransportError> {
        Ok(Arc::new(self.import_key(peer, key)?))
    }

    fn has_peer(&self, peer: PeerId) -> bool {
        self.lanes.drive(peer).is_some()
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn describe_peer(&self, peer: PeerId) -> String {
        let transports = self.drive(peer).and_then(|mut driving| {
            let endpoint = driving.endpoint()?;
            // SAFETY: the lane's lock is held and the endpoint is open.
            Ok(unsafe { endpoint.transports() })
        });
        match transports {
            Ok(transports) if !transports.is_empty() => transports.join(","),
            _ => self.description.clone(),
        }
    }

    fn stats(&self) -> FabricStats {
        self.lanes.stats()
    }
}
