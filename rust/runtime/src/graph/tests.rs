//! Graphs, read back by a decoder of this file's own.

use super::*;
use crate::array::{jl_alloc_array_1d, jl_arrayset};
use crate::boxes::jl_box_int64;
use crate::constant::Description;
use crate::layout::set_reference_at;
use crate::memory::{object, struct_of};
use crate::string::from_bytes;
use crate::thread::attach;
use crate::types::{TypeDescription, TypeRef, intern};

#[derive(Debug, PartialEq)]
enum Node {
    Undef,
    Object(u32),
    Backref(u32),
    Struct(u32, Vec<u8>, Vec<Node>),
    Tuple(Vec<u32>, Vec<u8>, Vec<Node>),
    Array(u32, Vec<u64>, Vec<u8>),
    References(u32, Vec<u64>, Vec<Node>),
    Elided(u32, Vec<u64>),
    String(Vec<u8>),
    Symbol(Vec<u8>),
    Builtin(u8),
    Type(u32),
    Ints(Vec<i64>),
    Opaque(String),
    Svec(Vec<Node>),
    Deferred(Box<Node>, Vec<Node>),
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head.to_vec()
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    /// The types of a tuple's parts, those of inner tuples behind the mark.
    fn parts(&mut self) -> Vec<u32> {
        let count = self.u32();
        let mut parts = vec![count];
        for _ in 0..count {
            parts.push(self.u32());
            if parts.last() == Some(&unnamed::TUPLE_TYPE) {
                parts.extend(self.parts());
            }
        }
        parts
    }

    fn nodes(&mut self, count: u64) -> Vec<Node> {
        (0..count).map(|_| self.node()).collect()
    }

    fn node(&mut self) -> Node {
        match self.u8() {
            tag::UNDEF => Node::Undef,
            tag::OBJECT => Node::Object(self.u32()),
            tag::BACKREF => Node::Backref(self.u32()),
            tag::STRUCT => {
                let (ty, size) = (self.u32(), self.u32());
                let bytes = self.take(size as usize);
                let count = self.u32();
                Node::Struct(ty, bytes, self.nodes(count.into()))
            }
            tag::TUPLE => {
                let parts = self.parts();
                let size = self.u32();
                let bytes = self.take(size as usize);
                let count = self.u32();
                Node::Tuple(parts, bytes, self.nodes(count.into()))
            }
            tag::ARRAY => {
                let (ty, ndims) = (self.u32(), self.u32());
                let dims: Vec<u64> = (0..ndims).map(|_| self.u64()).collect();
                match self.u8() {
                    0 => {
                        let count = self.u64();
                        Node::Array(ty, dims, self.take(count as usize))
                    }
                    1 => {
                        let count = dims.iter().product();
                        let nodes = self.nodes(count);
                        Node::References(ty, dims, nodes)
                    }
                    _ => Node::Elided(ty, dims),
                }
            }
            tag::STRING => {
                let count = self.u64();
                Node::String(self.take(count as usize))
            }
            tag::SYMBOL => {
                let count = self.u32();
                Node::Symbol(self.take(count as usize))
            }
            tag::BUILTIN => Node::Builtin(self.u8()),
            tag::TYPE => Node::Type(self.u32()),
            tag::INTS => {
                let count = self.u32();
                Node::Ints((0..count).map(|_| self.u64() as i64).collect())
            }
            tag::OPAQUE => {
                let count = self.u32();
                Node::Opaque(String::from_utf8(self.take(count as usize)).unwrap())
            }
            tag::SVEC => {
                let count = self.u32();
                Node::Svec(self.nodes(count.into()))
            }
            tag::DEFERRED => {
                let function = Box::new(self.node());
                let count = self.u32();
                Node::Deferred(function, self.nodes(count.into()))
            }
            other => panic!("tag {other}"),
        }
    }
}

fn decode(bytes: &[u8]) -> Node {
    let mut reader = Reader(bytes);
    let node = reader.node();
    assert!(reader.0.is_empty(), "{} bytes left", reader.0.len());
    node
}

fn packed(value: *mut Value, constants: &Constants) -> Node {
    decode(&encode(value, constants))
}

fn encode(value: *mut Value, constants: &Constants) -> Vec<u8> {
    let mut encoder = Encoder::new(constants, Purpose::Exception);
    // SAFETY: the tests pass live objects and no deferred ones.
    unsafe { encoder.write(value, std::ptr::null()) };
    encoder.bytes().to_vec()
}

fn description<'a>(
    name: &'a str,
    flags: u32,
    size: u32,
    pointers: &'a [u32],
) -> TypeDescription<'a> {
    TypeDescription {
        name,
        flags: flags | flag::CONCRETE,
        size,
        align: 8,
        pointers,
        element: 0,
        element_flags: 0,
        ndims: 0,
        hash: 0,
    }
}

