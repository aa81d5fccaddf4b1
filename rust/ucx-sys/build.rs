//! Finds the system's UCX and makes Rust declarations of its headers.
//!
//! `UCX_DIR` (a prefix with `include/` and `lib/`) comes before pkg-config; a variable that starts with the target's
//! name, such as `AARCH64_UNKNOWN_LINUX_GNU_UCX_DIR`, comes before both, so that a cross build can be told apart.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

/// The oldest UCX whose API we use (`ucp_ep_query`, rendezvous in PEER mode: its NEWS, 1.12.0).
const OLDEST: &str = "1.12";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ucx.h");
    let include_dirs = match read_and_watch("UCX_DIR") {
        Some(prefix) => link_prefix(Path::new(&prefix))?,
        None => link_with_pkg_config()?,
    };
    let out = PathBuf::from(env::var("OUT_DIR")?).join("bindings.rs");
    declarations(&include_dirs)?.write_to_file(out)?;
    Ok(())
}

/// The variable for this target, or the general one; Cargo builds again when either changes.
fn read_and_watch(name: &str) -> Option<String> {
    let target = env::var("TARGET")
        .unwrap_or_default()
        .to_uppercase()
        .replace('-', "_");
    let special = format!("{target}_{name}");
    for variable in [special.as_str(), name] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    [special.as_str(), name]
        .iter()
        .find_map(|variable| env::var(variable).ok())
        .filter(|value| !value.is_empty())
}

fn link_prefix(prefix: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let include = prefix.join("include");
    if !include.join("ucp/api/ucp.h").is_file() {
        return Err(format!(
            "UCX_DIR is {}, but there is no include/ucp/api/ucp.h in it; point it at the prefix that UCX was installed to",
            prefix.display()
        )
        .into());
    }
    let multiarch = format!(
        "{}-linux-gnu",
        env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default()
    );
    for lib in [
        prefix.join("lib"),
        prefix.join("lib").join(multiarch),
        prefix.join("lib64"),
    ] {
        if lib.is_dir() {
            println!("cargo:rustc-link-search=native={}", lib.display());
        }
    }
    for lib in ["ucp", "ucs"] {
        println!("cargo:rustc-link-lib={lib}");
    }
    Ok(vec![include])
}

fn link_with_pkg_config() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    // pkg-config prints the link lines; it also watches PKG_CONFIG_PATH and its kin.
    let library = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .probe("ucx")
        .map_err(|error| {
            format!(
                "UCX {OLDEST} or newer was not found: install its development package (Debian: libucx-dev), or set UCX_DIR \
                 to its prefix\n{error}"
            )
        })?;
    Ok(library.include_paths)
}

/// Only what `transport` uses, by name: a wider net would bring hundreds of declarations that nobody checks.
const FUNCTIONS: &[&str] = &[
    "ucp_get_version",
    "ucp_get_version_string",
    "ucp_config_(read|modify|release|print)",
    "ucp_init_version",
    "ucp_cleanup",
    "ucp_context_query",
    "ucp_context_print_info",
    "ucp_mem_(map|unmap|query)",
    "ucp_rkey_(pack|buffer_release|destroy|ptr)",
    "ucp_ep_rkey_unpack",
    "ucp_worker_(create|destroy|query|get_address|release_address|address_query|print_info)",
    "ucp_worker_(progress|arm|signal|get_efd|flush_nbx|set_am_recv_handler)",
    "ucp_ep_(create|close_nbx|flush_nbx|query|print_info)",
    "ucp_am_(send_nbx|recv_data_nbx|data_release)",
    "ucp_(put|get|atomic_op)_nbx",
    "ucp_request_(check_status|cancel|free)",
    "ucs_status_string",
    "ucs_log_(push|pop)_handler",
    "vsnprintf",
];

const TYPES: &[&str] = &[
    "ucp_(am|ep|worker|context|mem|mem_map|request|address)_(attr|param|params|recv_param|handler_param|map_params).*",
    "ucp_params_t",
    "ucp_am_handler_param_t",
    "ucp_feature",
    "ucp_dt_iov_t",
    "ucp_err_handl.*",
    "ucs_thread_mode_t",
    "ucs_log_(level|func|func_rc)_t",
    // The enums whose enumerators are field masks and flags.
    "ucp_.*_field(_t)?",
    "ucp_.*_flags(_t)?",
    "ucp_(op|am_recv|worker|am_send)_attr_.*",
    "ucp_op_attr_t",
    "ucp_atomic_op_t",
    "ucp_am_recv_attr_t",
    "ucp_send_am_flags",
    "ucp_ep_close_flags_t",
];

const CONSTANTS: &[&str] = &[
    "UCP_API_(MAJOR|MINOR)",
    "UCP_FEATURE_.*",
    "UCP_ATOMIC_OP_.*",
    "UCP_(PARAM|WORKER|EP|AM|OP|MEM|CB|ADDRESS|ATTR)_.*",
    "UCP_(SEND|RECV)_AM_.*",
    "UCP_ERR_HANDLING_MODE_.*",
    "UCS_THREAD_MODE_.*",
    "UCS_(OK|INPROGRESS|ERR_.*)",
    "UCS_MEMORY_TYPE_.*",
    "UCS_LOG_(LEVEL|FUNC_RC)_.*",
];

fn declarations(include_dirs: &[PathBuf]) -> Result<bindgen::Bindings, Box<dyn Error>> {
    let mut builder = bindgen::Builder::default()
        .header("ucx.h")
        .clang_args(
            include_dirs
                .iter()
                .map(|dir| format!("-I{}", dir.display())),
        )
        // The C library's stream is only passed through; its insides are not ours to declare.
        .blocklist_type("FILE|_IO_.*")
        .raw_line("#[repr(C)] pub struct FILE { _opaque: [u8; 0] }")
        // A C enum may hold any value of its integer type; a Rust enum may not.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .newtype_global_enum("ucs_status_t")
        .prepend_enum_name(false)
        .derive_default(false)
        .generate_comments(false)
        .layout_tests(true)
        .use_core()
        .wrap_unsafe_ops(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    Ok(builder.generate()?)
}
