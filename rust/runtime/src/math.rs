//! The C library's functions that shipped code may call: mathematics, memory, strings.
//!
//! Julia's own `sin`, `exp`, `log`… are Julia code and come with the archive; here is what they leave to C. The names are
//! resolved by the linker, once, for the whole process: shipped code reaches these and no others.

use libc::{c_char, c_int, c_long, c_void, size_t};

macro_rules! c_functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[link(name = "m")]
        unsafe extern "C" {
            $(fn $name($(_: $argument),*) $(-> $result)?;)*
        }

        /// Names and addresses.
        pub(crate) fn symbols() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($name), $name as unsafe extern "C" fn($($argument),*) $(-> $result)? as usize)),*]
        }
    };
}

c_functions! {
    acos(f64) -> f64; acosf(f32) -> f32; acosh(f64) -> f64; acoshf(f32) -> f32;
    asin(f64) -> f64; asinf(f32) -> f32; asinh(f64) -> f64; asinhf(f32) -> f32;
    atan(f64) -> f64; atanf(f32) -> f32; atan2(f64, f64) -> f64; atan2f(f32, f32) -> f32;
    atanh(f64) -> f64; atanhf(f32) -> f32; cbrt(f64) -> f64; cbrtf(f32) -> f32;
    ceil(f64) -> f64; ceilf(f32) -> f32; copysign(f64, f64) -> f64; copysignf(f32, f32) -> f32;
    cos(f64) -> f64; cosf(f32) -> f32; cosh(f64) -> f64; coshf(f32) -> f32;
    erf(f64) -> f64; erff(f32) -> f32; erfc(f64) -> f64; erfcf(f32) -> f32;
    exp(f64) -> f64; expf(f32) -> f32; exp10(f64) -> f64; exp10f(f32) -> f32;
    fabs(f64) -> f64; fabsf(f32) -> f32; fdim(f64, f64) -> f64; fdimf(f32, f32) -> f32;
    floor(f64) -> f64; floorf(f32) -> f32; fma(f64, f64, f64) -> f64; fmaf(f32, f32, f32) -> f32;
    fmax(f64, f64) -> f64; fmaxf(f32, f32) -> f32; fmin(f64, f64) -> f64; fminf(f32, f32) -> f32;
    fmod(f64, f64) -> f64; fmodf(f32, f32) -> f32; frexp(f64, *mut c_int) -> f64; frexpf(f32, *mut c_int) -> f32;
    hypot(f64, f64) -> f64; hypotf(f32, f32) -> f32; ilogb(f64) -> c_int; ilogbf(f32) -> c_int;
    j0(f64) -> f64; j0f(f32) -> f32; j1(f64) -> f64; j1f(f32) -> f32; jn(c_int, f64) -> f64; jnf(c_int, f32) -> f32;
    y0(f64) -> f64; y0f(f32) -> f32; y1(f64) -> f64; y1f(f32) -> f32; yn(c_int, f64) -> f64; ynf(c_int, f32) -> f32;
    ldexp(f64, c_int) -> f64; ldexpf(f32, c_int) -> f32; lgamma(f64) -> f64; lgammaf(f32) -> f32;
    lgamma_r(f64, *mut c_int) -> f64; lgammaf_r(f32, *mut c_int) -> f32; llrint(f64) -> i64; llrintf(f32) -> i64;
    llround(f64) -> i64; llroundf(f32) -> i64; log(f64) -> f64; logf(f32) -> f32;
    log1p(f64) -> f64; log1pf(f32) -> f32; logb(f64) -> f64; logbf(f32) -> f32;
    lrint(f64) -> c_long; lrintf(f32) -> c_long; lround(f64) -> c_long; lroundf(f32) -> c_long;
    modf(f64, *mut f64) -> f64; modff(f32, *mut f32) -> f32; nearbyint(f64) -> f64; nearbyintf(f32) -> f32;
    nextafter(f64, f64) -> f64; nextafterf(f32, f32) -> f32; pow(f64, f64) -> f64; powf(f32, f32) -> f32;
    remainder(f64, f64) -> f64; remainderf(f32, f32) -> f32;
    remquo(f64, f64, *mut c_int) -> f64; remquof(f32, f32, *mut c_int) -> f32; rint(f64) -> f64; rintf(f32) -> f32;
    round(f64) -> f64; roundf(f32) -> f32; roundeven(f64) -> f64; roundevenf(f32) -> f32;
    scalbn(f64, c_int) -> f64; scalbnf(f32, c_int) -> f32; sin(f64) -> f64; sinf(f32) -> f32;
    sincos(f64, *mut f64, *mut f64); sincosf(f32, *mut f32, *mut f32);
    sinh(f64) -> f64; sinhf(f32) -> f32; sqrt(f64) -> f64; sqrtf(f32) -> f32;
    tan(f64) -> f64; tanf(f32) -> f32; tanh(f64) -> f64; tanhf(f32) -> f32;
    tgamma(f64) -> f64; tgammaf(f32) -> f32; trunc(f64) -> f64; truncf(f32) -> f32;

    memcpy(*mut c_void, *const c_void, size_t) -> *mut c_void; memmove(*mut c_void, *const c_void, size_t) -> *mut c_void;
    memset(*mut c_void, c_int, size_t) -> *mut c_void; memcmp(*const c_void, *const c_void, size_t) -> c_int;
    bcmp(*const c_void, *const c_void, size_t) -> c_int; memchr(*const c_void, c_int, size_t) -> *mut c_void;
    memrchr(*const c_void, c_int, size_t) -> *mut c_void; memmem(*const c_void, size_t, *const c_void, size_t) -> *mut c_void;
    strlen(*const c_char) -> size_t; strnlen(*const c_char, size_t) -> size_t;
    strcmp(*const c_char, *const c_char) -> c_int; strncmp(*const c_char, *const c_char, size_t) -> c_int;
    strcasecmp(*const c_char, *const c_char) -> c_int; strchr(*const c_char, c_int) -> *mut c_char;
    strrchr(*const c_char, c_int) -> *mut c_char; strstr(*const c_char, *const c_char) -> *mut c_char;
    strtod(*const c_char, *mut *mut c_char) -> f64; strtof(*const c_char, *mut *mut c_char) -> f32;
    strtol(*const c_char, *mut *mut c_char, c_int) -> c_long;
    time(*mut libc::time_t) -> libc::time_t; getpid() -> libc::pid_t;
}

