//! A program without Julia calls a Julia function on a node: `bitcode-smooth LIBRARY HOST:PORT`.
//!
//! LIBRARY is a file that `BitCode.save` wrote, with the function `smooth(::Vector{Float64}, ::Int64)`; examples/without_julia.jl makes one
//! and runs this. The same in C: examples/c/smooth.c. How arguments and results lie in memory: docs/ABI.md, "Flat payloads".

use bitcode::{
    BC_OK, BC_THROW, BC_VALUE, BcClient, BcCode, BcError, BcPending, BcSegment, BcSession, bc_call,
    bc_call_error, bc_call_free, bc_call_result, bc_call_wait, bc_client_free, bc_client_new,
    bc_code_free, bc_code_load, bc_connect, bc_error_free, bc_error_message, bc_session_free,
};
use std::ffi::{CStr, CString, c_char};
use std::process::ExitCode;
use std::ptr::{null, null_mut};

/// Where the elements lie in the payload: the first multiple of 64 behind the head.
const ELEMENTS: usize = 64;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [library, address] = &words[..] else {
        eprintln!("usage: bitcode-smooth LIBRARY HOST:PORT");
        return ExitCode::from(2);
    };
    match smooth(library, address, &[1.0, 2.0, 3.0, 10.0, 3.0, 2.0, 1.0], 1) {
        Ok(smoothed) => {
            let words: Vec<_> = smoothed.iter().map(f64::to_string).collect();
            println!("{}", words.join(" "));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("bitcode-smooth: {message}");
            ExitCode::from(1)
        }
    }
}

fn smooth(library: &str, address: &str, signal: &[f64], width: i64) -> Result<Vec<f64>, String> {
    let node = Node::connect(address)?;
    let code = node.load(library, "smooth")?;
    let mut payload = Vec::new();
    for word in [signal.len() as i64, ELEMENTS as i64, width] {
        payload.extend_from_slice(&word.to_le_bytes());
    }
    payload.resize(ELEMENTS, 0);
    signal
        .iter()
        .for_each(|x| payload.extend_from_slice(&x.to_le_bytes()));
    vector(&node.call(&code, &payload)?).ok_or_else(|| "the result is no vector".into())
}

/// A result that is a vector: its length, where its elements lie, its elements.
fn vector(bytes: &[u8]) -> Option<Vec<f64>> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (length, place) = (word(0)? as usize, word(8)? as usize);
    let end = place.checked_add(length.checked_mul(8)?)?;
    let elements = bytes.get(place..end)?.chunks_exact(8);
    elements
        .map(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?)))
        .collect()
}

/// A connection to a node.
struct Node {
    client: *mut BcClient,
    session: *mut BcSession,
}

/// A function of a library.
struct Code(*mut BcCode);

impl Node {
    fn connect(address: &str) -> Result<Self, String> {
        let address = c_string(address)?;
        let mut node = Self {
            client: null_mut(),
            session: null_mut(),
        };
        checked(|err| {
            // SAFETY: a null transport, places to write to.
            unsafe { bc_client_new(null(), &raw mut node.client, err) }
        })?;
        checked(|err| {
            let (client, out) = (node.client, &raw mut node.session);
            // SAFETY: a live client, a C string, no key, places to write to.
            unsafe { bc_connect(client, address.as_ptr(), null(), 0, 0, out, err) }
        })?;
        Ok(node)
    }

    fn load(&self, library: &str, name: &str) -> Result<Code, String> {
        let (library, name) = (c_string(library)?, c_string(name)?);
        let mut code = Code(null_mut());
        checked(|err| {
            let (path, name) = (library.as_ptr(), name.as_ptr());
            // SAFETY: a live client, C strings, places to write to.
            unsafe { bc_code_load(self.client, path, name, &raw mut code.0, err) }
        })?;
        Ok(code)
    }

    /// The packed result of a call.
    fn call(&self, code: &Code, payload: &[u8]) -> Result<Vec<u8>, String> {
        let segment = BcSegment {
            base: payload.as_ptr().cast(),
            len: payload.len(),
        };
        let (mut length, mut call) = (0, null_mut());
        // SAFETY: live handles, one segment that outlives the call, places to write to.
        unsafe {
            bc_call(
                self.session,
                code.0,
                &raw const segment,
                1,
                0,
                null(),
                0,
                null_mut(),
                0,
                &raw mut length,
                &raw mut call,
            )
        };
        // SAFETY: a live call, or null.
        let state = unsafe { bc_call_wait(call, u64::MAX) };
        let outcome = match state {
            BC_VALUE => result(call),
            BC_THROW => Err("the function threw an exception".into()),
            // SAFETY: a live call, or null; the message lives as long as it.
            _ => Err(text(unsafe { bc_call_error(call, null_mut()) })),
        };
        // SAFETY: finished, and used no more.
        unsafe { bc_call_free(call) };
        outcome
    }
}

fn result(call: *mut BcPending) -> Result<Vec<u8>, String> {
    let (mut bytes, mut length) = (null(), 0);
    // SAFETY: a live call, places to write to.
    let status = unsafe { bc_call_result(call, &raw mut bytes, &raw mut length) };
    if status != BC_OK || length == 0 {
        return Err("there is no result".into());
    }
    // SAFETY: so many bytes, which live as long as the call.
    Ok(unsafe { std::slice::from_raw_parts(bytes, length) }.to_vec())
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: ours or null, freed once.
        unsafe { bc_session_free(self.session) };
        // SAFETY: as above.
        unsafe { bc_client_free(self.client) };
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: ours or null, freed once.
        unsafe { bc_code_free(self.0) };
    }
}

/// Calls a function that answers with a status and, if that is bad, an error.
fn checked(body: impl FnOnce(*mut *mut BcError) -> i32) -> Result<(), String> {
    let mut error = null_mut();
    if body(&raw mut error) == BC_OK {
        return Ok(());
    }
    // SAFETY: the error is ours; its message lives as long as it.
    let message = text(unsafe { bc_error_message(error) });
    // SAFETY: ours, freed once.
    unsafe { bc_error_free(error) };
    Err(message)
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

/// A text of the library's; null is none.
fn text(message: *const c_char) -> String {
    if message.is_null() {
        return "no message".into();
    }
    // SAFETY: a C string that its owner keeps for now.
    unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned()
}