/// An archive that knows one type.
fn archive(ty: TypeDescription<'_>) -> (Constants, TypeRef) {
    let cell = intern(&ty).unwrap();
    let description = Description::Type {
        ty,
        parent: None,
        element: None,
        fields: Vec::new(),
    };
    (
        Constants::build(&[
            Description::Opaque {
                name: "first",
                id: 0,
            },
            description,
        ])
        .unwrap(),
        cell,
    )
}

fn nothing_known() -> Constants {
    Constants::build(&[]).unwrap()
}

const OWN: u32 = FIRST_OBJECT_TYPE + 1;

#[test]
fn plain_values() {
    attach();
    let constants = nothing_known();
    let builtins = Builtins::get();
    assert_eq!(packed(std::ptr::null_mut(), &constants), Node::Undef);
    assert_eq!(packed(builtins.nothing(), &constants), Node::Builtin(0));
    assert_eq!(packed(builtins.bool(true), &constants), Node::Builtin(1));
    assert_eq!(packed(builtins.bool(false), &constants), Node::Builtin(2));
    assert_eq!(
        packed(builtins.ty(id::FLOAT64).cast(), &constants),
        Node::Type(13)
    );
    assert_eq!(
        packed(crate::symbol::intern("sym").value(), &constants),
        Node::Symbol(b"sym".to_vec())
    );
    // SAFETY: on an attached thread.
    let (int, text) = unsafe { (jl_box_int64(-2), from_bytes(b"text")) };
    assert_eq!(
        packed(int, &constants),
        Node::Struct(4, (-2_i64).to_le_bytes().to_vec(), vec![])
    );
    assert_eq!(packed(text, &constants), Node::String(b"text".to_vec()));
}

#[test]
fn shared_and_circular_references() {
    attach();
    let (constants, ty) = archive(description("Test.GraphNode", flag::MUTABLE, 24, &[0, 8]));
    // SAFETY: on an attached thread; the objects have 24 bytes and two references.
    let first = unsafe {
        let text = from_bytes(b"shared");
        let (a, b) = (object(24, ty.data_type()), object(24, ty.data_type()));
        a.cast::<[u64; 3]>().write([0, 0, 7]);
        b.cast::<[u64; 3]>().write([0, 0, 8]);
        set_reference_at(a, 0, text);
        set_reference_at(a, 8, b);
        set_reference_at(b, 0, a);
        set_reference_at(b, 8, text);
        a
    };
    let bytes = |last| [vec![0; 16], vec![last, 0, 0, 0, 0, 0, 0, 0]].concat();
    let inner = Node::Struct(OWN, bytes(8), vec![Node::Backref(0), Node::Backref(1)]);
    let expected = Node::Struct(OWN, bytes(7), vec![Node::String(b"shared".to_vec()), inner]);
    assert_eq!(packed(first, &constants), expected);
}

#[test]
fn the_archives_own_objects_go_by_number() {
    attach();
    let (constants, _) = archive(description("Test.GraphOwn", 0, 8, &[]));
    assert_eq!(
        packed(constants.address(0).unwrap(), &constants),
        Node::Object(0)
    );
    assert_eq!(
        packed(constants.address(1).unwrap(), &constants),
        Node::Type(OWN)
    );
}

#[test]
fn types_without_a_number_go_by_name() {
    attach();
    let constants = nothing_known();
    let ty = intern(&description("Test.GraphUnknown", 0, 8, &[])).unwrap();
    // SAFETY: on an attached thread.
    let value = unsafe { object(8, ty.data_type()) };
    assert_eq!(
        packed(value, &constants),
        Node::Opaque("Test.GraphUnknown".into())
    );
    assert_eq!(
        packed(ty.value(), &constants),
        Node::Opaque("Test.GraphUnknown".into())
    );
}

#[test]
fn indices_need_no_type() {
    attach();
    // SAFETY: on an attached thread; the tuple has two words.
    let tuple = unsafe {
        let tuple = object(16, Builtins::get().index_tuple(2));
        tuple.cast::<[i64; 2]>().write([3, -4]);
        tuple
    };
    assert_eq!(packed(tuple, &nothing_known()), Node::Ints(vec![3, -4]));
    assert_eq!(
        packed(Builtins::get().instance(id::EMPTY_TUPLE), &nothing_known()),
        Node::Ints(vec![])
    );
}

