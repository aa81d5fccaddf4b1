//! Values made at random come back as they were, and their bytes are taken apart without loss.

use bitcode_wire::archive::{Archive, Image, ImageKind};
use bitcode_wire::code::{CodeId, CodePrefix};
use bitcode_wire::error::{ErrorCode, ErrorPayload};
use bitcode_wire::frame::{Flags, Header, Kind, SessionKey};
use bitcode_wire::handshake::{Answer, Hello, Preamble, PreambleFlags, Refusal, Role, Welcome};
use bitcode_wire::manifest::{
    ArrayObject, DataObject, Dependency, ElementFlags, Field, FieldKind, Manifest, Object,
    Relocation, TypeFlags, TypeObject,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Memory of objects whose reference slots are empty.
static ZEROS: [u8; 80] = [0; 80];

/// An owned plan for a manifest that makes sense: indices are taken modulo what exists.
#[derive(Clone, Debug)]
struct Plan {
    texts: [String; 5],
    symbols: Vec<String>,
    dependencies: Vec<(String, Vec<String>)>,
    types: Vec<TypePlan>,
    others: Vec<OtherPlan>,
    types_last: bool,
    images: Vec<(bool, [String; 3], Vec<u8>)>,
}

/// An object that is no type: kind, choice of its type or target, name, memory, choices of its references.
type OtherPlan = (u8, u32, String, Vec<u8>, Vec<Option<u32>>);

#[derive(Clone, Debug)]
struct TypePlan {
    name: String,
    flags: u32,
    words: u32,
    align_bit: u16,
    pointer_mask: u32,
    element: u32,
    element_kind: u32,
    ndims: u32,
    parent: Option<u32>,
    hash: u32,
    fields: Vec<(u8, u32, Option<u32>)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let symbol = "[a-zé_]{1,12}";
    let layout = (
        0..32_u32,
        0..12_u16,
        any::<u32>(),
        vec((0..3_u8, any::<u32>(), any::<Option<u32>>()), 0..4),
    );
    let elements = (0..9_u32, prop::sample::select(vec![0, 1, 2, 4]), 0..4_u32);
    let ty = (
        ".{0,20}",
        0..1024_u32,
        layout,
        elements,
        any::<Option<u32>>(),
        any::<u32>(),
    )
        .prop_map(|(name, flags, layout, elements, parent, hash)| {
            let (words, align_bit, pointer_mask, fields) = layout;
            let (element, element_kind, ndims) = elements;
            TypePlan {
                name,
                flags,
                words,
                align_bit,
                pointer_mask,
                element,
                element_kind,
                ndims,
                parent,
                hash,
                fields,
            }
        });
    let other = (
        0..7_u8,
        any::<u32>(),
        ".{0,20}",
        vec(any::<u8>(), 0..80),
        vec(any::<Option<u32>>(), 0..10),
    );
    let dependencies = vec((symbol, vec(symbol, 0..4)), 0..3);
    let image = (
        any::<bool>(),
        [".{0,20}", ".{0,20}", ".{0,20}"],
        vec(any::<u8>(), 0..100),
    );
    (
        [".{0,20}", ".{0,20}", ".{0,20}", ".{0,20}", ".{0,20}"],
        vec(symbol, 1..5),
        dependencies,
        vec(ty, 1..8),
        vec(other, 0..12),
        any::<bool>(),
        vec(image, 0..4),
    )
        .prop_map(
            |(texts, symbols, dependencies, types, others, types_last, images)| Plan {
                texts,
                symbols,
                dependencies,
                types,
                others,
                types_last,
                images,
            },
        )
}

impl Plan {
    /// The first type's index.
    fn base(&self) -> u32 {
        if self.types_last {
            self.others.len() as u32
        } else {
            0
        }
    }

    fn count(&self) -> u32 {
        (self.types.len() + self.others.len()) as u32
    }

    fn ty(&self, choice: u32) -> u32 {
        self.base() + choice % self.types.len() as u32
    }

    /// A reference to anything but a SLOT: the choice, or else the first type.
    fn target(&self, choice: Option<u32>) -> Option<u32> {
        let index = choice? % self.count();
        let first_other = if self.types_last {
            0
        } else {
            self.types.len() as u32
        };
        let is_slot = index
            .checked_sub(first_other)
            .and_then(|at| self.others.get(at as usize))
            .is_some_and(|o| o.0 == 5);
        Some(if is_slot { self.base() } else { index })
    }

    fn types(&self) -> impl Iterator<Item = Object<'_>> {
        self.types.iter().zip(0_u32..).map(|(plan, place)| {
            let element_flags = ElementFlags(plan.element_kind);
            let references = element_flags.contains(ElementFlags::REFERENCES);
            let pointers: Vec<u32> = (0..plan.words)
                .filter(|word| plan.pointer_mask >> word & 1 == 1)
                .map(|word| word * 8)
                .collect();
            Object::Type(TypeObject {
                name: &plan.name,
                flags: TypeFlags(plan.flags),
                size: plan.words * 8,
                align: (1_u16 << plan.align_bit) & !1,
                element: if references { 8 } else { plan.element },
                element_flags,
                ndims: plan.ndims,
                // Only to types before it, so that no circle comes about.
                parent: plan
                    .parent
                    .filter(|_| place > 0)
                    .map(|choice| self.base() + choice % place.max(1)),
                hash: plan.hash,
                element_type: plan.parent.map(|choice| self.ty(choice)),
                fields: plan
                    .fields
                    .iter()
                    .map(|field| self.field(field, plan.words * 8, &pointers))
                    .collect(),
                pointers,
            })
        })
    }

    fn field(
        &self,
        &(kind, choice, ty): &(u8, u32, Option<u32>),
        whole: u32,
        pointers: &[u32],
    ) -> Field {
        let ty = ty.map(|ty| self.ty(ty));
        let offset = choice % (whole + 1);
        let size = (choice >> 16) % (whole - offset + 1);
        match (kind, pointers.len()) {
            (2, _) => Field {
                offset,
                size,
                kind: FieldKind::Union,
                ty,
            },
            (1, 1..) => {
                let offset = pointers[choice as usize % pointers.len()];
                Field {
                    offset,
                    size: 8,
                    kind: FieldKind::Reference,
                    ty,
                }
            }
            _ => Field {
                offset,
                size,
                kind: FieldKind::Inline,
                ty,
            },
        }
    }

    fn other<'a>(&'a self, plan: &'a OtherPlan) -> Object<'a> {
        let (kind, choice, name, bytes, targets) = plan;
        match kind {
            0 => Object::Instance {
                ty: self.ty(*choice),
            },
            1 => Object::Symbol(name),
            2 => Object::String(bytes),
            // Zeros only: a type's reference slots must hold nothing.
            3 => {
                let bytes = &ZEROS[..bytes.len()];
                let slots = (bytes.len() / 8) as u32;
                let relocations = (0..slots)
                    .zip(targets)
                    .map(|(slot, target)| Relocation {
                        offset: slot * 8,
                        target: self.target(*target),
                    })
                    .collect();
                Object::Data(DataObject {
                    ty: self.ty(*choice),
                    bytes,
                    relocations,
                })
            }
            4 => self.array(*choice, bytes, targets),
            5 => Object::Slot(self.target(Some(*choice))),
            _ => Object::Opaque {
                name,
                id: name.len() as u64,
            },
        }
    }

    /// An array of an array type, if the chosen type is one, with as much of `bytes` as makes whole elements.
    fn array<'a>(&'a self, choice: u32, bytes: &'a [u8], targets: &[Option<u32>]) -> Object<'a> {
        let index = self.ty(choice);
        let Some(Object::Type(ty)) = self.types().nth((index - self.base()) as usize) else {
            return Object::Opaque { name: "", id: 0 };
        };
        let inline = ty.element_flags.contains(ElementFlags::INLINE_REFERENCES);
        if !ty.flags.contains(TypeFlags::ARRAY) || inline {
            return Object::Instance { ty: index };
        }
        let references = ty.element_flags.contains(ElementFlags::REFERENCES);
        let each =
            ty.element as usize + usize::from(ty.element_flags.contains(ElementFlags::UNION));
        let length = match (ty.ndims, references) {
            (0, _) => 1,
            (_, true) => targets.len(),
            (_, false) => bytes.len().checked_div(each).unwrap_or(3),
        };
        let mut dims = vec![1; ty.ndims as usize];
        if let Some(first) = dims.first_mut() {
            *first = length as u64;
        }
        if references {
            let references = (0..length)
                .map(|at| self.target(targets.get(at).copied().flatten()))
                .collect();
            return Object::Array(ArrayObject {
                ty: index,
                dims,
                bytes: &[],
                references,
            });
        }
        match bytes.get(..length * each) {
            Some(bytes) => Object::Array(ArrayObject {
                ty: index,
                dims,
                bytes,
                references: vec![],
            }),
            None => Object::String(bytes),
        }
    }

    fn archive(&self) -> Archive<'_> {
        let others = self.others.iter().map(|other| self.other(other));
        let objects = if self.types_last {
            others.chain(self.types()).collect()
        } else {
            self.types().chain(others).collect()
        };
        let [abi, producer, name, arguments, result] = self.texts.each_ref().map(String::as_str);
        let manifest = Manifest {
            abi,
            producer,
            entry: &self.symbols[0],
            name,
            arguments,
            result,
            imports: self.symbols.iter().map(String::as_str).collect(),
            dependencies: self
                .dependencies
                .iter()
                .map(|(soname, symbols)| Dependency {
                    soname,
                    symbols: symbols.iter().map(String::as_str).collect(),
                })
                .collect(),
            objects,
        };
        let images = self
            .images
            .iter()
            .map(|(bitcode, [triple, cpu, features], code)| Image {
                kind: if *bitcode {
                    ImageKind::Bitcode
                } else {
                    ImageKind::Object
                },
                triple,
                cpu,
                features,
                code,
            })
            .collect();
        Archive {
            manifest,
            images,
            ..Archive::default()
        }
    }
}

