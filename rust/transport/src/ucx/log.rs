//! UCX's log lines go where ours go. By default UCX writes them to standard output, which a node uses for its ready
//! line and a Julia user for her session.

use std::ffi::{CStr, c_char, c_uint};
use std::sync::Once;

use tracing::{debug, trace, warn};
use ucx_sys as sys;

/// Installs the handler, once per process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    // SAFETY: the handler is a function of this library, which is not unloaded while UCX is in use.
    ONCE.call_once(|| unsafe { sys::ucs_log_push_handler(Some(on_line)) });
}

/// Called by UCX for each line at or below its own level (`UCX_LOG_LEVEL`, warnings by default).
unsafe extern "C" fn on_line(
    _file: *const c_char,
    _line: c_uint,
    _function: *const c_char,
    level: sys::ucs_log_level_t,
    _component: *const sys::ucs_log_component_config_t,
    format: *const c_char,
    arguments: sys::va_list_arg,
) -> sys::ucs_log_func_rc_t {
    if level == sys::UCS_LOG_LEVEL_FATAL {
        // UCX is about to end the process: let it say so in its own way.
        return sys::UCS_LOG_FUNC_RC_CONTINUE;
    }
    let mut line = [0u8; 1024];
    // SAFETY: room for the length given; format and arguments are UCX's and fit each other.
    unsafe { sys::vsnprintf(line.as_mut_ptr().cast(), line.len() as _, format, arguments) };
    let text = CStr::from_bytes_until_nul(&line)
        .unwrap_or_default()
        .to_string_lossy();
    match level {
        // An error to UCX is often only a peer that went away, which we report in our own words as well.
        sys::UCS_LOG_LEVEL_ERROR | sys::UCS_LOG_LEVEL_WARN => warn!(target: "ucx", "{text}"),
        sys::UCS_LOG_LEVEL_DIAG | sys::UCS_LOG_LEVEL_INFO | sys::UCS_LOG_LEVEL_DEBUG => {
            debug!(target: "ucx", "{text}")
        }
        _ => trace!(target: "ucx", "{text}"),
    }
    sys::UCS_LOG_FUNC_RC_STOP
}
