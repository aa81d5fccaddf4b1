//! The sending side of everything that UCX cannot finish within the call.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::ops::Range;

use ucx_sys as sys;

use super::endpoint::{Endpoint, Started};
use super::lane::Driving;
use super::message::{MessageId, PART, PART_HEADER_LEN, Part, SMALL, SMALL_BODY, WHOLE};
use super::state::{Notice, State};
use super::status;
use crate::error::{PeerFailure, TransportError};
use crate::fabric::{HeaderBytes, SendStatus, Token};
use crate::segment::{Segment, body_len};

/// Segments shorter than this are copied even if they last: gathering small pieces is cheaper than sending them apart.
const COPY_BELOW: usize = 16 << 10;

/// A job's copy buffer that grew above this is not kept for the next job.
const KEEP_COPY: usize = 64 << 10;

/// A send that UCX holds on to: what it reads, and whom to tell.
pub(crate) struct Job {
    state: *mut State,
    header: HeaderBytes,
    part_headers: Vec<[u8; PART_HEADER_LEN]>,
    /// Copies of the segments that do not last, one after another.
    copy: Vec<u8>,
    /// The segments that do.
    kept: Vec<Segment<'static>>,
    runs: Vec<Run>,
    small: bool,
    token: Token,
    /// Whether the caller was told to wait.
    report: bool,
    /// UCX requests that have not ended, and one while they are being made.
    under_way: usize,
    failure: Option<TransportError>,
}

/// A piece of the body that is contiguous in memory.
struct Run {
    from: From,
    offset: usize,
}

enum From {
    Copy(Range<usize>),
    Kept(usize),
}

/// One active message of a job, for UCX.
struct Message {
    id: u32,
    header: (*const u8, usize),
    data: (*const u8, usize),
    flags: u32,
}

/// All jobs, busy and free.
#[derive(Default)]
pub(crate) struct Outbox {
    all: Vec<*mut Job>,
    free: Vec<*mut Job>,
    messages: u64,
    /// Sends whose callers were told to wait and not yet told the end.
    pub(crate) reported: usize,
}

impl Outbox {
    /// Sends that UCX still works on or whose callers have not been told the end.
    pub(crate) fn unfinished(&self) -> usize {
        // A job that was reported is free again, its notice may still wait: count the larger.
        (self.all.len() - self.free.len()).max(self.reported)
    }

    /// Ends the sends that UCX has not ended. It is gone and reads nothing any more.
    pub(crate) fn give_up(&mut self, notices: &mut VecDeque<Notice>) {
        for &address in self.all.iter().filter(|job| !self.free.contains(job)) {
            // SAFETY: a job of ours, and nobody else uses it.
            let job = unsafe { &mut *address };
            let error = || TransportError::PeerFailed(PeerFailure::Removed);
            job.failure.get_or_insert_with(error);
            notices.extend(job.finish());
        }
        self.free.clone_from(&self.all);
    }

    fn take(&mut self, state: *mut State) -> *mut Job {
        if let Some(job) = self.free.pop() {
            return job;
        }
        let job = Box::into_raw(Box::new(Job {
            state,
            header: [0; _],
            part_headers: Vec::new(),
            copy: Vec::new(),
            kept: Vec::new(),
            runs: Vec::new(),
            small: false,
            token: Token(0),
            report: false,
            under_way: 0,
            failure: None,
        }));
        self.all.push(job);
        job
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for job in self.all.drain(..) {
            // SAFETY: made by `Box::into_raw`; the worker, which could have used it, is gone.
            drop(unsafe { Box::from_raw(job) });
        }
    }
}

