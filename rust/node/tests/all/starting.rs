//! Starting and stopping.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::support::{Node, program};

/// Runs the program to its end.
fn refused(arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = program(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_ready_line_says_where_and_who() {
    let node = Node::start(&["--transport", "tcp"]);
    assert_eq!(node.ready["bitcode_node"], "ready");
    assert_eq!(node.ready["pid"], node.child.id());
    assert_eq!(node.ready["version"], env!("CARGO_PKG_VERSION"));
    assert!(node.address().starts_with("127.0.0.1:"));
    assert!(!node.address().ends_with(":0"));
    let transport = node.ready["transport"].as_str().unwrap();
    assert!(
        transport.contains("tcp") && !transport.contains("posix"),
        "{transport}"
    );
}

#[test]
fn signals_end_it_well() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::start(&[]);
        node.signal(signal);
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(
            log.contains("told to stop") && log.contains("stopped"),
            "{log}"
        );
    }
}

#[test]
fn the_end_of_standard_input_ends_it_well() {
    let mut node = Node::start(&[]);
    node.close_input();
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("standard input ended"), "{log}");
}

#[test]
fn without_a_key_it_listens_for_this_machine_only() {
    let (code, said) = refused(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(said.contains("--key-file"), "{said}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = refused(&["--key-file", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(said.contains("chmod 600"), "{said}");
    assert!(!said.contains("0123456789abcdef"), "{said}");
}

#[test]
fn settings_come_from_a_file_too_and_mistakes_in_it_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    let path = path.to_str().unwrap();
    std::fs::write(
        path,
        "transport = 'tcp'\nlog-format = 'json'\nlog = 'info'\n",
    )
    .unwrap();
    let node = Node::start(&["--config", path]);
    assert!(node.ready["transport"].as_str().unwrap().contains("tcp"));
    node.until_logged("\"message\":\"ready\"");
    std::fs::write(path, "transprot = 'tcp'\n").unwrap();
    let (code, said) = refused(&["--config", path]);
    assert_eq!(code, 2);
    assert!(said.contains("transprot"), "{said}");
}

#[test]
fn what_cannot_be_started_says_why() {
    let node = Node::start(&[]);
    let (code, said) = refused(&["--listen", node.address()]);
    assert_eq!(code, 1);
    assert!(said.contains(node.address()), "{said}");
    for arguments in [
        &["--transport", "no such transport"][..],
        &["--listen", "nowhere"],
        &["--log", "no=such=filter"],
        &["--deny-library", "libnothing"],
        &["--no-such-flag"],
    ] {
        let (code, said) = refused(arguments);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(arguments[arguments.len() - 1]), "{said}");
    }
}

#[test]
fn it_tells_its_versions() {
    let mut child = program(&["--version"]).spawn().unwrap();
    let mut said = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    for part in [
        "bitcode-node",
        env!("CARGO_PKG_VERSION"),
        "LLVM 19",
        "UCX 1.",
        "libopenblas64_",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