fn vector_type(name: &str, element: u32, element_flags: u32) -> TypeDescription<'_> {
    TypeDescription {
        element,
        element_flags,
        ndims: 1,
        ..description(name, flag::ARRAY | flag::MUTABLE, 0, &[])
    }
}

#[test]
fn arrays_of_all_kinds() {
    attach();
    let (constants, ty) = archive(vector_type("Test.GraphVector", 2, 0));
    // SAFETY: on an attached thread; the indices are inside.
    unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 3);
        (*array).data.cast::<[u16; 3]>().write([1, 2, 3]);
        let expected = Node::Array(OWN, vec![3], vec![1, 0, 2, 0, 3, 0]);
        assert_eq!(packed(array.cast(), &constants), expected);
        let huge = jl_alloc_array_1d(ty.data_type(), MAX_ARRAY_BYTES);
        assert_eq!(
            packed(huge.cast(), &constants),
            Node::Elided(OWN, vec![MAX_ARRAY_BYTES as u64])
        );
    }
    let (constants, ty) = archive(vector_type("Test.GraphReferences", 8, element::REFERENCES));
    // SAFETY: as above.
    unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 3);
        jl_arrayset(array, array.cast(), 0);
        jl_arrayset(array, Builtins::get().nothing(), 2);
        let expected = Node::References(
            OWN,
            vec![3],
            vec![Node::Backref(0), Node::Undef, Node::Builtin(0)],
        );
        assert_eq!(packed(array.cast(), &constants), expected);
    }
}

#[test]
fn depth_has_its_limit() {
    attach();
    let (constants, ty) = archive(description("Test.GraphChain", flag::MUTABLE, 8, &[0]));
    // SAFETY: on an attached thread.
    let mut node = unsafe { struct_of(ty.data_type(), [std::ptr::null_mut()]) };
    for _ in 0..100_000 {
        // SAFETY: as above.
        node = unsafe { struct_of(ty.data_type(), [node]) };
    }
    let mut at = &packed(node, &constants);
    let mut depth = 0;
    while let Node::Struct(_, _, inner) = at {
        depth += 1;
        at = &inner[0];
    }
    assert_eq!(
        (depth, at),
        (MAX_DEPTH + 1, &Node::Opaque("Test.GraphChain".into()))
    );
}

#[test]
fn size_has_its_limit() {
    attach();
    let (constants, ty) = archive(vector_type("Test.GraphMany", 8, element::REFERENCES));
    // Forty strings of a megabyte each.
    // SAFETY: on an attached thread; the indices are inside.
    let array = unsafe {
        let array = jl_alloc_array_1d(ty.data_type(), 40);
        for i in 0..40 {
            jl_arrayset(array, from_bytes(&vec![b'x'; 1 << 20]), i);
        }
        array
    };
    let bytes = encode(array.cast(), &constants);
    assert!(bytes.len() <= MAX_BYTES + (2 << 20), "{}", bytes.len());
    let Node::References(_, _, items) = decode(&bytes) else {
        panic!("not an array")
    };
    assert_eq!(items[39], Node::Opaque("Core.String".into()));
}

#[test]
fn tuples_that_nobody_described_tell_their_parts() {
    attach();
    let constants = Constants::build(&[]).unwrap();
    let tuple = |values: &[*mut Value]| {
        // SAFETY: so many objects, on an attached thread.
        unsafe {
            crate::tuple::jl_f_tuple(
                std::ptr::null_mut(),
                crate::function::Args::new(values.as_ptr()),
                values.len() as u32,
            )
        }
    };
    // SAFETY: on an attached thread.
    let (text, one) = unsafe { (from_bytes(b"x"), jl_box_int64(1)) };
    let builtins = Builtins::get();
    let empty = builtins.instance(id::EMPTY_TUPLE);
    let inner = tuple(&[builtins.uint8(7), empty]);
    let (string, int64) = (u32::from(id::STRING), u32::from(id::INT64));
    let tuple_type = unnamed::TUPLE_TYPE;
    let parts = vec![
        3,
        string,
        int64,
        tuple_type,
        2,
        id::UINT8.into(),
        tuple_type,
        0,
    ];
    let mut bytes = vec![0; 24];
    bytes[8] = 1;
    bytes[16] = 7;
    assert_eq!(
        packed(tuple(&[text, one, inner]), &constants),
        Node::Tuple(parts, bytes, vec![Node::String(b"x".to_vec())])
    );
    // Julia would keep the exception's bytes in the tuple, the runtime keeps a reference.
    // SAFETY: a struct with one reference.
    let error = unsafe { struct_of(builtins.ty(id::ERROR_EXCEPTION), [text]) };
    assert!(matches!(
        packed(tuple(&[one, error]), &constants),
        Node::Opaque(_)
    ));
}
