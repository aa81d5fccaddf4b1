//! The receiving side: UCX's active message handlers, large bodies that are fetched, and frames that come in parts.
//!
//! A handler runs inside UCX's progress. It checks sizes and enqueues, nothing else. What needs memory on somebody's
//! word, a body that is not here yet, waits as an [`Offer`] until `poll` has asked its sink.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::slice;
use std::sync::Arc;

use tracing::debug;
use ucx_sys as sys;

use super::context::params;
use super::endpoint::Started;
use super::lane::Driving;
use super::message::{MessageId, Part};
use super::ring::Ring;
use super::state::State;
use super::status;
use crate::body::{Body, BodyPool, INLINE};
use crate::fabric::{HEADER_LEN, HeaderBytes};

/// More offers than this are not kept waiting: their senders flood us.
const MAX_OFFERS: usize = 4096;

/// Something that has been announced, or that has arrived for a body that does not exist yet.
pub(crate) struct Offer {
    pub(crate) header: HeaderBytes,
    pub(crate) body_len: usize,
    part: Option<Part>,
    data: Data,
}

enum Data {
    /// To be fetched through this descriptor of UCX (rendezvous), which must be received or released.
    There { descriptor: *mut c_void, len: usize },
    /// Here, copied from UCX's buffer.
    Here(Body),
}

/// A body that is being put together.
struct Partial {
    header: HeaderBytes,
    body: Body,
    received: usize,
    /// Parts that UCX is writing to `body`.
    under_way: usize,
    /// A part failed, or the sender did: to be dropped when UCX is done with it.
    doomed: bool,
}

/// A fetch under way; UCX's callback gets its address.
struct Fetch {
    state: *mut State,
    header: HeaderBytes,
    len: usize,
    target: Target,
}

enum Target {
    Whole(Body),
    Part(MessageId),
}

/// See the module's documentation.
pub(crate) struct Inbox {
    pub(crate) frames: Ring,
    pub(crate) offers: VecDeque<Offer>,
    partials: HashMap<MessageId, Partial>,
    fetches: Vec<*mut Fetch>,
    pool: Arc<BodyPool>,
    max_body: usize,
}

impl Inbox {
    pub(crate) fn new(pool: Arc<BodyPool>, max_body: usize) -> Self {
        Self {
            frames: Ring::new(),
            offers: VecDeque::new(),
            partials: HashMap::new(),
            fetches: Vec::new(),
            pool,
            max_body,
        }
    }

    /// Whether there is something to deliver or to ask about.
    #[inline]
    pub(crate) fn has_deliveries(&self) -> bool {
        self.frames.len() > 0 || !self.offers.is_empty()
    }

    /// Whether an offer belongs to a body that was admitted already.
    pub(crate) fn is_admitted(&self, offer: &Offer) -> bool {
        offer
            .part
            .is_some_and(|part| self.partials.contains_key(&part.id))
    }

    /// A frame is here: copies it out of UCX's buffer.
    #[inline]
    fn arrive(&mut self, header: &HeaderBytes, bytes: &[u8]) {
        if bytes.len() <= INLINE {
            self.frames.push(header, |body| body.fill_inline(bytes));
        } else {
            let mut block = self.pool.take(bytes.len());
            block.copy_from_slice(bytes);
            self.frames.push(header, |body| block.move_to(body));
        }
    }

    /// Drops what a dead or removed peer has not finished.
    pub(crate) fn forget_partials(&mut self) {
        self.partials.retain(|_, partial| {
            partial.doomed = true;
            partial.under_way > 0
        });
    }

    /// Notes that `len` bytes of a partial body are there, and delivers it if that was all.
    fn part_arrived(&mut self, id: MessageId, len: usize) {
        let Some(partial) = self.partials.get_mut(&id) else {
            return;
        };
        partial.received += len;
        if partial.received < partial.body.len() || partial.under_way > 0 {
            return;
        }
        if let Some(partial) = self.partials.remove(&id)
            && !partial.doomed
        {
            self.frames
                .push(&partial.header, |body| *body = partial.body);
        }
    }

