//! Native images over real transports: what a node without a compiler runs, and what it refuses and survives.

use crate::archives::{ADD_ONE, archive};
use crate::support::{Node, Origin, error};
use bitcode_client::ClientError;
use bitcode_jit::{Target, native_code};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::error::ErrorCode;

/// The archive of [`ADD_ONE`] under a name, with the native image that `change` makes of a good one, and its bitcode if `fat`.
fn native(name: &str, fat: bool, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = archive(name, ADD_ONE);
    let mut archive = Archive::decode(&bytes).unwrap();
    let target = Target::parse("native").unwrap();
    let mut code = native_code(&archive, &target).unwrap();
    change(&mut code);
    if !fat {
        archive.images.clear();
    }
    archive.images.push(Image {
        kind: ImageKind::Object,
        triple: &target.triple,
        cpu: &target.cpu,
        features: &target.features,
        code: &code,
    });
    archive.encode().unwrap().0
}

fn refusal(origin: &Origin, archive: Vec<u8>) -> (ErrorCode, String) {
    let code = origin.client.code(archive).unwrap();
    match error(&origin.begin(&code, 1)) {
        ClientError::Remote { code, message } => (code, message),
        other => panic!("{other}"),
    }
}

#[test]
fn without_a_compiler_native_images_run_and_bitcode_does_not() {
    let node = Node::start(&["--transport", "shm", "--no-jit"]);
    let origin = Origin::connect("shm", &node);
    let (code, message) = refusal(&origin, archive("bitcode", ADD_ONE));
    assert_eq!(code, ErrorCode::NO_IMAGE);
    assert!(message.contains("runs native images only"), "{message}");
    for fat in [false, true] {
        let code = origin.client.code(native("native", fat, |_| ())).unwrap();
        assert_eq!(origin.word(&code, 41), 42);
    }
}

#[test]
fn a_node_serves_on_after_bad_native_images() {
    let node = Node::start(&["--transport", "shm", "--no-jit"]);
    let origin = Origin::connect("shm", &node);
    let cut = native("cut", false, |code| code.truncate(code.len() / 2));
    let nothing = native("nothing", false, Vec::clear);
    // Another machine's: e_machine of the ELF header, 183 for aarch64, 62 for x86-64.
    let other = native("other", false, |code| {
        code[18] = if code[18] == 183 { 62 } else { 183 }
    });
    // A shared library: e_type.
    let shared = native("shared", false, |code| code[16] = 3);
    for archive in [cut, nothing, other, shared] {
        assert_eq!(refusal(&origin, archive).0, ErrorCode::BAD_IMAGE);
    }
    let another_build = native("another build", false, |code| {
        let mark = b"bc.layout.";
        let at = code.windows(mark.len()).position(|bytes| bytes == mark);
        code[at.unwrap() + mark.len()] = b'9';
    });
    assert_eq!(refusal(&origin, another_build).0, ErrorCode::BAD_ABI);
    let code = origin.client.code(native("good", false, |_| ())).unwrap();
    assert_eq!(origin.word(&code, 41), 42);
}