proptest! {
    #[test]
    fn archives_come_back(plan in plan()) {
        let archive = plan.archive();
        let (bytes, id) = archive.encode().unwrap();
        prop_assert_eq!(id, CodeId::of(&bytes));
        prop_assert_eq!(Archive::decode(&bytes).unwrap(), archive.clone());
        let manifest = archive.manifest.encode().unwrap();
        prop_assert_eq!(Manifest::decode(&manifest).unwrap(), archive.manifest);
        for end in 0..bytes.len() {
            prop_assert!(Archive::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn headers_come_back(
        kind in 0..Kind::ALL.len(),
        numbers in any::<(u16, u32, u32, u64, u32, u32, u32, u16)>(),
        code in any::<[u8; 16]>(),
        no_reply in any::<bool>(),
        timed in any::<bool>(),
        key in any::<[u8; 16]>(),
        extra in 0..1_usize << 40,
    ) {
        let (fan_out, session, origin, call, archive_len, deadline_ms, hop_budget, epoch) = numbers;
        let kind = Kind::ALL[kind];
        let (archive_len, archive) = match kind {
            Kind::Call if archive_len != 0 => (archive_len, Flags::HAS_ARCHIVE),
            Kind::Value | Kind::Throw | Kind::Error if timed => (32, Flags::TIMED),
            _ => (0, Flags::NONE),
        };
        let reply = if no_reply { Flags::NO_REPLY } else { Flags::NONE };
        let header = Header {
            kind, flags: archive.with(reply), fan_out, session, origin, call, code: CodePrefix(code),
            archive_len, deadline_ms, hop_budget, epoch, entry: 0,
        };
        let key = SessionKey::new(key);
        let body = archive_len as usize + extra;
        let bytes = header.encode(&key, body);
        prop_assert_eq!(Header::decode(&bytes), Ok(header));
        prop_assert_eq!(header.verify(&bytes, &key, body), Ok(()));
        prop_assert_eq!(header.payload_len(body), Ok(extra));
    }

    #[test]
    fn errors_come_back(code in any::<u32>(), message in ".{0,200}") {
        let error = ErrorPayload { code: ErrorCode(code), message: &message };
        let bytes = error.encode();
        prop_assert_eq!(ErrorPayload::decode(&bytes), Ok(error));
    }

    #[test]
    fn preambles_come_back(versions in any::<(u16, u16)>(), flags in any::<u8>()) {
        let (a, b) = versions;
        let preamble = Preamble { min_version: a.min(b), max_version: a.max(b), flags: PreambleFlags(flags) };
        prop_assert_eq!(Preamble::decode(&preamble.encode()), Ok(preamble));
    }

    #[test]
    fn handshakes_come_back(
        texts in vec(".{0,40}", 7),
        abis in vec(".{0,20}", 0..5),
        worker_address in vec(any::<u8>(), 0..300),
        numbers in any::<(u32, u32, u32, u64, u16)>(),
    ) {
        let (session, origin, pid, max_frame, epoch) = numbers;
        let hello = Hello {
            version: texts[0].clone(), role: Role::Origin, pid, hostname: texts[1].clone(), arch: texts[2].clone(),
            worker_address: worker_address.clone(), transport: texts[3].clone(), epoch,
        };
        prop_assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
        let welcome = Answer::Welcome(Box::new(Welcome {
            version: texts[0].clone(), session, origin, pid, hostname: texts[1].clone(), arch: texts[2].clone(),
            cpu: texts[3].clone(), features: texts[4].clone(), llvm: texts[5].clone(), abis, worker_address,
            transport: texts[6].clone(), max_frame, epoch,
        }));
        prop_assert_eq!(Answer::decode(&welcome.encode().unwrap()), Ok(welcome));
        let refused = Answer::Refused(Refusal { code: ErrorCode(session), message: texts[0].clone() });
        prop_assert_eq!(Answer::decode(&refused.encode().unwrap()), Ok(refused));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        crate::bodies::frame_header(&bytes);
        crate::bodies::archive(&bytes);
        crate::bodies::manifest(&bytes);
        crate::bodies::handshake(&bytes);
        crate::bodies::error_payload(&bytes);
        crate::bodies::directory(&bytes);
    }
}
