//! A bare UCX active-message ping-pong between two processes: what any call over the same library has to be held against.
//!
//! `raw-am TRANSPORT BYTES ROUNDS` starts a second copy of itself, sends BYTES to it as one active message and waits for an
//! 8-byte answer, ROUNDS times after a tenth as many for warm-up. It prints one line,
//! `median_ns=… p99_ns=… rounds=…`. Both processes spin, nothing is checked, encrypted or looked up: no error handling mode,
//! one endpoint, the sizes known beforehand. Bodies above UCX's eager limit are received into one buffer that stays.
//!
//! This is the one program of the repository that calls `ucx-sys` without `transport`: a rival must not share our overheads.

use std::ffi::{CString, c_void};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::ptr::{null, null_mut};
use std::time::Instant;

use ucx_sys::*;

const PING: u32 = 1;
const ANSWER: usize = 8;

/// What the receive callback leaves for the loop.
#[derive(Default)]
struct Inbox {
    arrived: u64,
    /// A large message that waits to be fetched: UCX's descriptor and its length.
    announced: Option<(*mut c_void, usize)>,
}

/// Every UCX call of this program either works or ends it.
fn check(status: ucs_status_t, what: &str) -> Result<(), String> {
    if status == UCS_OK {
        return Ok(());
    }
    Err(format!("{what}: UCX status {}", status.0))
}

unsafe extern "C" fn received(
    argument: *mut c_void,
    _header: *const c_void,
    _header_length: usize,
    data: *mut c_void,
    length: usize,
    parameters: *const ucp_am_recv_param_t,
) -> ucs_status_t {
    // SAFETY: `argument` is the Inbox given at registration; only the progressing thread touches it.
    let inbox = unsafe { &mut *argument.cast::<Inbox>() };
    // SAFETY: UCX passes valid parameters for the time of the call.
    let attributes = unsafe { (*parameters).recv_attr };
    if attributes & u64::from(UCP_AM_RECV_ATTR_FLAG_RNDV) != 0 {
        inbox.announced = Some((data, length));
        return UCS_INPROGRESS;
    }
    inbox.arrived += 1;
    UCS_OK
}

struct Side {
    worker: ucp_worker_h,
    endpoint: ucp_ep_h,
    inbox: Box<Inbox>,
    landing: Vec<u8>,
}

/// A context and a worker with the receive callback in place, and the worker's address.
fn open(transport: &str, landing: usize) -> Result<(Side, Vec<u8>), String> {
    let mut config = null_mut();
    // SAFETY: a place for the configuration; no prefix, no file.
    let status = unsafe { ucp_config_read(null(), null(), &mut config) };
    check(status, "ucp_config_read")?;
    let names = match transport {
        "auto" => "all",
        other => other,
    };
    let value = CString::new(names).map_err(|_| "the transport has a NUL in it".to_string())?;
    // SAFETY: a configuration just read and two C strings.
    let status = unsafe { ucp_config_modify(config, c"TLS".as_ptr(), value.as_ptr()) };
    check(status, "ucp_config_modify TLS")?;
    // SAFETY: all of its fields are plain numbers and pointers; the mask says which are filled in.
    let mut parameters: ucp_params_t = unsafe { std::mem::zeroed() };
    parameters.field_mask = u64::from(UCP_PARAM_FIELD_FEATURES);
    parameters.features = u64::from(UCP_FEATURE_AM);
    let mut context = null_mut();
    // SAFETY: valid parameters and configuration.
    let status = unsafe { ucp_init(&parameters, config, &mut context) };
    check(status, "ucp_init")?;
    // SAFETY: as above.
    let mut parameters: ucp_worker_params_t = unsafe { std::mem::zeroed() };
    parameters.field_mask = u64::from(UCP_WORKER_PARAM_FIELD_THREAD_MODE);
    parameters.thread_mode = UCS_THREAD_MODE_SINGLE;
    let mut worker = null_mut();
    // SAFETY: a context just made.
    let status = unsafe { ucp_worker_create(context, &parameters, &mut worker) };
    check(status, "ucp_worker_create")?;
    let mut inbox = Box::<Inbox>::default();
    // SAFETY: as above.
    let mut handler: ucp_am_handler_param_t = unsafe { std::mem::zeroed() };
    handler.field_mask = u64::from(UCP_AM_HANDLER_PARAM_FIELD_ID)
        | u64::from(UCP_AM_HANDLER_PARAM_FIELD_CB)
        | u64::from(UCP_AM_HANDLER_PARAM_FIELD_ARG);
    handler.id = PING;
    handler.cb = Some(received);
    handler.arg = (&raw mut *inbox).cast();
    // SAFETY: the inbox lives as long as the process's only Side.
    let status = unsafe { ucp_worker_set_am_recv_handler(worker, &handler) };
    check(status, "ucp_worker_set_am_recv_handler")?;
    let mut address = null_mut();
    let mut length = 0;
    // SAFETY: places for the address and its length.
    let status = unsafe { ucp_worker_get_address(worker, &mut address, &mut length) };
    check(status, "ucp_worker_get_address")?;
    // SAFETY: UCX says that `length` bytes lie there.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) }.to_vec();
    Ok((
        Side {
            worker,
            endpoint: null_mut(),
            inbox,
            landing: vec![1; landing],
        },
        bytes,
    ))
}

impl Side {
    fn reach(&mut self, address: &[u8]) -> Result<(), String> {
        // SAFETY: all of its fields are plain numbers and pointers.
        let mut parameters: ucp_ep_params_t = unsafe { std::mem::zeroed() };
        parameters.field_mask = u64::from(UCP_EP_PARAM_FIELD_REMOTE_ADDRESS);
        parameters.address = address.as_ptr().cast();
        // SAFETY: the address outlives the call; the endpoint keeps no reference to it.
        let status = unsafe { ucp_ep_create(self.worker, &parameters, &mut self.endpoint) };
        check(status, "ucp_ep_create")
    }

