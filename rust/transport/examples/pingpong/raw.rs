//! The measuring stick: active messages straight on UCX, with the settings that the fabric uses, and nothing else.

use std::ffi::{CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use ucx_sys as sys;

/// How the 64-byte header travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// As the active message's header argument.
    Argument,
    /// In front of the data, in one buffer.
    Contiguous,
}

/// One worker and one endpoint, never freed: the process ends with the measurement.
pub(crate) struct Raw {
    worker: sys::ucp_worker_h,
    endpoint: sys::ucp_ep_h,
    layout: Layout,
    inbox: Box<Inbox>,
}

struct Inbox {
    header: [u8; 64],
    worker: Option<sys::ucp_worker_h>,
    arrived: u64,
    receiving: bool,
    len: usize,
    buffer: Vec<u8>,
}

fn check(what: &str, status: sys::ucs_status_t) {
    if status != sys::UCS_OK {
        panic!("{what}: UCX status {}", status.0);
    }
}

fn zeroed<T>() -> T {
    // SAFETY: used for UCX's parameter structures only, for which all-zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A context's configuration as the fabric sets it.
fn context(tls: Option<&str>, devices: Option<&str>, wakeup: bool) -> sys::ucp_context_h {
    let mut config = ptr::null_mut();
    // SAFETY: reads the environment into a new object.
    check("config", unsafe {
        sys::ucp_config_read(ptr::null(), ptr::null(), &mut config)
    });
    let set = |name: &str, value: &str| {
        let (name, value) = (CString::new(name).unwrap(), CString::new(value).unwrap());
        // SAFETY: a live configuration and two strings.
        let status = unsafe { sys::ucp_config_modify(config, name.as_ptr(), value.as_ptr()) };
        check(&format!("{name:?}"), status);
    };
    if let Some(tls) = tls {
        set("TLS", tls);
    }
    if let Some(devices) = devices {
        set("NET_DEVICES", devices);
    }
    if tls != Some("tcp") {
        set("MM_ERROR_HANDLING", "y");
    }
    let mut params: sys::ucp_params_t = zeroed();
    params.field_mask = sys::UCP_PARAM_FIELD_FEATURES as u64;
    params.features = u64::from(sys::UCP_FEATURE_AM | sys::UCP_FEATURE_RMA);
    if wakeup {
        params.features |= u64::from(sys::UCP_FEATURE_WAKEUP);
    }
    let mut context = ptr::null_mut();
    // SAFETY: parameters with their mask, a live configuration.
    check("init", unsafe {
        sys::ucp_init(&params, config, &mut context)
    });
    // SAFETY: no longer needed by the context.
    unsafe { sys::ucp_config_release(config) };
    context
}

unsafe extern "C" fn on_message(
    arg: *mut c_void,
    header: *const c_void,
    header_len: usize,
    data: *mut c_void,
    len: usize,
    param: *const sys::ucp_am_recv_param_t,
) -> sys::ucs_status_t {
    // SAFETY: `arg` is the inbox, touched by this thread only.
    let inbox = unsafe { &mut *arg.cast::<Inbox>() };
    if header_len == 64 {
        // Who receives a header reads it: without this the measurement would leave out a cache miss.
        // SAFETY: UCX's buffer of 64 bytes.
        inbox.header = unsafe { header.cast::<[u8; 64]>().read_unaligned() };
    }
    // SAFETY: UCX passes its parameters.
    let attr = unsafe { (*param).recv_attr };
    if inbox.buffer.len() < len {
        inbox.buffer.resize(len, 0);
    }
    inbox.len = len;
    if attr & sys::UCP_AM_RECV_ATTR_FLAG_RNDV as u64 != 0 {
        inbox.receiving = true;
        let mut param: sys::ucp_request_param_t = zeroed();
        param.op_attr_mask = sys::UCP_OP_ATTR_FIELD_CALLBACK | sys::UCP_OP_ATTR_FIELD_USER_DATA;
        param.cb.recv_am = Some(on_received);
        param.user_data = arg;
        // SAFETY: the buffer is large enough and stays until the callback.
        let request = unsafe {
            sys::ucp_am_recv_data_nbx(
                inbox.worker.unwrap(),
                data,
                inbox.buffer.as_mut_ptr().cast(),
                len,
                &param,
            )
        };
        if !sys::ucs_ptr_is_ptr(request) {
            check("receive", sys::ucs_ptr_status(request));
            inbox.receiving = false;
            inbox.arrived += 1;
        }
        return sys::UCS_INPROGRESS;
    }
    // SAFETY: UCX's data, our buffer, both of at least `len` bytes.
    unsafe { ptr::copy_nonoverlapping(data.cast::<u8>(), inbox.buffer.as_mut_ptr(), len) };
    inbox.arrived += 1;
    sys::UCS_OK
}

unsafe extern "C" fn on_received(
    request: *mut c_void,
    status: sys::ucs_status_t,
    _len: usize,
    arg: *mut c_void,
) {
    check("receive", status);
    // SAFETY: the inbox, as above.
    let inbox = unsafe { &mut *arg.cast::<Inbox>() };
    inbox.receiving = false;
    inbox.arrived += 1;
    // SAFETY: UCX's request, complete.
    unsafe { sys::ucp_request_free(request) };
}

unsafe extern "C" fn on_error(_arg: *mut c_void, _ep: sys::ucp_ep_h, _status: sys::ucs_status_t) {
    std::process::exit(0);
}

impl Raw {
    pub(crate) fn new(
        tls: Option<&str>,
        devices: Option<&str>,
        layout: Layout,
        wakeup: bool,
    ) -> Self {
        let context = context(tls, devices, wakeup);
        let mut params: sys::ucp_worker_params_t = zeroed();
        params.field_mask = sys::UCP_WORKER_PARAM_FIELD_THREAD_MODE as u64;
        params.thread_mode = sys::UCS_THREAD_MODE_SERIALIZED;
        let mut worker = ptr::null_mut();
        // SAFETY: parameters with their mask.
        check("worker", unsafe {
            sys::ucp_worker_create(context, &params, &mut worker)
        });
        let mut inbox = Box::new(Inbox {
            worker: Some(worker),
            header: [0; 64],
            arrived: 0,
            receiving: false,
            len: 0,
            buffer: Vec::new(),
        });
        let mut handler: sys::ucp_am_handler_param_t = zeroed();
        handler.field_mask = u64::from(
            sys::UCP_AM_HANDLER_PARAM_FIELD_ID
                | sys::UCP_AM_HANDLER_PARAM_FIELD_CB
                | sys::UCP_AM_HANDLER_PARAM_FIELD_ARG,
        );
        handler.id = 1;
        handler.cb = Some(on_message);
        handler.arg = (&raw mut *inbox).cast();
        // SAFETY: the inbox stays where it is, for ever.
        check("handler", unsafe {
            sys::ucp_worker_set_am_recv_handler(worker, &handler)
        });
        Self {
            worker,
            endpoint: ptr::null_mut(),
            layout,
            inbox,
        }
    }

    pub(crate) fn address(&self) -> Vec<u8> {
        let (mut address, mut len) = (ptr::null_mut(), 0);
        // SAFETY: a live worker.
        check("address", unsafe {
            sys::ucp_worker_get_address(self.worker, &mut address, &mut len)
        });
        // SAFETY: UCX gave `len` bytes.
        unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len) }.to_vec()
    }

    pub(crate) fn connect(&mut self, address: &[u8], peer_mode: bool) {
        let mut params: sys::ucp_ep_params_t = zeroed();
        params.field_mask = u64::from(
            sys::UCP_EP_PARAM_FIELD_REMOTE_ADDRESS
                | sys::UCP_EP_PARAM_FIELD_ERR_HANDLER
                | sys::UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        );
        params.address = address.as_ptr().cast();
        params.err_mode = if peer_mode {
            sys::UCP_ERR_HANDLING_MODE_PEER
        } else {
            sys::UCP_ERR_HANDLING_MODE_NONE
        };
        params.err_handler.cb = Some(on_error);
        // SAFETY: parameters with their mask.
        check("endpoint", unsafe {
            sys::ucp_ep_create(self.worker, &params, &mut self.endpoint)
        });
        if std::env::var_os("PINGPONG_INFO").is_some() {
            self.print_info();
        }
    }

    fn print_info(&self) {
        // SAFETY: standard error as a C stream.
        let stream = unsafe { libc::fdopen(2, c"w".as_ptr().cast::<c_char>()) };
        // SAFETY: a live endpoint and stream.
        unsafe { sys::ucp_ep_print_info(self.endpoint, stream.cast()) };
        // SAFETY: a live stream.
        unsafe { libc::fflush(stream) };
    }

    /// Sends the 64-byte header and the body; `message` holds both, one behind the other.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let param: sys::ucp_request_param_t = zeroed();
        let (header, data) = match self.layout {
            Layout::Argument => message.split_at(64),
            Layout::Contiguous => message.split_at(0),
        };
        // SAFETY: the message outlives the request, for which this waits.
        let request = unsafe {
            sys::ucp_am_send_nbx(
                self.endpoint,
                1,
                header.as_ptr().cast(),
                header.len(),
                data.as_ptr().cast(),
                data.len(),
                &param,
            )
        };
        if sys::ucs_ptr_is_ptr(request) {
            loop {
                // SAFETY: a live request.
                let status = unsafe { sys::ucp_request_check_status(request) };
                if status != sys::UCS_INPROGRESS {
                    check("send", status);
                    break;
                }
                self.progress();
            }
            // SAFETY: complete.
            unsafe { sys::ucp_request_free(request) };
        } else {
            check("send", sys::ucs_ptr_status(request));
        }
    }

    pub(crate) fn progress(&mut self) {
        // SAFETY: a live worker, one thread.
        unsafe { sys::ucp_worker_progress(self.worker) };
    }

    /// Progresses until `count` messages have arrived.
    pub(crate) fn receive(&mut self, count: u64) {
        loop {
            // SAFETY: written by callbacks that run in `progress` on this thread.
            let arrived = unsafe { ptr::read_volatile(&raw const self.inbox.arrived) };
            if arrived >= count {
                return;
            }
            self.progress();
        }
    }
}
