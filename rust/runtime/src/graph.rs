//! Objects on their way between an origin and a node: written as a graph, in the order of docs/ABI.md.
//!
//! This file writes. An exception is written with limits: its graph is at most [`MAX_BYTES`] long and [`MAX_DEPTH`] deep; what
//! lies beyond, or has no form, is named, not sent. A result is written whole or not at all, and its large arrays and strings lie in
//! a tail behind the graph. Both without recursion; shared and cyclic references become back references. `read.rs` is the
//! way back, for arguments; `value.rs` is what shipped code calls.

mod big;
mod read;
mod unnamed;
mod value;

pub(crate) use big::is_big;
pub(crate) use read::Reader;
pub(crate) use value::{Packed, bc_return, bc_table, bc_unpack, pack_result};

use crate::builtin::{Builtins, id};
use crate::constant::Constants;
use crate::defer::Deferred;
use crate::layout::{
    ARRAY_HASPTR, ARRAY_PTRARRAY, Array, CACHE_ALIGN, DataType, SVEC_DATA, TAG_CONSTANT, Value,
    reference_at, round_up, string_bytes, symbol_bytes, tag_of, type_of,
};
use crate::types::{Record, TypeCell, element, flag};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The longest graph of an exception, about.
pub const MAX_BYTES: usize = 32 << 20;
/// The largest array that is sent with its elements in an exception.
pub const MAX_ARRAY_BYTES: usize = 16 << 20;
/// The most references from the exception to an object.
pub const MAX_DEPTH: u32 = 256;
/// Type references below this are numbers of built-in types; others are numbers of the archive's objects.
pub const FIRST_OBJECT_TYPE: u32 = 0x1_0000;
/// Elements of arrays and strings above this many bytes lie in the tail of a value, not in its graph.
pub const TAIL_BYTES: usize = 4096;
/// Strings below this are written again where they are met again.
const SHORT_STRING: usize = 64;

/// First bytes of values in a graph.
pub mod tag {
    #![allow(missing_docs, reason = "docs/ABI.md explains each")]
    pub const UNDEF: u8 = 0;
    pub const OBJECT: u8 = 1;
    pub const BACKREF: u8 = 2;
    pub const STRUCT: u8 = 3;
    pub const ARRAY: u8 = 4;
    pub const STRING: u8 = 5;
    pub const SYMBOL: u8 = 6;
    pub const BUILTIN: u8 = 7;
    pub const TYPE: u8 = 8;
    pub const INTS: u8 = 9;
    pub const OPAQUE: u8 = 10;
    pub const SVEC: u8 = 11;
    pub const DEFERRED: u8 = 12;
    pub const LONG_STRING: u8 = 13;
    pub const BIG_INT: u8 = 14;
    pub const BIG_FLOAT: u8 = 15;
    pub const TUPLE: u8 = 16;
}

/// How the elements of an ARRAY are written.
pub mod form {
    #![allow(missing_docs, reason = "docs/ABI.md explains each")]
    pub const BYTES: u8 = 0;
    pub const REFERENCES: u8 = 1;
    pub const LEFT_OUT: u8 = 2;
    pub const TAIL: u8 = 3;
    pub const INLINE: u8 = 4;
}

/// What a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// As much of it as fits.
    Exception,
    /// All of it, or nothing.
    Value,
}

/// Addresses, hashed.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

/// References that are still to be written, one after the other.
enum Frame {
    /// Words.
    Words {
        next: *const *mut Value,
        left: usize,
    },
    /// The slots of an object, or of the elements of an array.
    Slots {
        object: *const u8,
        pointers: *const [u32],
        next: usize,
        stride: usize,
        left: usize,
    },
}

impl Frame {
    /// The next reference.
    ///
    /// # Safety
    /// - the object is alive.
    unsafe fn next(&mut self) -> Option<*mut Value> {
        match self {
            Self::Words { next, left } => {
                *left = left.checked_sub(1)?;
                let slot = *next;
                *next = slot.wrapping_add(1);
                // SAFETY: one of the words.
                Some(unsafe { slot.read() })
            }
            Self::Slots {
                object,
                pointers,
                next,
                stride,
                left,
            } => {
                // SAFETY: the list of a type that lives.
                let pointers = unsafe { &**pointers };
                if *next == pointers.len() {
                    *next = 0;
                    *object = object.wrapping_add(*stride);
                    *left = left.saturating_sub(1);
                }
                if *left == 0 || pointers.is_empty() {
                    return None;
                }
                let offset = pointers[*next] as usize;
                *next += 1;
                // SAFETY: a reference slot.
                Some(unsafe { reference_at(object.cast(), offset) })
            }
        }
    }
}

