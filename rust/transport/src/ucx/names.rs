//! What UCX chose, in words. UCX 1.13 tells it only in its printed reports (`ucp_ep_query` knows the transports since
//! 1.14), so those are read: a change of their format costs a description, nothing else.

use std::ffi::{c_char, c_void};
use std::io;
use std::ptr;
use std::slice;

use ucx_sys as sys;

/// What `report` prints to the stream it is given.
pub(crate) fn printed(report: impl FnOnce(*mut sys::FILE)) -> io::Result<String> {
    let (mut text, mut len): (*mut c_char, usize) = (ptr::null_mut(), 0);
    // SAFETY: two places that outlive the stream.
    let stream = unsafe { libc::open_memstream(&mut text, &mut len) };
    if stream.is_null() {
        return Err(io::Error::last_os_error());
    }
    report(stream.cast());
    // SAFETY: opened above, closed once; this fills in `text` and `len`.
    if unsafe { libc::fclose(stream) } != 0 || text.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `len` bytes at `text`, as open_memstream promises.
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
    let copy = String::from_utf8_lossy(bytes).into_owned();
    // SAFETY: allocated by the C library for us, freed once.
    unsafe { libc::free(text.cast::<c_void>()) };
    Ok(copy)
}

/// The resources in a context's report: lines like `resource 0 :  md 0 dev 0 flags -- tcp/lo`.
pub(crate) fn resources(report: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in report.lines().filter(|line| line.contains(" resource ")) {
        if let Some(name) = line.split_whitespace().last() {
            push_unique(&mut names, short(name));
        }
    }
    names
}

/// The transports of an endpoint's lanes: lines like `lane[0]:  3:posix/memory.0 md[2] -> md[2]/posix/… am am_bw#0`.
pub(crate) fn lanes(report: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in report.lines() {
        let Some((_, lane)) = line.split_once("lane[") else {
            continue;
        };
        let Some((_, lane)) = lane.split_once("]:") else {
            continue;
        };
        let Some(resource) = lane.split_whitespace().next() else {
            continue;
        };
        let Some((_, name)) = resource.split_once(':') else {
            continue;
        };
        // The number behind the device is that of the path on it.
        push_unique(
            &mut names,
            short(name.rsplit_once('.').map_or(name, |(name, _)| name)),
        );
    }
    names
}

/// `posix/memory` says no more than `posix`.
fn short(name: &str) -> String {
    match name.split_once('/') {
        Some((transport, device)) if device.starts_with("memory") => transport.to_owned(),
        _ => name.to_owned(),
    }
}

fn push_unique(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_1_13_are_read() {
        let context = "#\n# UCP context\n#\n#     component 0  :  tcp\n#            md 0  :  component 0  tcp \n#\n\
             #      resource 0  :  md 0  dev 0  flags -- tcp/lo\n#      resource 1  :  md 1  dev 2  flags -- posix/memory\n#\n";
        assert_eq!(resources(context), ["tcp/lo", "posix"]);
        let endpoint = "#\n# UCP endpoint \n#\n#               peer: <no debug data>\n\
             #                 lane[0]:  3:sysv/memory.0 md[2]           -> md[2]/sysv/sysdev[255] am am_bw#0 keepalive\n\
             #                 lane[1]:  4:posix/memory.0 md[3]          -> md[3]/posix/sysdev[255]\n#\n\
             #                 am_send: 0..<egr/short>..93..<egr/bcopy>..8256..<rndv>..(inf)\n";
        assert_eq!(lanes(endpoint), ["sysv", "posix"]);
        let tcp = "#  lane[0]:  1:tcp/eth0.100.0 md[1]  -> md[1]/tcp/sysdev[255] am am_bw#0 keepalive wireup\n";
        assert_eq!(lanes(tcp), ["tcp/eth0.100"]);
        assert!(lanes("").is_empty() && resources("gibberish").is_empty());
    }

    #[test]
    fn printing_is_captured() {
        let text = printed(|stream| {
            // SAFETY: an open stream and a string without conversions.
            let put = unsafe { libc::fputs(c"here".as_ptr(), stream.cast()) };
            assert!(put >= 0);
        });
        assert_eq!(text.unwrap(), "here");
    }
}
