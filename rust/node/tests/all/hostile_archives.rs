//! Archives that an honest client would not send: each is refused with its own error, and the node serves on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcode_jit::{Target, native_code};
use bitcode_transport::control::{self, Connected};
use bitcode_transport::{Body, Fabric, HeaderBytes, PeerFailure, PeerId, Segment, Settings};
use bitcode_transport::{Sink, Token, TransportError, UcxFabric};
use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::CodeId;
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Flags, Header, Kind};
use bitcode_wire::handshake::{Hello, Role};
use bitcode_wire::link::{self, Bundle};
use bitcode_wire::manifest::{Dependency, Manifest};

use crate::archives::{ADD_ONE, archive};
use crate::support::{LONG, Node, Origin};

/// An origin that has the key, and sends what it likes.
struct Raw {
    fabric: UcxFabric,
    peer: PeerId,
    connected: Connected,
    calls: u64,
}

/// The last frame that came.
#[derive(Default)]
struct Last(Option<(Header, Vec<u8>)>);

impl Sink for Last {
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        self.0 = Some((Header::decode(header).unwrap(), body.bytes().to_vec()));
    }
    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}
    fn peer_failed(&mut self, _: PeerId, _: PeerFailure) {}
}

impl Raw {
    fn connect(node: &Node) -> Self {
        let settings = Settings::with_transport("shm".parse().unwrap());
        let fabric = UcxFabric::new(&settings).unwrap();
        let (peer, worker_address) = fabric.open_peer().unwrap();
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            role: Role::Origin,
            pid: std::process::id(),
            arch: std::env::consts::ARCH.into(),
            worker_address,
            transport: fabric.describe(),
            epoch: 1,
            ..Hello::default()
        };
        let connected = control::connect(node.address(), None, &hello, LONG).unwrap();
        fabric
            .connect_peer(peer, &connected.welcome.worker_address)
            .unwrap();
        Self {
            fabric,
            peer,
            connected,
            calls: 0,
        }
    }

    /// Calls code with this archive, which is said to be `id`'s; the error that it ends in.
    fn refusal_as(&mut self, id: CodeId, archive: &[u8]) -> (ErrorCode, String) {
        self.calls += 1;
        let welcome = &self.connected.welcome;
        let header = Header {
            flags: Flags::HAS_ARCHIVE,
            session: welcome.session,
            origin: welcome.origin,
            epoch: welcome.epoch,
            call: self.calls,
            code: id.prefix(),
            archive_len: archive.len() as u32,
            ..Header::new(Kind::Call)
        };
        let payload = [0; 8];
        let body = Arc::new([&payload[..], archive].concat());
        let header = header.encode(&self.connected.keys.to_node, body.len());
        let pieces = [Segment::shared(body)];
        let _ = self
            .fabric
            .send(self.peer, &header, &pieces, Token(1))
            .unwrap();
        let (start, mut last) = (Instant::now(), Last::default());
        loop {
            self.fabric.poll(&mut last);
            match last.0.take() {
                Some((header, body)) if header.call == self.calls => {
                    assert_eq!(header.kind, Kind::Error, "it was not refused");
                    let error = header.split(&body).unwrap();
                    let error = ErrorPayload::decode(error.0).unwrap();
                    return (error.code, error.message.to_owned());
                }
                _ => assert!(start.elapsed() < LONG, "no answer"),
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn refusal(&mut self, archive: &[u8]) -> (ErrorCode, String) {
        self.refusal_as(CodeId::of(archive), archive)
    }
}

/// The archive of [`ADD_ONE`], changed.
fn changed(name: &str, change: impl FnOnce(&mut Archive<'_>)) -> Vec<u8> {
    let bytes = archive(name, ADD_ONE);
    let mut archive = Archive::decode(&bytes).unwrap();
    change(&mut archive);
    archive.encode().unwrap().0
}

/// The archive with other code in its image.
fn with_code(name: &str, kind: ImageKind, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = archive(name, ADD_ONE);
    let mut archive = Archive::decode(&bytes).unwrap();
    let target = Target::parse(std::env::consts::ARCH).unwrap();
    let mut code = match kind {
        ImageKind::Bitcode => archive.images[0].code.to_vec(),
        ImageKind::Object => native_code(&archive, &target).unwrap(),
    };
    change(&mut code);
    archive.images[0] = Image {
        kind,
        code: &code,
        ..archive.images[0]
    };
    archive.encode().unwrap().0
}

/// Bitcode says in its first block which epoch of LLVM's format it is of; that of LLVMs so far is 0. The bit that makes it 1.
fn of_a_later_llvm(code: &mut [u8]) {
    let whole = archive("epoch", ADD_ONE);
    let whole = Archive::decode(&whole).unwrap();
    for bit in 32..512 {
        code[bit / 8] ^= 1 << (bit % 8);
        let image = Image {
            code,
            ..whole.images[0]
        };
        let verdict = bitcode_jit::verify(&whole, &image);
        if verdict.is_err_and(|error| error.to_string().contains("Incompatible epoch")) {
            return;
        }
        code[bit / 8] ^= 1 << (bit % 8);
    }
    panic!("no bit makes it another epoch");
}

/// Makes the first relocation of an object file one of type 200, which no machine has.
fn of_an_unknown_relocation(code: &mut [u8]) {
    let word = |at: usize| u64::from_le_bytes(code[at..at + 8].try_into().unwrap()) as usize;
    let (start, count) = (word(0x28), usize::from(code[0x3C]));
    let is_rela = |header: &usize| code[header + 4..header + 8] == [4, 0, 0, 0];
    let mut headers = (0..count).map(|index| start + 64 * index).filter(is_rela);
    let first = word(headers.next().unwrap() + 0x18);
    code[first + 8..first + 12].copy_from_slice(&200_u32.to_le_bytes());
}

/// The place of the count of images in an archive.
fn image_count(bytes: &[u8]) -> usize {
    12 + u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize
}

/// So many images of seventeen bytes.
fn of_many_images(count: u32) -> Vec<u8> {
    let mut bytes = changed("many", |archive| archive.images.clear());
    let at = image_count(&bytes);
    bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
    let empty = [&[1][..], &[0; 16]].concat();
    (0..count).for_each(|_| bytes.extend_from_slice(&empty));
    bytes
}

/// A manifest of a few bytes that says it holds every object that there can be.
fn of_a_bomb() -> Vec<u8> {
    let manifest = Manifest {
        abi: "julia-1.5-64le",
        entry: "bitcode_entry",
        ..Manifest::default()
    };
    let mut bytes = Archive {
        manifest,
        images: Vec::new(),
        ..Archive::default()
    }
    .encode()
    .unwrap()
    .0;
    let objects = image_count(&bytes) - 4;
    bytes[objects..objects + 4].copy_from_slice(&65_536_u32.to_le_bytes());
    bytes
}

/// An archive that takes a function from other code, and its code id.
fn linking(other: &CodeId, imports: &[&'static str]) -> (Vec<u8>, CodeId) {
    let (soname, symbol) = (link::soname(other), link::symbol(other));
    let text = format!(
        "declare i64 @{symbol}(i64)
        define i32 @bitcode_entry(i64 %payload, i64 %length, i64 %call) {{
          %x = call i64 @{symbol}(i64 %payload)
          %to = call ptr @result(i64 %call, i64 %x)
          ret i32 0
        }}"
    );
    let bytes = archive("links", &text);
    let mut linking = Archive::decode(&bytes).unwrap();
    linking.manifest.imports.extend(imports);
    linking.manifest.dependencies.push(Dependency {
        soname: &soname,
        symbols: vec![&symbol],
    });
    let bytes = linking.encode().unwrap().0;
    let id = CodeId::of(&bytes);
    (bytes, id)
}

fn bundle(archive: &[u8], linked: &[u8]) -> Vec<u8> {
    let linked = vec![linked];
    Bundle { archive, linked }.encode().unwrap()
}

#[test]
fn each_is_refused_for_what_it_is_and_the_node_serves_on() {
    let node = Node::start(&["--transport", "shm"]);
    let origin = Origin::connect("shm", &node);
    let add = origin.code("add one", ADD_ONE);
    let mut raw = Raw::connect(&node);
    let good = archive("good", ADD_ONE);
    let other = CodeId::of(b"something else");
    let (code, message) = raw.refusal_as(other, &good);
    assert_eq!(code, ErrorCode::BAD_HASH, "{message}");
    let unheard = Dependency {
        soname: "libunheard.so.9",
        symbols: vec!["bc_result"],
    };
    let cases = [
        (
            "cut off",
            good[..good.len() - 1].to_vec(),
            ErrorCode::BAD_ARCHIVE,
            "bytes",
        ),
        (
            "of another version",
            [&good[..4], &[9, 0], &good[6..]].concat(),
            ErrorCode::UNSUPPORTED,
            "version 9",
        ),
        (
            "of another machine",
            changed("machine", |it| it.images[0].triple = "riscv64-linux-gnu"),
            ErrorCode::NO_IMAGE,
            "riscv64",
        ),
        (
            "for another Julia",
            changed("abi", |it| it.manifest.abi = "julia-9.9-64le"),
            ErrorCode::BAD_ABI,
            "julia-9.9",
        ),
        (
            "of cut off bitcode",
            with_code("bitcode", ImageKind::Bitcode, |code| code.truncate(100)),
            ErrorCode::BAD_IMAGE,
            "",
        ),
        (
            "of a later LLVM",
            with_code("later", ImageKind::Bitcode, |code| of_a_later_llvm(code)),
            ErrorCode::BAD_IMAGE,
            "epoch",
        ),
        (
            "of a cut off object",
            with_code("object", ImageKind::Object, |code| code.truncate(500)),
            ErrorCode::BAD_IMAGE,
            "",
        ),
        (
            "of an unknown relocation",
            with_code("relocation", ImageKind::Object, |code| {
                of_an_unknown_relocation(code);
            }),
            ErrorCode::BAD_IMAGE,
            "relocation of type 200",
        ),
        (
            "of a library that is not allowed",
            changed("library", |it| {
                it.manifest.imports.clear();
                it.manifest.dependencies.push(unheard);
            }),
            ErrorCode::UNRESOLVED_SYMBOL,
            "libunheard.so.9",
        ),
        (
            "of 10,000 images",
            of_many_images(10_000),
            ErrorCode::TOO_LARGE,
            "images",
        ),
        (
            "with a bomb of a manifest",
            of_a_bomb(),
            ErrorCode::BAD_ARCHIVE,
            "objects",
        ),
    ];
    // Archives that link to others, with what is said to be those.
    let (user, id) = linking(&CodeId::of(&good), &[]);
    let (mover, mover_id) = linking(&CodeId::of(&good), &["bc_forward"]);
    let bundles = [
        (
            "with a link that is cut off",
            id,
            bundle(&user, &good[..good.len() - 1]),
            ErrorCode::BAD_ARCHIVE,
            "bytes",
        ),
        (
            "with a link that exports nothing",
            id,
            bundle(&user, &good),
            ErrorCode::UNRESOLVED_SYMBOL,
            "does not export",
        ),
        (
            "in a bundle that is cut off",
            id,
            bundle(&user, &good)[..user.len() + 20].to_vec(),
            ErrorCode::BAD_ARCHIVE,
            "bytes",
        ),
        (
            "that links to others, though it goes on to other nodes",
            mover_id,
            bundle(&mover, &good),
            ErrorCode::UNSUPPORTED,
            "must hold all that it calls",
        ),
    ];
    for (what, id, bundle, expected, part) in bundles {
        let (code, message) = raw.refusal_as(id, &bundle);
        assert_eq!(code, expected, "an archive {what}: {message}");
        assert!(message.contains(part), "an archive {what}: {message}");
        assert_eq!(origin.word(&add, 41), 42, "after an archive {what}");
    }
    for (what, archive, expected, part) in cases {
        let (code, message) = raw.refusal(&archive);
        assert_eq!(code, expected, "an archive {what}: {message}");
        assert!(message.contains(part), "an archive {what}: {message}");
        assert_eq!(origin.word(&add, 41), 42, "after an archive {what}");
    }
}