/// Writes one graph. Its owner keeps it outside what may fault, so that a graph of broken objects leaves nothing behind.
pub(crate) struct Encoder<'a> {
    purpose: Purpose,
    out: Vec<u8>,
    /// What lies in the tail: where in the tail, where in memory, and how many bytes.
    tail: Vec<(usize, *const u8, usize)>,
    tail_bytes: usize,
    /// Numbers of objects that were written, by address.
    seen: ByAddress<u32>,
    /// How many objects have a number.
    numbered: u32,
    /// The type that was asked for last, and its number.
    last_type: (*const DataType, Option<u32>),
    /// What is made at the origin, by address.
    deferred: ByAddress<*const Deferred>,
    /// What is still to be written, the next last.
    pending: Vec<Frame>,
    /// What a value holds that has no form.
    refused: Option<Box<str>>,
    constants: &'a Constants,
    builtins: &'static Builtins,
}

impl<'a> Encoder<'a> {
    /// For an object of a call with these constants.
    pub(crate) fn new(constants: &'a Constants, purpose: Purpose) -> Self {
        Self {
            purpose,
            out: Vec::with_capacity(256),
            tail: Vec::new(),
            tail_bytes: 0,
            seen: ByAddress::default(),
            numbered: 0,
            last_type: (std::ptr::null(), None),
            pending: Vec::new(),
            deferred: ByAddress::default(),
            refused: None,
            constants,
            builtins: Builtins::get(),
        }
    }

    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// What cannot be sent, if there was something.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The tail's pieces: where in the tail, where in memory, and how many bytes.
    pub(crate) fn tail(&self) -> &[(usize, *const u8, usize)] {
        &self.tail
    }

    /// Writes the graph of `value`.
    ///
    /// # Safety
    /// - `value` is null or a Julia object of the call, and `deferred` its list; nobody changes them meanwhile.
    pub(crate) unsafe fn write(&mut self, value: *mut Value, deferred: *const Deferred) {
        // SAFETY: the call's own list.
        unsafe {
            crate::defer::by_object(deferred, |object, deferred| {
                self.deferred.insert(object, deferred);
            })
        };
        // SAFETY: the caller's promise.
        unsafe { self.value(value) };
        while let Some(frame) = self.pending.last_mut() {
            // SAFETY: what it belongs to was reached from `value`.
            match unsafe { frame.next() } {
                // SAFETY: the caller's promise, for everything that is reached from `value`.
                Some(value) => unsafe { self.value(value) },
                None => {
                    self.pending.pop();
                }
            }
            if self.refused.is_some() {
                return;
            }
        }
    }
}

