//! What shipped code prints: kept until a line is whole, then handed to whoever runs the call.
//!
//! Each call has lines of its own, so that lines of different calls never mix.

use crate::error::argument_error;
use crate::exception::throw_instance;
use crate::layout::{Value, string_bytes, type_of};
use crate::memory::check_stack;
use crate::string::is_string;
use crate::thread::ThreadState;
use std::cell::Cell;

/// Where a call's output goes.
///
/// It is given the stream (1: standard output, 2: standard error), some text, and whether the text's last line goes on in the next
/// piece of the same stream. Pieces are at most 4096 bytes. A text that ends in a newline ends its line; the last
/// piece of a call ends its line in any case, and may be empty then.
///
/// It may take its time: the code waits. It must not panic.
pub type Listener<'a> = dyn Fn(u8, &[u8], bool) + 'a;

/// The most bytes that a [`Listener`] is given at once.
const PIECE: usize = 4096;

/// Standard output and standard error.
const STREAMS: usize = 2;
/// Shipped code's memory is read this many bytes at a time.
const GULP: usize = 512;

/// What one call has printed and nobody has heard yet.
pub(crate) struct Lines {
    /// Lives longer than the call, which is why its lifetime is not told.
    listener: *const &'static Listener<'static>,
    streams: [Line; STREAMS],
}

#[derive(Default)]
struct Line {
    text: Cell<Vec<u8>>,
    /// The beginning of the line has been heard.
    begun: Cell<bool>,
}

impl Lines {
    /// # Safety
    /// - the listener outlives what is made here.
    pub(crate) unsafe fn new(listener: &&Listener<'_>) -> Self {
        Self {
            listener: (&raw const *listener).cast(),
            streams: Default::default(),
        }
    }

    /// Adds text to a stream's line. False if there is no memory for it.
    fn add(&self, stream: usize, text: &[u8]) -> bool {
        let line = &self.streams[stream];
        let mut kept = line.text.take();
        let mut rest = text;
        while !rest.is_empty() {
            if kept.capacity() == 0 && kept.try_reserve_exact(PIECE).is_err() {
                return false;
            }
            let (now, later) = rest.split_at(rest.len().min(PIECE - kept.len()));
            kept.extend_from_slice(now);
            rest = later;
            if kept.len() == PIECE {
                self.tell_lines(stream, &mut kept);
            }
        }
        line.text.set(kept);
        true
    }

    /// Tells the whole lines of a full buffer; all of it if it holds none.
    fn tell_lines(&self, stream: usize, kept: &mut Vec<u8>) {
        let end = after_last_newline(kept).unwrap_or(kept.len());
        self.tell(stream, &kept[..end], kept[end - 1] != b'\n');
        kept.drain(..end);
    }

    fn tell(&self, stream: usize, text: &[u8], open: bool) {
        self.streams[stream].begun.set(open);
        // SAFETY: it outlives us, as `new` demands.
        let listener = unsafe { *self.listener };
        listener(stream as u8 + 1, text, open);
    }

    /// Tells the lines that are whole by now.
    fn flush(&self, stream: usize) {
        let line = &self.streams[stream];
        let mut kept = line.text.take();
        if let Some(end) = after_last_newline(&kept) {
            self.tell(stream, &kept[..end], false);
            kept.drain(..end);
        }
        line.text.set(kept);
    }

    /// The call is over: tells what is left.
    pub(crate) fn finish(&self) {
        for (stream, line) in self.streams.iter().enumerate() {
            let kept = line.text.take();
            if !kept.is_empty() || line.begun.get() {
                self.tell(stream, &kept, false);
            }
        }
    }
}

fn after_last_newline(text: &[u8]) -> Option<usize> {
    text.iter()
        .rposition(|byte| *byte == b'\n')
        .map(|at| at + 1)
}

/// For shipped code: writes a string to stream 1 (standard output) or 2 (standard error).
///
/// # Safety
/// - called from shipped code with an object; throws.
pub(crate) unsafe extern "C" fn bc_print(stream: i64, text: *mut Value) {
    // SAFETY: an object, says the caller.
    if text.is_null() || !is_string(unsafe { type_of(text) }) {
        // SAFETY: the caller's promise; nothing here needs dropping.
        unsafe { argument_error("bc_print takes a String") }
    }
    // SAFETY: a string.
    let bytes = unsafe { string_bytes(text) };
    // SAFETY: the caller's promise.
    unsafe { bc_write(stream, bytes.as_ptr(), bytes.len() as u64) };
}

