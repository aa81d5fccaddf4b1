//! UCX's configuration and context: which transports exist for this fabric.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

use tracing::warn;
use ucx_sys as sys;

use super::log;
use super::names;
use super::status;
use crate::error::TransportError;
use crate::settings::{Settings, TransportChoice};

/// UCX's parameter structures are plain C data with a mask that says which fields count; all-zero is a valid start.
///
/// # Safety
/// `T` is such a structure of `ucx_sys`.
pub(crate) unsafe fn params<T>() -> T {
    // SAFETY: the caller's promise.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A configuration, read from the environment (`UCX_…`) and then adjusted. It is ours alone: nothing is written back.
struct Config(*mut sys::ucp_config_t);

impl Config {
    fn read() -> Result<Self, TransportError> {
        let mut raw = ptr::null_mut();
        // SAFETY: no prefix, no file; writes a new object.
        let status = unsafe { sys::ucp_config_read(ptr::null(), ptr::null(), &mut raw) };
        status::check("reading UCX's configuration", status)?;
        Ok(Self(raw))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text =
            |text: &str| CString::new(text).map_err(|_| format!("{name}: the value holds a NUL"));
        let (c_name, c_value) = (text(name)?, text(value)?);
        // SAFETY: a live configuration and two strings.
        let status = unsafe { sys::ucp_config_modify(self.0, c_name.as_ptr(), c_value.as_ptr()) };
        match status {
            sys::UCS_OK => Ok(()),
            _ => Err(format!("{name}={value}: {}", status::words(status))),
        }
    }

    fn apply(&mut self, settings: &Settings) -> Result<(), String> {
        if let Some(names) = tls(&settings.transport) {
            self.set("TLS", names)?;
        }
        if let Some(devices) = &settings.net_devices {
            self.set("NET_DEVICES", devices)?;
        }
        // 20 s by default: too long to leave a caller waiting for a dead peer.
        let keepalive = format!("{}us", settings.keepalive.as_micros().max(1));
        self.set("KEEPALIVE_INTERVAL", &keepalive)?;
        // Over shared memory endpoints introduce themselves when they are made, not with the first large frame (1.13's
        // default). Until a peer has answered that, UCX does not check whether it lives (`ucp_wireup_ep_check`): one
        // that died at the wrong moment would keep a large send until the peer is removed. Not over TCP, where the
        // socket tells, and where UCX 1.13 ends the process when an endpoint goes whose introduction is still under way
        // (assertions in `ucp_request_send_state_ff` and wireup_ep.c:241).
        if settings.transport == TransportChoice::Shm {
            self.set("RESOLVE_REMOTE_EP_ID", "y")?;
        }
        if uses_shared_memory(&settings.transport) {
            let mm = shared_memory_table();
            self.set(&format!("{mm}ERROR_HANDLING"), "y")?;
            self.set(&format!("{mm}RX_BUFS_GROW"), RX_BUFFERS)?;
        }
        Ok(())
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: read by `read`, released once.
        unsafe { sys::ucp_config_release(self.0) };
    }
}

/// The value of UCX's `TLS` for a choice.
///
/// System V segments are left out where POSIX ones serve: two transports of the same speed give an endpoint two lanes
/// (active messages on the one, puts on the other) and every round of progress two queues to look at.
fn tls(choice: &TransportChoice) -> Option<&str> {
    match choice {
        TransportChoice::Auto if std::env::var_os("UCX_TLS").is_some() => None,
        TransportChoice::Auto => Some("^sysv"),
        TransportChoice::Shm => Some("posix,cma"),
        TransportChoice::Tcp => Some("tcp"),
        TransportChoice::Named(names) => Some(names),
    }
}

fn uses_shared_memory(choice: &TransportChoice) -> bool {
    match choice {
        TransportChoice::Auto | TransportChoice::Shm => true,
        TransportChoice::Tcp => false,
        TransportChoice::Named(names) => {
            names.starts_with('^')
                || names
                    .split(',')
                    .any(|name| matches!(name, "posix" | "sysv" | "shm" | "sm" | "mm" | "all"))
        }
    }
}

/// The version of the UCX library in use: major, minor, release.
pub(crate) fn version() -> (u32, u32, u32) {
    let (mut major, mut minor, mut release) = (0, 0, 0);
    // SAFETY: three places for three numbers.
    unsafe { sys::ucp_get_version(&mut major, &mut minor, &mut release) };
    (major, minor, release)
}

/// Buffers for what a worker receives over shared memory are made this many at a time. Every worker makes them when it is
/// made, and UCX writes to all of them (`uct_posix_test_mem`), so this is what a lane costs: its queue of 64 places wants
/// 65, the others are for messages that wait. FIELD (UCX 1.13.1): by default 2 MiB and 5 ms for a worker, with this 0.4 MiB
/// and 1.5 ms, and 5 file descriptors (9 if TCP is open too); bandwidth is the same.
const RX_BUFFERS: &str = "96";

/// What UCX's names of the settings of shared memory begin with.
///
/// With peer error handling UCX leaves shared memory out unless it is told that a dead peer's segment may be touched
/// (UCX issue 6595); then it silently takes TCP. As environment variables these are `UCX_POSIX_ERROR_HANDLING` and
/// `UCX_SYSV_ERROR_HANDLING`. In a configuration object the part before the name is that of the table inside the
/// transport's own, `MM_` for both (`uct_config_modify`, uct_md.c); since 1.17 it is the transport's, as in the
/// environment (`bundle->table_prefix`).
fn shared_memory_table() -> &'static str {
    if version() < (1, 17, 0) {
        "MM_"
    } else {
        "POSIX_"
    }
}