impl Encoder<'_> {
    unsafe fn value(&mut self, value: *mut Value) {
        if value.is_null() {
            return self.out.push(tag::UNDEF);
        }
        // SAFETY: an object, says the caller.
        let ty = unsafe { type_of(value) };
        // SAFETY: the type of a live object.
        let cell = unsafe { TypeCell::of(ty) };
        let record = cell.record();
        if record.builtin == id::STRING && self.deferred.is_empty() {
            // SAFETY: a string.
            return unsafe { self.string(value) };
        }
        if let Some(&number) = self.seen.get(&(value as usize)) {
            self.out.push(tag::BACKREF);
            return self.u32(number);
        }
        if record.builtin == id::DATA_TYPE {
            // SAFETY: a type object.
            return unsafe { self.type_value(value) };
        }
        if let Some(deferred) = self.deferred(value) {
            // SAFETY: its function and its arguments are objects of the call.
            return unsafe { self.call(value, deferred) };
        }
        if record.builtin == id::STRING {
            // SAFETY: a string.
            return unsafe { self.string(value) };
        }
        // SAFETY: an object has a tag.
        let lasting = unsafe { tag_of(value) } & TAG_CONSTANT == TAG_CONSTANT;
        if lasting {
            if let Some(byte) = self.builtin_value(value) {
                return self.out.extend([tag::BUILTIN, byte]);
            }
            // What both sides know by its number. Not symbols: their bytes are as short.
            if let (false, Some(index)) =
                (record.builtin == id::SYMBOL, self.constants.index_of(value))
            {
                self.out.push(tag::OBJECT);
                return self.u32(index);
            }
        }
        if self.is_full() {
            return self.opaque(&record.name);
        }
        match record.builtin {
            id::SYMBOL => {
                // SAFETY: a symbol.
                let name = unsafe { symbol_bytes(value) };
                self.number(value);
                self.out.push(tag::SYMBOL);
                self.u32(name.len() as u32);
                self.out.extend(name);
            }
            // SAFETY: a simple vector.
            id::SIMPLE_VECTOR => unsafe { self.svec(value) },
            id::OPAQUE => {
                let name = self
                    .constants
                    .name_of(value)
                    .unwrap_or("an object of the origin");
                self.opaque(name);
            }
            _ if record.flags & flag::SPECIAL != 0 => self.opaque(&record.name),
            // SAFETY: an array.
            _ if cell.is(flag::ARRAY) => unsafe { self.array(value.cast(), cell) },
            // SAFETY: a struct.
            _ => unsafe { self.structure(value, ty, record) },
        }
    }

    /// No further object may be written.
    fn is_full(&self) -> bool {
        self.purpose == Purpose::Exception
            && (self.pending.len() > MAX_DEPTH as usize || self.out.len() > MAX_BYTES)
    }

    unsafe fn string(&mut self, value: *mut Value) {
        // SAFETY: a string, says the caller.
        let bytes = unsafe { string_bytes(value) };
        if self.purpose == Purpose::Value && bytes.len() < SHORT_STRING {
            self.numbered += 1;
        } else if let Some(&number) = self.seen.get(&(value as usize)) {
            self.out.push(tag::BACKREF);
            return self.u32(number);
        } else if self.is_full() {
            return self.opaque("Core.String");
        } else {
            self.number(value);
        }
        if self.purpose == Purpose::Value && bytes.len() > TAIL_BYTES {
            self.out.push(tag::LONG_STRING);
            self.u64(bytes.len() as u64);
            return self.put_tail(&[bytes]);
        }
        let sent = if self.purpose == Purpose::Value {
            bytes
        } else {
            &bytes[..bytes.len().min(MAX_ARRAY_BYTES)]
        };
        self.out.push(tag::STRING);
        self.u64(sent.len() as u64);
        self.out.extend(sent);
    }

    /// Puts the pieces, one right behind the other, into the tail, and writes where that is.
    fn put_tail(&mut self, pieces: &[&[u8]]) {
        self.tail_bytes = round_up(self.tail_bytes, CACHE_ALIGN);
        self.u64(self.tail_bytes as u64);
        for piece in pieces {
            self.tail
                .push((self.tail_bytes, piece.as_ptr(), piece.len()));
            self.tail_bytes += piece.len();
        }
    }

    fn builtin_value(&self, value: *mut Value) -> Option<u8> {
        [
            self.builtins.nothing(),
            self.builtins.bool(true),
            self.builtins.bool(false),
        ]
        .iter()
        .position(|known| *known == value)
        .map(|place| place as u8)
    }

    unsafe fn type_value(&mut self, value: *mut Value) {
        let ty = value.cast::<DataType>();
        // SAFETY: a type object, says the caller.
        let record = unsafe { TypeCell::of(ty) }.record();
        match self.type_reference(ty, record) {
            Some(number) => {
                self.out.push(tag::TYPE);
                self.u32(number);
            }
            None => self.opaque(&record.name),
        }
    }

    fn deferred(&self, value: *mut Value) -> Option<*const Deferred> {
        self.deferred.get(&(value as usize)).copied()
    }

    /// What the origin makes by a call of its own.
    unsafe fn call(&mut self, value: *mut Value, deferred: *const Deferred) {
        // SAFETY: lies in the call's arena.
        let Deferred {
            function, count, ..
        } = unsafe { deferred.read() };
        self.number(value);
        self.out.push(tag::DEFERRED);
        match self.constants.index_of(function) {
            Some(index) => {
                self.out.push(tag::OBJECT);
                self.u32(index);
            }
            None => self.opaque("a function"),
        }
        self.u32(count as u32);
        self.pending.push(Frame::Words {
            next: deferred.wrapping_add(1).cast::<*mut Value>(),
            left: count,
        });
    }

    fn type_reference(&mut self, ty: *const DataType, record: &Record) -> Option<u32> {
        if (1..=id::LAST_PUBLIC).contains(&record.builtin) {
            return Some(u32::from(record.builtin));
        }
        if self.last_type.0 != ty {
            let index = self.constants.index_of(ty.cast());
            self.last_type = (ty, index.map(|index| index + FIRST_OBJECT_TYPE));
        }
        self.last_type.1
    }

    unsafe fn svec(&mut self, value: *mut Value) {
        // SAFETY: a simple vector starts with its length.
        let length = unsafe { value.cast::<usize>().read() };
        self.number(value);
        self.out.push(tag::SVEC);
        self.u32(length as u32);
        self.pending.push(Frame::Words {
            next: value.cast::<u8>().wrapping_add(SVEC_DATA).cast(),
            left: length,
        });
    }

    unsafe fn array(&mut self, array: *mut Array, cell: &TypeCell) {
        let record = cell.record();
        let Some(number) = self.type_reference(cell.data_type(), record) else {
            return self.opaque(&record.name);
        };
        // SAFETY: an array, says the caller.
        let Array {
            flags,
            length,
            data,
            elsize,
            ..
        } = unsafe { array.read() };
        // SAFETY: an array, says the caller.
        let header = unsafe { crate::array::Header::new(array) };
        let inner = cell.links().and_then(|links| links.element.as_deref());
        let inline = flags & ARRAY_HASPTR != 0;
        if inline && inner.is_none() {
            return self.opaque(&record.name);
        }
        self.number(array.cast());
        self.out.push(tag::ARRAY);
        self.u32(number);
        let ndims = header.ndims();
        self.u32(ndims as u32);
        for i in 0..ndims {
            self.u64(header.dim(i) as u64);
        }
        let references = flags & ARRAY_PTRARRAY != 0;
        let element = if references { 8 } else { usize::from(elsize) };
        if self.purpose == Purpose::Exception
            && length.saturating_mul(element)
                > MAX_ARRAY_BYTES.min(MAX_BYTES - self.out.len().min(MAX_BYTES))
        {
            return self.out.push(form::LEFT_OUT);
        }
        if references {
            self.out.push(form::REFERENCES);
            return self.pending.push(Frame::Words {
                next: data.cast(),
                left: length,
            });
        }
        // SAFETY: inside the data.
        let bytes = unsafe { std::slice::from_raw_parts(data, length * element) };
        if let (true, Some(inner)) = (inline, inner) {
            self.out.push(form::INLINE);
            self.u64(bytes.len() as u64);
            let start = self.out.len();
            self.out.extend(bytes);
            for at in (start..self.out.len()).step_by(element.max(1)) {
                self.forget_references(at, &inner.record().pointers);
            }
            return self.pending.push(Frame::Slots {
                object: data,
                pointers: &raw const *inner.record().pointers,
                next: 0,
                stride: element,
                left: length,
            });
        }
        let selectors: &[u8] = if record.element_flags & element::UNION == 0 {
            &[]
        } else {
            // SAFETY: a selector per element.
            unsafe { std::slice::from_raw_parts(header.selectors(), length) }
        };
        if self.purpose == Purpose::Value && bytes.len() > TAIL_BYTES {
            self.out.push(form::TAIL);
            return self.put_tail(&[bytes, selectors]);
        }
        self.out.push(form::BYTES);
        self.u64((bytes.len() + selectors.len()) as u64);
        self.out.extend(bytes);
        self.out.extend(selectors);
    }

    /// Zeros in the reference slots of what was written from `start` on.
    fn forget_references(&mut self, start: usize, pointers: &[u32]) {
        for &pointer in pointers {
            let slot = start + pointer as usize;
            self.out[slot..slot + 8].fill(0);
        }
    }

    unsafe fn structure(&mut self, value: *mut Value, ty: *const DataType, record: &Record) {
        let number = match self.type_reference(ty, record) {
            Some(number) => number,
            None => {
                // SAFETY: an object of that type.
                return unsafe { self.unnamed(value, ty) };
            }
        };
        self.count_object(value, record);
        if let Some(kind) = big::kind(record) {
            // SAFETY: of that type.
            return unsafe { self.big(value, kind, number) };
        }
        self.out.push(tag::STRUCT);
        self.u32(number);
        // SAFETY: an object of that type.
        unsafe { self.contents(value, record) };
    }

    /// The bytes of a struct, and what its slots refer to.
    ///
    /// # Safety
    /// - `value` is an object of that type.
    unsafe fn contents(&mut self, value: *mut Value, record: &Record) {
        let size = record.size as usize;
        self.u32(record.size);
        let start = self.out.len();
        // SAFETY: an object has its type's size.
        self.out
            .extend(unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        self.forget_references(start, &record.pointers);
        self.u32(record.pointers.len() as u32);
        if !record.pointers.is_empty() {
            self.pending.push(Frame::Slots {
                object: value.cast(),
                pointers: &raw const *record.pointers,
                next: 0,
                stride: 0,
                left: 1,
            });
        }
    }

    fn opaque(&mut self, name: &str) {
        if self.purpose == Purpose::Value {
            self.refused.get_or_insert_with(|| name.into());
        }
        let mut end = name.len().min(4096);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.out.push(tag::OPAQUE);
        self.u32(end as u32);
        self.out.extend(&name.as_bytes()[..end]);
    }

    fn number(&mut self, value: *mut Value) {
        self.seen.insert(value as usize, self.numbered);
        self.numbered += 1;
    }

    fn u32(&mut self, word: u32) {
        self.out.extend(word.to_le_bytes());
    }

    fn u64(&mut self, word: u64) {
        self.out.extend(word.to_le_bytes());
    }
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests;

#[cfg(test)]
mod round_trips;