/// For shipped code: writes bytes to stream 1 (standard output) or 2 (standard error), and returns their number.
///
/// # Safety
/// - called from shipped code, with the address of so many bytes; throws.
pub(crate) unsafe extern "C" fn bc_write(stream: i64, data: *const u8, bytes: u64) -> u64 {
    let state = ThreadState::current();
    // SAFETY: the caller's promise.
    unsafe { check_stack(state) };
    let Some(stream) = usize::try_from(stream - 1).ok().filter(|it| *it < STREAMS) else {
        // SAFETY: the caller's promise; nothing here needs dropping.
        unsafe { argument_error("the streams are 1, standard output, and 2, standard error") }
    };
    // SAFETY: null or the call that this thread is running.
    let Some(call) = (unsafe { state.call.get().as_ref() }) else {
        return bytes;
    };
    let mut told = 0;
    let mut whole = false;
    while told < bytes {
        // A copy first: reading may fault, and then nothing may be half done.
        let mut gulp = [0; GULP];
        let count = (bytes - told).min(GULP as u64) as usize;
        // SAFETY: inside the caller's bytes.
        unsafe {
            data.wrapping_add(told as usize)
                .copy_to_nonoverlapping(gulp.as_mut_ptr(), count)
        };
        let text = &gulp[..count];
        if !call.lines.add(stream, text) {
            // SAFETY: the caller's promise; nothing here needs dropping.
            unsafe { throw_instance(crate::builtin::id::OUT_OF_MEMORY_ERROR) }
        }
        whole |= text.contains(&b'\n');
        told += count as u64;
    }
    if whole {
        call.lines.flush(stream);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What is heard of these texts.
    fn heard(texts: &[(usize, &[u8])]) -> Vec<(u8, Vec<u8>, bool)> {
        let all = RefCell::new(Vec::new());
        let listener = |stream: u8, text: &[u8], open: bool| {
            assert!(text.len() <= PIECE);
            all.borrow_mut().push((stream, text.to_vec(), open));
        };
        let listener: &Listener<'_> = &listener;
        // SAFETY: the listener is there until the end of this function.
        let lines = unsafe { Lines::new(&listener) };
        for (stream, text) in texts {
            assert!(lines.add(*stream, text));
            lines.flush(*stream);
        }
        lines.finish();
        all.take()
    }

    fn said(stream: u8, text: &[u8], open: bool) -> (u8, Vec<u8>, bool) {
        (stream, text.to_vec(), open)
    }

    #[test]
    fn lines_are_told_whole() {
        let pieces = heard(&[(0, b"a"), (0, b"b\nc"), (0, b"d\n\ne")]);
        let expected = [
            said(1, b"ab\n", false),
            said(1, b"cd\n\n", false),
            said(1, b"e", false),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(heard(&[]), []);
        assert_eq!(heard(&[(0, b"")]), []);
        assert_eq!(heard(&[(0, b"x\n")]), [said(1, b"x\n", false)]);
    }

    #[test]
    fn streams_do_not_mix() {
        let pieces = heard(&[(0, b"out "), (1, b"err "), (0, b"1\n"), (1, b"2\n")]);
        assert_eq!(
            pieces,
            [said(1, b"out 1\n", false), said(2, b"err 2\n", false)]
        );
    }

    #[test]
    fn long_lines_go_on() {
        let long = vec![b'x'; PIECE + 10];
        let pieces = heard(&[(0, &long), (0, b"\n")]);
        assert_eq!(pieces[0], said(1, &long[..PIECE], true));
        assert_eq!(pieces[1], said(1, b"xxxxxxxxxx\n", false));
        assert_eq!(pieces.len(), 2);
        let exactly = vec![b'x'; PIECE];
        let pieces = heard(&[(0, &exactly)]);
        assert_eq!(pieces, [said(1, &exactly, true), said(1, b"", false)]);
    }

    #[test]
    fn a_full_buffer_is_told_up_to_its_last_line() {
        let mut text = b"first\n".to_vec();
        text.resize(PIECE + 1, b'y');
        let pieces = heard(&[(0, &text)]);
        assert_eq!(pieces[0], said(1, b"first\n", false));
        let rest: Vec<u8> = pieces[1..]
            .iter()
            .flat_map(|piece| piece.1.clone())
            .collect();
        assert_eq!(rest, text[6..]);
    }
}