    /// Copies a part that is here into its body.
    fn place(&mut self, part: &Part, bytes: &[u8]) {
        let Some(partial) = self.partials.get_mut(&part.id) else {
            return;
        };
        let start = part.offset as usize;
        // Two headers of one message may disagree about its length.
        let Some(place) = partial.body.get_mut(start..start + bytes.len()) else {
            return;
        };
        place.copy_from_slice(bytes);
        self.part_arrived(part.id, bytes.len());
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Fetches that never ended; the worker, which could have written to them, is gone.
        for fetch in self.fetches.drain(..) {
            // SAFETY: made by `Box::into_raw` and forgotten when a fetch ends.
            drop(unsafe { Box::from_raw(fetch) });
        }
    }
}

/// What a handler was given, checked for plausibility.
struct Arrived<'a> {
    state: &'a mut State,
    header: &'a [u8],
    data: *mut c_void,
    len: usize,
    rendezvous: bool,
}

impl<'a> Arrived<'a> {
    /// The data of a message that is not a rendezvous.
    fn bytes(&self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: UCX's buffer of `len` bytes, valid during the handler, which `'a` stands for; not part of the state.
        unsafe { slice::from_raw_parts(self.data.cast::<u8>(), self.len) }
    }

    fn offer(
        &mut self,
        header: HeaderBytes,
        body_len: usize,
        part: Option<Part>,
    ) -> sys::ucs_status_t {
        let inbox = &mut self.state.inbox;
        if inbox.offers.len() >= MAX_OFFERS {
            return self.drop_message("too many announced bodies");
        }
        let (data, answer) = if self.rendezvous {
            let data = Data::There {
                descriptor: self.data,
                len: self.len,
            };
            // The descriptor is ours until it is received or released.
            (data, sys::UCS_INPROGRESS)
        } else {
            let mut body = self.state.inbox.pool.take(self.len);
            body.copy_from_slice(self.bytes());
            (Data::Here(body), sys::UCS_OK)
        };
        self.state.inbox.offers.push_back(Offer {
            header,
            body_len,
            part,
            data,
        });
        answer
    }

    /// For a rendezvous `UCS_OK` makes UCX tell the sender that it is over.
    #[cold]
    fn drop_message(&mut self, reason: &'static str) -> sys::ucs_status_t {
        self.state.stats.dropped += 1;
        debug!(
            reason,
            header_len = self.header.len(),
            len = self.len,
            "dropped a message"
        );
        sys::UCS_OK
    }
}

/// Turns a handler's arguments into something safe.
///
/// # Safety
/// Called from a handler with what UCX gave it, `state` being what was registered.
#[inline]
unsafe fn arrived<'a>(
    state: *mut c_void,
    header: (*const c_void, usize),
    data: (*mut c_void, usize),
    param: *const sys::ucp_am_recv_param_t,
) -> Arrived<'a> {
    // SAFETY: the state's address was registered; inside progress no other reference to it lives.
    let state = unsafe { &mut *state.cast::<State>() };
    let header = if header.0.is_null() {
        &[]
    } else {
        // SAFETY: UCX's buffer of that length, valid during the handler.
        unsafe { slice::from_raw_parts(header.0.cast::<u8>(), header.1) }
    };
    // SAFETY: UCX passes its parameters.
    let attributes = unsafe { (*param).recv_attr };
    Arrived {
        state,
        header,
        data: data.0,
        len: data.1,
        rendezvous: attributes & u64::from(sys::UCP_AM_RECV_ATTR_FLAG_RNDV) != 0,
    }
}

/// A small frame: header and body in one.
pub(crate) unsafe extern "C" fn on_small(
    state: *mut c_void,
    _header: *const c_void,
    _header_len: usize,
    data: *mut c_void,
    len: usize,
    param: *const sys::ucp_am_recv_param_t,
) -> sys::ucs_status_t {
    // SAFETY: UCX's arguments.
    let mut arrived = unsafe { arrived(state, (std::ptr::null(), 0), (data, len), param) };
    if arrived.rendezvous || len < HEADER_LEN || len - HEADER_LEN > arrived.state.inbox.max_body {
        return arrived.drop_message("not a small frame");
    }
    // SAFETY: UCX's buffer of `len` bytes, valid during the handler; not part of the state.
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), len) };
    let Some((header, bytes)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return arrived.drop_message("not a small frame");
    };
    arrived.state.inbox.arrive(header, bytes);
    sys::UCS_OK
}

/// A larger frame in one piece.
pub(crate) unsafe extern "C" fn on_whole(
    state: *mut c_void,
    header: *const c_void,
    header_len: usize,
    data: *mut c_void,
    len: usize,
    param: *const sys::ucp_am_recv_param_t,
) -> sys::ucs_status_t {
    // SAFETY: UCX's arguments.
    let mut arrived = unsafe { arrived(state, (header, header_len), (data, len), param) };
    let Ok(header) = HeaderBytes::try_from(arrived.header) else {
        return arrived.drop_message("not a frame");
    };
    if len > arrived.state.inbox.max_body {
        return arrived.drop_message("body too long");
    }
    if arrived.rendezvous {
        return arrived.offer(header, len, None);
    }
    let bytes = arrived.bytes();
    arrived.state.inbox.arrive(&header, bytes);
    sys::UCS_OK
}

/// A piece of a frame.
pub(crate) unsafe extern "C" fn on_part(
    state: *mut c_void,
    header: *const c_void,
    header_len: usize,
    data: *mut c_void,
    len: usize,
    param: *const sys::ucp_am_recv_param_t,
) -> sys::ucs_status_t {
    // SAFETY: UCX's arguments.
    let mut arrived = unsafe { arrived(state, (header, header_len), (data, len), param) };
    let Some(part) = Part::decode(arrived.header, arrived.len) else {
        return arrived.drop_message("not a part");
    };
    let body_len = match usize::try_from(part.body_len) {
        Ok(len) if len <= arrived.state.inbox.max_body => len,
        _ => return arrived.drop_message("body too long"),
    };
    // Not a proof of anything, but parts of two senders must not meet in one body.
    if !arrived.state.peer.is(part.id.sender) {
        return arrived.drop_message("part from no peer");
    }
    arrived.offer(part.frame, body_len, Some(part))
}

impl Driving<'_> {
    /// Acts on an offer after the sink was asked.
    pub(crate) fn settle(&mut self, offer: Offer, admitted: bool) {
        self.state().under_way -= 1;
        if !admitted || self.state().closing.is_some() {
            self.state().stats.dropped += 1;
            return self.refuse(offer);
        }
        if let Some(part) = offer.part {
            let inbox = &mut self.state().inbox;
            if !inbox.partials.contains_key(&part.id) {
                let partial = Partial {
                    header: offer.header,
                    body: inbox.pool.take_block(offer.body_len),
                    received: 0,
                    under_way: 0,
                    doomed: false,
                };
                inbox.partials.insert(part.id, partial);
            }
        }
        match (offer.data, offer.part) {
            (Data::Here(bytes), Some(part)) => self.state().inbox.place(&part, &bytes),
            // Whole messages that are here never become offers.
            (Data::Here(_), None) => {}
            (Data::There { descriptor, len }, part) => {
                self.fetch(offer.header, descriptor, len, part)
            }
        }
    }

    /// Lets UCX tell the sender that nobody wants its data.
    pub(crate) fn refuse(&mut self, offer: Offer) {
        if let Data::There { descriptor, .. } = offer.data {
            // SAFETY: a descriptor that was kept and not received; released once.
            unsafe { sys::ucp_am_data_release(self.worker().raw(), descriptor) };
        }
    }

    /// Receives announced data into its body.
    fn fetch(
        &mut self,
        header: HeaderBytes,
        descriptor: *mut c_void,
        len: usize,
        part: Option<Part>,
    ) {
        let state_address = self.state_address();
        let inbox = &mut self.state().inbox;
        let (target, place) = match part {
            None => {
                let mut body = inbox.pool.take_block(len);
                let place = body.base_mut();
                (Target::Whole(body), place)
            }
            Some(part) => {
                let start = part.offset as usize;
                let place = inbox
                    .partials
                    .get_mut(&part.id)
                    .and_then(|partial| {
                        let place = partial.body.get_mut(start..start + len)?;
                        partial.under_way += 1;
                        Some(place.as_mut_ptr())
                    })
                    .unwrap_or(std::ptr::null_mut());
                (Target::Part(part.id), place)
            }
        };
        if place.is_null() {
            // SAFETY: a descriptor that was kept and not received; released once.
            unsafe { sys::ucp_am_data_release(self.worker().raw(), descriptor) };
            return;
        }
        let fetch = Box::into_raw(Box::new(Fetch {
            state: state_address,
            header,
            len,
            target,
        }));
        let state = self.state();
        state.inbox.fetches.push(fetch);
        state.under_way += 1;
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_request_param_t = unsafe { params() };
        params.op_attr_mask = sys::UCP_OP_ATTR_FIELD_CALLBACK | sys::UCP_OP_ATTR_FIELD_USER_DATA;
        params.cb.recv_am = Some(on_fetched);
        params.user_data = fetch.cast();
        // SAFETY: `place` is `len` bytes of a block that the fetch, or a partial body that counts it, keeps.
        let pointer = unsafe {
            sys::ucp_am_recv_data_nbx(self.worker().raw(), descriptor, place.cast(), len, &params)
        };
        match Started::of(pointer) {
            Started::UnderWay => {}
            Started::Done => fetched(self.state(), fetch, sys::UCS_OK),
            Started::Failed(status) => fetched(self.state(), fetch, status),
        }
    }
}

/// A fetch has ended.
unsafe extern "C" fn on_fetched(
    request: *mut c_void,
    status: sys::ucs_status_t,
    _len: usize,
    fetch: *mut c_void,
) {
    let fetch = fetch.cast::<Fetch>();
    // SAFETY: the fetch is alive until `fetched` below.
    let state = unsafe { (*fetch).state };
    // SAFETY: inside a call to UCX no other reference to the state lives.
    fetched(unsafe { &mut *state }, fetch, status);
    // SAFETY: UCX's request, which has ended.
    unsafe { sys::ucp_request_free(request) };
}

fn fetched(state: &mut State, fetch: *mut Fetch, status: sys::ucs_status_t) {
    state.under_way -= 1;
    let inbox = &mut state.inbox;
    let Some(index) = inbox.fetches.iter().position(|&known| known == fetch) else {
        return;
    };
    inbox.fetches.swap_remove(index);
    // SAFETY: it was in the list, so it is alive and ours, and now it is nowhere else.
    let fetch = unsafe { Box::from_raw(fetch) };
    if status != sys::UCS_OK {
        state.stats.dropped += 1;
        debug!(
            status = status.0,
            text = status::words(status),
            "a large body did not arrive"
        );
    }
    match fetch.target {
        Target::Whole(mut body) => {
            if status == sys::UCS_OK {
                inbox
                    .frames
                    .push(&fetch.header, |place| body.move_to(place));
            }
        }
        Target::Part(id) => {
            let Some(partial) = inbox.partials.get_mut(&id) else {
                return;
            };
            partial.under_way -= 1;
            partial.doomed |= status != sys::UCS_OK;
            if partial.doomed && partial.under_way == 0 {
                inbox.partials.remove(&id);
            } else {
                inbox.part_arrived(id, if status == sys::UCS_OK { fetch.len } else { 0 });
            }
        }
    }
}

const _: () = assert!(HEADER_LEN <= INLINE);