    fn progress(&mut self) -> Result<(), String> {
        // SAFETY: the worker lives as long as the process; this is its only thread.
        unsafe { ucp_worker_progress(self.worker) };
        if let Some((descriptor, length)) = self.inbox.announced.take() {
            self.fetch(descriptor, length)?;
            self.inbox.arrived += 1;
        }
        Ok(())
    }

    fn fetch(&mut self, descriptor: *mut c_void, length: usize) -> Result<(), String> {
        if length > self.landing.len() {
            return Err(format!(
                "a message of {length} bytes for a buffer of {}",
                self.landing.len()
            ));
        }
        // SAFETY: all of its fields are plain numbers and pointers; no attribute is set.
        let parameters: ucp_request_param_t = unsafe { std::mem::zeroed() };
        let landing = self.landing.as_mut_ptr().cast();
        // SAFETY: the descriptor came with this message; the buffer is large enough and stays.
        let request =
            unsafe { ucp_am_recv_data_nbx(self.worker, descriptor, landing, length, &parameters) };
        self.finish(request, "ucp_am_recv_data_nbx")
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        // SAFETY: as above.
        let parameters: ucp_request_param_t = unsafe { std::mem::zeroed() };
        let data = bytes.as_ptr().cast();
        // SAFETY: `bytes` stays until `finish` saw the request complete.
        let request = unsafe {
            ucp_am_send_nbx(
                self.endpoint,
                PING,
                null(),
                0,
                data,
                bytes.len(),
                &parameters,
            )
        };
        self.finish(request, "ucp_am_send_nbx")
    }

    fn finish(&mut self, request: ucs_status_ptr_t, what: &str) -> Result<(), String> {
        if ucs_ptr_is_err(request) {
            return check(ucs_ptr_status(request), what);
        }
        if !ucs_ptr_is_ptr(request) {
            return Ok(());
        }
        loop {
            // SAFETY: a request in progress.
            let status = unsafe { ucp_request_check_status(request) };
            if status != UCS_INPROGRESS {
                // SAFETY: complete, and freed once.
                unsafe { ucp_request_free(request) };
                return check(status, what);
            }
            // SAFETY: the worker lives as long as the process; this is its only thread.
            unsafe { ucp_worker_progress(self.worker) };
        }
    }

    fn wait_for(&mut self, count: u64) -> Result<(), String> {
        while self.inbox.arrived < count {
            self.progress()?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = text
        .trim()
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect();
    let digits = digits.ok_or_else(|| format!("not an address: {text:?}"))?;
    Ok(digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + *digit as u8))
        .collect())
}

fn answer(transport: &str, bytes: usize, rounds: u64) -> Result<(), String> {
    let (mut side, address) = open(transport, bytes)?;
    println!("{}", hex(&address));
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    side.reach(&unhex(&line)?)?;
    for round in 1..=rounds {
        side.wait_for(round)?;
        side.send(&[0; ANSWER])?;
    }
    // The last answer may still be under way inside UCX: leave only when the other side closed our input.
    let closed = std::thread::spawn(|| std::io::stdin().read_to_string(&mut String::new()));
    while !closed.is_finished() {
        side.progress()?;
    }
    Ok(())
}

fn ask(transport: &str, bytes: usize, rounds: u64) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let warm_up = rounds / 10 + 1;
    let all = rounds + warm_up;
    let mut other = Command::new(program)
        .args(["--answer", transport, &bytes.to_string(), &all.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the second process did not start: {error}"))?;
    let mut to = other.stdin.take().ok_or("no pipe to the second process")?;
    let from = other
        .stdout
        .take()
        .ok_or("no pipe from the second process")?;
    let (mut side, address) = open(transport, ANSWER)?;
    let mut line = String::new();
    BufReader::new(from)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    writeln!(to, "{}", hex(&address)).map_err(|error| error.to_string())?;
    side.reach(&unhex(&line)?)?;
    let body = vec![7u8; bytes];
    let mut nanoseconds =
        Vec::with_capacity(usize::try_from(rounds).map_err(|error| error.to_string())?);
    for round in 1..=all {
        let start = Instant::now();
        side.send(&body)?;
        side.wait_for(round)?;
        if round > warm_up {
            nanoseconds.push(start.elapsed().as_nanos());
        }
    }
    drop(to);
    other.wait().map_err(|error| error.to_string())?;
    nanoseconds.sort_unstable();
    let at = |share: usize| nanoseconds[(nanoseconds.len() - 1) * share / 100];
    println!("median_ns={} p99_ns={} rounds={rounds}", at(50), at(99));
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["--answer", transport, bytes, rounds] => {
            numbers(bytes, rounds).and_then(|(bytes, rounds)| answer(transport, bytes, rounds))
        }
        [transport, bytes, rounds] => {
            numbers(bytes, rounds).and_then(|(bytes, rounds)| ask(transport, bytes, rounds))
        }
        _ => Err("usage: raw-am TRANSPORT BYTES ROUNDS".to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("raw-am: {message}");
            ExitCode::FAILURE
        }
    }
}

fn numbers(bytes: &str, rounds: &str) -> Result<(usize, u64), String> {
    let bytes = bytes
        .parse()
        .map_err(|error| format!("BYTES {bytes:?}: {error}"))?;
    let rounds = rounds
        .parse()
        .map_err(|error| format!("ROUNDS {rounds:?}: {error}"))?;
    if rounds == 0 {
        return Err("ROUNDS must be at least 1".to_string());
    }
    Ok((bytes, rounds))
}
