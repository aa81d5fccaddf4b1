//! The machine and the process that shipped code runs in: its name, its processors, its clock.

use std::time::Duration;

/// How many threads Julia has: shipped code sees its own.
static THREADS: i32 = 1;

/// Symbols of this file that are not functions of this crate, or have other names there.
pub(crate) fn symbols() -> Vec<(&'static str, usize)> {
    vec![
        ("jl_n_threads", &raw const THREADS as usize),
        ("jl_getpid", libc::getpid as *const () as usize),
        ("gethostname", libc::gethostname as *const () as usize),
        ("localtime_r", libc::localtime_r as *const () as usize),
        ("gmtime_r", libc::gmtime_r as *const () as usize),
        ("mktime", libc::mktime as *const () as usize),
    ]
}

/// Seconds and microseconds since 1970, as C's `struct timeval`; zero is returned when it could be told.
///
/// # Safety
/// - `time` points to room for two words.
pub(crate) unsafe extern "C" fn jl_gettimeofday(time: *mut libc::timeval) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { libc::gettimeofday(time, std::ptr::null_mut()) }
}

/// How many processors the node may use.
pub(crate) extern "C" fn bc_cpu_threads() -> i32 {
    std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX))
}

/// Waits for so many seconds. What is no time (negative, not a number) does not wait.
pub(crate) extern "C" fn bc_sleep(seconds: f64) {
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_processors_and_a_clock() {
        assert!(bc_cpu_threads() >= 1);
        let mut now = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: a local.
        assert_eq!(unsafe { jl_gettimeofday(&raw mut now) }, 0);
        assert!(now.tv_sec > 1_600_000_000);
        assert!(symbols().iter().all(|(_, address)| *address != 0));
    }

    #[test]
    fn sleeping_takes_its_time() {
        let before = std::time::Instant::now();
        bc_sleep(0.002);
        assert!(before.elapsed() >= Duration::from_millis(2));
        bc_sleep(-1.0);
        bc_sleep(f64::NAN);
    }
}
