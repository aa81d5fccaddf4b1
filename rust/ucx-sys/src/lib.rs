//! UCX declarations from the system's headers, made when this crate is built.
//!
//! This room declares and links, nothing else: no wrapper, no policy. The few functions written here are what the C
//! headers have as macros, which no generator can see. Statuses stay integers ([`ucs_status_t`] is a newtype with
//! constants): UCX may return numbers that its header does not name.

mod bindings {
    #![allow(
        missing_docs,
        non_camel_case_types,
        non_upper_case_globals,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::undocumented_unsafe_blocks,
        clippy::multiple_unsafe_ops_per_block,
        reason = "generated; the names and the documentation are UCX's"
    )]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

#[expect(non_camel_case_types, reason = "the name is UCX's")]
/// What the non-blocking calls return: null (done), a request (in progress), or a status in the shape of a pointer.
pub type ucs_status_ptr_t = *mut core::ffi::c_void;

#[cfg(target_arch = "x86_64")]
#[expect(non_camel_case_types, reason = "the name is C's")]
/// `va_list` as a function receives it: on x86-64 it is an array, and arrays arrive as pointers.
pub type va_list_arg = *mut __va_list_tag;

#[cfg(not(target_arch = "x86_64"))]
#[expect(non_camel_case_types, reason = "the name is C's")]
/// `va_list` as a function receives it.
pub type va_list_arg = va_list;

/// `UCS_PTR_IS_ERR`: whether a returned pointer is an error status.
pub fn ucs_ptr_is_err(pointer: ucs_status_ptr_t) -> bool {
    pointer.addr() >= UCS_ERR_LAST.0 as isize as usize
}

/// `UCS_PTR_IS_PTR`: whether a returned pointer is a request.
pub fn ucs_ptr_is_ptr(pointer: ucs_status_ptr_t) -> bool {
    pointer.addr().wrapping_sub(1) < (UCS_ERR_LAST.0 as isize as usize).wrapping_sub(1)
}

/// `UCS_PTR_STATUS`: the status that a returned pointer stands for; a request is in progress.
pub fn ucs_ptr_status(pointer: ucs_status_ptr_t) -> ucs_status_t {
    if ucs_ptr_is_ptr(pointer) {
        UCS_INPROGRESS
    } else {
        // The C macro casts to an enum of one byte; an error pointer's low byte is its status.
        ucs_status_t(pointer.addr() as _)
    }
}

/// `UCS_STATUS_PTR`: a status in the shape of a pointer.
pub fn ucs_status_ptr(status: ucs_status_t) -> ucs_status_ptr_t {
    core::ptr::without_provenance_mut(status.0 as isize as usize)
}

/// `UCS_STATUS_IS_ERR`: whether a status is an error.
pub fn ucs_status_is_err(status: ucs_status_t) -> bool {
    status.0 < 0
}

/// `ucp_dt_make_contig`: the datatype of elements of `size` bytes that lie one after another.
pub const fn ucp_dt_make_contig(size: usize) -> u64 {
    (size as u64) << 3
}

/// `ucp_dt_make_iov`: the datatype of a list of [`ucp_dt_iov_t`].
pub const fn ucp_dt_make_iov() -> u64 {
    2
}

/// `ucp_init`: `ucp_init_version` with the version of the headers that this crate was built with.
///
/// # Safety
/// As `ucp_init_version`: valid pointers, `params` with its field mask filled in.
pub unsafe fn ucp_init(
    params: *const ucp_params_t,
    config: *const ucp_config_t,
    context: *mut ucp_context_h,
) -> ucs_status_t {
    // SAFETY: the caller's promise.
    unsafe { ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, params, config, context) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_the_one_of_the_headers() {
        let (mut major, mut minor, mut release) = (0, 0, 0);
        // SAFETY: three places for three numbers.
        unsafe { ucp_get_version(&mut major, &mut minor, &mut release) };
        assert_eq!((major, minor), (UCP_API_MAJOR, UCP_API_MINOR));
        // SAFETY: returns a constant string.
        let text = unsafe { ucp_get_version_string() };
        // SAFETY: NUL-terminated, static.
        let text = unsafe { core::ffi::CStr::from_ptr(text) };
        assert_eq!(text.to_str().unwrap(), format!("{major}.{minor}.{release}"));
    }

    #[test]
    fn statuses_travel_in_pointers() {
        for status in [
            UCS_OK,
            UCS_ERR_NO_MESSAGE,
            UCS_ERR_CONNECTION_RESET,
            UCS_ERR_ENDPOINT_TIMEOUT,
        ] {
            let pointer = ucs_status_ptr(status);
            assert_eq!(ucs_ptr_status(pointer), status);
            assert_eq!(ucs_ptr_is_err(pointer), ucs_status_is_err(status));
            assert!(!ucs_ptr_is_ptr(pointer));
        }
        let mut request = 0u64;
        let pointer: ucs_status_ptr_t = (&raw mut request).cast();
        assert!(ucs_ptr_is_ptr(pointer) && !ucs_ptr_is_err(pointer));
        assert_eq!(ucs_ptr_status(pointer), UCS_INPROGRESS);
    }

    #[test]
    fn an_unknown_status_keeps_its_number() {
        let unknown = ucs_status_t(-77);
        assert_eq!(ucs_ptr_status(ucs_status_ptr(unknown)).0, -77);
        // SAFETY: takes any number.
        let text = unsafe { ucs_status_string(unknown) };
        assert!(!text.is_null());
    }

    #[test]
    fn the_smallest_and_the_largest_error_are_errors() {
        assert!(ucs_ptr_is_err(ucs_status_ptr(ucs_status_t(-1))));
        assert!(ucs_ptr_is_err(ucs_status_ptr(UCS_ERR_LAST)));
        assert!(!ucs_ptr_is_err(ucs_status_ptr(UCS_INPROGRESS)));
    }
}