impl Job {
    /// A small frame becomes one copied run with its header in front.
    fn load_small(&mut self, header: &HeaderBytes, body: &[Segment<'_>]) {
        self.copy.extend_from_slice(header);
        for segment in body {
            self.copy.extend_from_slice(segment.as_bytes());
        }
        let from = From::Copy(0..self.copy.len());
        self.runs.push(Run { from, offset: 0 });
        self.small = true;
    }

    /// A larger one becomes a run for each segment that lasts, and one for each row of those that do not.
    fn load_large(&mut self, header: &HeaderBytes, body: &[Segment<'_>]) {
        self.header = *header;
        let mut offset = 0;
        for segment in body.iter().filter(|segment| !segment.is_empty()) {
            let len = segment.len();
            let kept = if len < COPY_BELOW {
                None
            } else {
                segment.keep()
            };
            if let Some(kept) = kept {
                let from = From::Kept(self.kept.len());
                self.kept.push(kept);
                self.runs.push(Run { from, offset });
            } else {
                self.copy_in(segment.as_bytes(), offset);
            }
            offset += len;
        }
    }

    fn copy_in(&mut self, bytes: &[u8], offset: usize) {
        let start = self.copy.len();
        self.copy.extend_from_slice(bytes);
        let end = self.copy.len();
        if let Some(Run {
            from: From::Copy(range),
            ..
        }) = self.runs.last_mut()
        {
            // The piece before was copied too, so this one lies right behind it.
            range.end = end;
        } else {
            let from = From::Copy(start..end);
            self.runs.push(Run { from, offset });
        }
    }

    fn write_part_headers(&mut self, id: MessageId, body_len: usize) {
        for run in &self.runs {
            let part = Part {
                frame: self.header,
                id,
                body_len: body_len as u64,
                offset: run.offset as u64,
            };
            self.part_headers.push(part.encode());
        }
    }

    /// The `index`th message.
    fn message(&self, index: usize) -> Message {
        let data = match &self.runs[index].from {
            From::Copy(range) => &self.copy[range.clone()],
            From::Kept(kept) => self.kept[*kept].as_bytes(),
        };
        let (id, header, flags) = match self.part_headers.get(index) {
            _ if self.small => (SMALL, &[][..], sys::UCP_AM_SEND_FLAG_EAGER),
            Some(header) => (PART, header.as_slice(), 0),
            None => (WHOLE, self.header.as_slice(), 0),
        };
        Message {
            id,
            header: (header.as_ptr(), header.len()),
            data: (data.as_ptr(), data.len()),
            flags,
        }
    }

    /// Ends the job and says what is to be told of it.
    fn finish(&mut self) -> Option<Notice> {
        let (report, token) = (self.report, self.token);
        let result = self.failure.take().map_or(Ok(()), Err);
        let kept = self.unload();
        report.then_some(Notice::Sent {
            token,
            result,
            kept,
        })
    }

    /// Empties the job for its next use and returns what must be dropped elsewhere.
    fn unload(&mut self) -> Vec<Segment<'static>> {
        self.part_headers.clear();
        self.runs.clear();
        self.copy.clear();
        self.copy.shrink_to(KEEP_COPY);
        self.small = false;
        self.report = false;
        self.failure = None;
        std::mem::take(&mut self.kept)
    }
}

impl Driving<'_> {
    /// Sends a frame through a job.
    pub(crate) fn send_with_job(
        &mut self,
        endpoint: Endpoint,
        header: &HeaderBytes,
        body: &[Segment<'_>],
        token: Token,
        sender: u64,
    ) -> Result<SendStatus, TransportError> {
        let state_address = self.state_address();
        let outbox = &mut self.state().outbox;
        outbox.messages += 1;
        let id = MessageId {
            sender,
            message: outbox.messages,
        };
        let address = outbox.take(state_address);
        // SAFETY: a job from the outbox, which nobody else uses until the first message is sent.
        let job = unsafe { &mut *address };
        let len = body_len(body).unwrap_or(usize::MAX);
        if len <= SMALL_BODY {
            job.load_small(header, body);
        } else {
            job.load_large(header, body);
        }
        job.token = token;
        job.under_way = 1;
        let count = job.runs.len();
        if count > 1 {
            job.write_part_headers(id, len);
        }
        let mut failure = None;
        for index in 0..count {
            // SAFETY: no other reference to the job lives here: `job` is not used any more.
            let message = unsafe { &*address }.message(index);
            let Message {
                id,
                header,
                data,
                flags,
            } = message;
            // SAFETY: header and data are the job's, or kept by it, until its end.
            match unsafe { endpoint.send(id, header, data, flags, on_sent, address.cast()) } {
                Started::Done => {}
                Started::UnderWay => {
                    // SAFETY: as above.
                    unsafe { &mut *address }.under_way += 1;
                    self.state().under_way += 1;
                }
                Started::Failed(status) => {
                    failure = Some(status::error("sending a frame", status));
                    break;
                }
            }
        }
        self.after_start(address, failure)
    }

    fn after_start(
        &mut self,
        address: *mut Job,
        failure: Option<TransportError>,
    ) -> Result<SendStatus, TransportError> {
        // SAFETY: a job from the outbox; callbacks run in calls to UCX only, and none is made here.
        let job = unsafe { &mut *address };
        job.under_way -= 1;
        let failure = job.failure.take().or(failure);
        if job.under_way == 0 {
            let kept = job.unload();
            self.state().outbox.free.push(address);
            drop(kept); // The caller's own references live on: no owner is dropped under the lock.
            return match failure {
                None => Ok(SendStatus::Done),
                Some(error) => Err(error),
            };
        }
        job.failure = failure.clone();
        if job.kept.is_empty() {
            // Copied: whatever happens to it now is between us and UCX. A dead peer is told as such.
            return failure.map_or(Ok(SendStatus::Done), Err);
        }
        job.report = true;
        self.state().outbox.reported += 1;
        Ok(SendStatus::Pending)
    }
}

/// UCX is done with one message of a job.
unsafe extern "C" fn on_sent(request: *mut c_void, status: sys::ucs_status_t, job: *mut c_void) {
    let address = job.cast::<Job>();
    // SAFETY: a job is in use until all its requests have ended, and no reference to it lives across calls to UCX.
    let job = unsafe { &mut *address };
    // SAFETY: we are inside a call to UCX, so no reference to the state lives.
    let state = unsafe { &mut *job.state };
    state.under_way -= 1;
    if status != sys::UCS_OK {
        job.failure
            .get_or_insert_with(|| status::error("sending a frame", status));
    }
    job.under_way -= 1;
    if job.under_way == 0 {
        state.notices.extend(job.finish());
        state.outbox.free.push(address);
    }
    // SAFETY: UCX's request, which has ended.
    unsafe { sys::ucp_request_free(request) };
}