macro_rules! openlibm_functions {
    ($($name:ident($ty:ty);)*) => {
        /// What the origin takes from openlibm, which is FreeBSD's: the crate `libm` has the same functions, bit by bit, on every
        /// machine, whereas those of the system's C library differ by up to two units in the last place.
        mod openlibm {
            $(pub(super) extern "C" fn $name(x: $ty) -> $ty {
                libm::$name(x)
            })*
        }

        /// Names and addresses of those functions.
        pub(crate) fn openlibm_symbols() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($name), openlibm::$name as *const () as usize)),*]
        }

        /// Whether a function of this name is not the system's C library's: LLVM must not compute it by that.
        pub fn is_openlibm(name: &str) -> bool {
            matches!(name, $(stringify!($name))|*)
        }
    };
}

// The others that Julia takes from there are rounded alike everywhere (`fma`, `rint`…), or Julia code by now.
openlibm_functions! {
    exp2(f64); exp2f(f32);
    expm1(f64); expm1f(f32);
    log2(f64); log2f(f32);
    log10(f64); log10f(f32);
}

macro_rules! compiler_functions {
    ($($name:ident)*) => {
        mod compiler {
            // Only the addresses matter here: emitted code knows the signatures.
            unsafe extern "C" {
                $(pub(super) fn $name();)*
            }
        }

        /// What the code generator calls for operations that the processor lacks.
        pub(crate) fn compiler_symbols() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($name), compiler::$name as *const () as usize)),*]
        }
    };
}

compiler_functions! {
    __divti3 __modti3 __udivti3 __umodti3 __multi3 __muloti4
    __ashlti3 __ashrti3 __lshrti3 __floattidf __floattisf __floatuntidf
    __floatuntisf __fixdfti __fixsfti __fixunsdfti __fixunssfti __powidf2
    __powisf2 __extendhfsf2 __truncsfhf2 __truncdfhf2
}

/// Nanoseconds of a clock that only goes forward: Julia's `time_ns`.
pub(crate) extern "C" fn jl_hrtime() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Seconds since 1970: Julia's `time`.
pub(crate) extern "C" fn jl_clock_now() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes a local.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_address() {
        let all = [symbols(), openlibm_symbols(), compiler_symbols()].concat();
        assert!(all.iter().all(|(_, address)| *address != 0));
        assert!(all.len() > 150);
    }

    /// Values of Julia 1.5.3's openlibm; the system's C library gives others.
    #[test]
    fn openlibms_functions_are_its_own() {
        assert_eq!(
            openlibm::exp2(9.754819947944506).to_bits(),
            0x408a_ffad_2579_728f
        );
        assert_eq!(
            openlibm::expm1(1.0414647636514565).to_bits(),
            0x3ffd_5575_af0f_3868
        );
        assert_eq!(
            openlibm::log2(2.751286474686774).to_bits(),
            0x3ff7_5c98_7e4d_c30f
        );
        assert_eq!(
            openlibm::log10(1.7591223238321254).to_bits(),
            0x3fcf_65dc_52c6_696b
        );
        assert_eq!(openlibm::exp2f(14.949_354).to_bits(), 0x46f7_2b45);
        assert_eq!(openlibm::expm1f(14.155_976).to_bits(), 0x49ab_9509);
        assert_eq!(openlibm::log2f(11.830_393).to_bits(), 0x4064_1f8e);
        assert_eq!(openlibm::log10f(1.698_837).to_bits(), 0x3e6b_ace4);
    }

    #[test]
    fn clocks_go_forward() {
        let before = jl_hrtime();
        assert!(jl_hrtime() >= before);
        assert!(jl_clock_now() > 1.6e9);
    }
}
