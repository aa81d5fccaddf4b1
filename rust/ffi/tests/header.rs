//! include/bitcode.h is what cbindgen makes of the sources. `BITCODE_BLESS=1` writes it anew.

use std::path::Path;

/// In the order in which the header presents them.
const SOURCES: [&str; 8] = [
    "status.rs",
    "error.rs",
    "client.rs",
    "session.rs",
    "code.rs",
    "call.rs",
    "output.rs",
    "segment.rs",
];

#[test]
fn the_header_is_up_to_date() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(room.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(room.join("src").join(source));
    }
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = room.join("include/bitcode.h");
    if std::env::var_os("BITCODE_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(
        kept == made,
        "include/bitcode.h is not what the sources say: run `BITCODE_BLESS=1 cargo test -p bitcode-ffi --test header`"
    );
}
