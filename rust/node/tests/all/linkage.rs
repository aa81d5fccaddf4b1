//! What the program is linked with.

use std::process::Command;

#[test]
fn a_node_links_no_julia_library() {
    let output = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_bitcode-node"))
        .output()
        .unwrap();
    let libraries = String::from_utf8(output.stdout).unwrap();
    assert!(libraries.contains("libLLVM.so.19"), "{libraries}");
    assert!(libraries.contains("libucp"), "{libraries}");
    assert!(!libraries.to_lowercase().contains("julia"), "{libraries}");
    assert!(!libraries.contains("libbitcode"), "{libraries}");
    assert!(!libraries.contains("not found"), "{libraries}");
}
