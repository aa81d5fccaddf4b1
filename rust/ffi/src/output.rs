//! What shipped code prints, for the caller to show.

use std::ffi::c_void;

use bitcode_client::OutputNotify;

use crate::handle::{PANICKED, REFUSED, borrow, guarded};
use crate::{BC_OK, BcClient};

/// A piece of what shipped code printed, as bc_output_take describes it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct BcOutput {
    /// Tells the sessions of one client apart.
    pub session: u64,
    /// Tells the calls of one session apart.
    pub call: u64,
    /// 1: standard output, 2: standard error.
    pub stream: u32,
    /// 1: the last line goes on in the next piece of the same call and stream; else 0, and then the line ends here even if the
    /// text does not end with a newline.
    pub open: u32,
    /// Bytes of the node's address, as it was connected to, at the start of the buffer.
    pub address_len: u32,
    /// Bytes of the text, which follows the address.
    pub text_len: u32,
}

/// A pointer of the caller's that its callback gets back.
struct Argument(*mut c_void);

// SAFETY: never looked at here; the caller vouches that the callback may be called with it from any thread.
unsafe impl Send for Argument {}
// SAFETY: as above.
unsafe impl Sync for Argument {}

impl Argument {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// Has `callback(arg)` called, from any thread, whenever there is output of shipped code to take (bc_output_take) and all that there
/// was before was taken; at once if there is some. It should only wake somebody. A NULL `callback` ends that.
///
/// Output that is not taken makes the code that prints wait, and is lost in the end. While there is some, bc_call returns a call
/// (`*pending` is not NULL) even for a small value, so that what was printed before it can be shown before it.
///
/// # Safety
/// `client` is NULL or a client that was not freed; `callback` may be called with `arg` from any thread, until another one is set
/// or the client is freed, and once more by a thread that is just about to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_output_notify(
    client: *mut BcClient,
    callback: Option<unsafe extern "C" fn(arg: *mut c_void)>,
    arg: *mut c_void,
) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let Some(client) = (unsafe { borrow(client) }) else {
            return REFUSED;
        };
        let arg = Argument(arg);
        let notify = callback.map(|callback| {
            // SAFETY: the caller vouches for the callback and its argument.
            Box::new(move || unsafe { callback(arg.get()) }) as OutputNotify
        });
        client.client.notify_output(notify);
        BC_OK
    })
}

/// Takes the oldest piece of output of any session of the client: writes the node's address and then the text to `buffer`, which
/// has room for `cap` bytes (16384 is always enough), and the rest to `out`. Returns 1, or 0 if there is no output,
/// BC_E_BAD_ARGUMENT if there is not enough room (then the piece stays).
///
/// # Safety
/// `client` is NULL or a client that was not freed; `out` is writable; `buffer` has room for `cap` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bc_output_take(
    client: *mut BcClient,
    out: *mut BcOutput,
    buffer: *mut u8,
    cap: usize,
) -> i32 {
    guarded(PANICKED, || {
        // SAFETY: as this function demands.
        let client = unsafe { borrow(client) };
        let (Some(client), false, false) = (client, out.is_null(), buffer.is_null()) else {
            return REFUSED;
        };
        let mut fits = true;
        let taken = client.client.take_output(|piece| {
            fits = piece.address.len() + piece.text.len() <= cap;
            fits
        });
        let Some(piece) = taken else {
            return if fits { 0 } else { REFUSED };
        };
        let (address, text) = (piece.address.as_bytes(), piece.text.as_slice());
        // SAFETY: room for both, as was just found.
        unsafe { buffer.copy_from_nonoverlapping(address.as_ptr(), address.len()) };
        let behind = buffer.wrapping_add(address.len());
        // SAFETY: as above.
        unsafe { behind.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        let described = BcOutput {
            session: piece.session,
            call: piece.call,
            stream: piece.stream as u32,
            open: u32::from(piece.open),
            address_len: address.len() as u32,
            text_len: text.len() as u32,
        };
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(described) };
        1
    })
}