/// A UCX context: the transports and devices that a worker may use.
pub(crate) struct Context {
    raw: sys::ucp_context_h,
}

// SAFETY: a handle of an object that UCX was told to guard for us (`mt_workers_shared`).
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Opens the transports that the settings allow.
    pub(crate) fn new(settings: &Settings) -> Result<Self, TransportError> {
        log::install();
        let start_error = |reason: String| TransportError::Start {
            transport: settings.transport.to_string(),
            reason,
        };
        let mut config = Config::read()?;
        config.apply(settings).map_err(start_error)?;
        // SAFETY: a parameter structure of UCX.
        let mut params: sys::ucp_params_t = unsafe { params() };
        params.field_mask =
            (sys::UCP_PARAM_FIELD_FEATURES | sys::UCP_PARAM_FIELD_MT_WORKERS_SHARED).into();
        params.features = (sys::UCP_FEATURE_AM
            | sys::UCP_FEATURE_RMA
            | sys::UCP_FEATURE_AMO64
            | sys::UCP_FEATURE_WAKEUP)
            .into();
        // Several workers, driven by several threads.
        params.mt_workers_shared = 1;
        let mut raw = ptr::null_mut();
        // SAFETY: parameters with their mask, a live configuration; both are only read.
        let status = unsafe { sys::ucp_init(&params, config.0, &mut raw) };
        match status {
            sys::UCS_OK => Ok(Self { raw }),
            _ => Err(start_error(status::words(status))),
        }
    }

    /// UCX's handle.
    pub(crate) fn raw(&self) -> sys::ucp_context_h {
        self.raw
    }

    /// The transports (and network devices) that were found, such as `tcp/lo` and `posix`.
    pub(crate) fn resources(&self) -> Vec<String> {
        let printed = names::printed(|stream| {
            // SAFETY: a live context and an open stream.
            unsafe { sys::ucp_context_print_info(self.raw, stream) }
        });
        match printed {
            Ok(text) => names::resources(&text),
            Err(error) => {
                warn!(%error, "cannot list UCX's transports");
                Vec::new()
            }
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `new`; whatever was made from it is gone, because its owner is declared after it.
        unsafe { sys::ucp_cleanup(self.raw) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_that_does_not_exist_is_named_in_the_error() {
        let settings = Settings::with_transport(TransportChoice::Named("no_such_transport".into()));
        let error = Context::new(&settings).err().unwrap();
        assert!(error.to_string().contains("no_such_transport"), "{error}");
    }

    #[test]
    fn the_choice_decides_what_is_found() {
        let resources = |choice| {
            Context::new(&Settings::with_transport(choice))
                .unwrap()
                .resources()
        };
        let shm = resources(TransportChoice::Shm);
        assert!(shm.contains(&"posix".to_owned()), "{shm:?}");
        assert!(!shm.iter().any(|name| name.starts_with("tcp")), "{shm:?}");
        let tcp = resources(TransportChoice::Tcp);
        assert!(tcp.contains(&"tcp/lo".to_owned()), "{tcp:?}");
        assert!(!tcp.contains(&"posix".to_owned()), "{tcp:?}");
        let auto = resources(TransportChoice::Auto);
        assert!(
            auto.contains(&"tcp/lo".to_owned()) && auto.contains(&"posix".to_owned()),
            "{auto:?}"
        );
    }

    #[test]
    fn network_devices_can_be_chosen() {
        let settings = Settings {
            net_devices: Some("lo".into()),
            ..Settings::with_transport(TransportChoice::Tcp)
        };
        assert_eq!(Context::new(&settings).unwrap().resources(), ["tcp/lo"]);
    }

    #[test]
    fn shared_memory_is_recognised_in_named_lists() {
        let named = |names: &str| uses_shared_memory(&TransportChoice::Named(names.into()));
        assert!(named("posix,cma") && named("all") && named("^tcp"));
        assert!(!named("rc_x,tcp"));
    }
}
