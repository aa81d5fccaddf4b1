//! An exception on its way to the origin: objects written as a graph, in the order of docs/ABI.md.
//!
//! Written without recursion, with limits: a graph is at most [`MAX_BYTES`] long and [`MAX_DEPTH`] deep; what lies beyond
//! is named, not sent. Shared and cyclic references become back references.

use crate::builtin::{Builtins, id};
use crate::constant::Constants;
use crate::defer::Deferred;
use crate::layout::{
    ARRAY_HASPTR, ARRAY_NDIMS_MASK, ARRAY_NDIMS_SHIFT, ARRAY_PTRARRAY, Array, DataType, SVEC_DATA,
    Value, reference_at, string_bytes, symbol_bytes, type_of,
};
use crate::types::{Record, TypeCell, element, flag};
use std::collections::HashMap;

/// The longest graph, about.
pub const MAX_BYTES: usize = 32 << 20;
/// The largest array that is sent with its elements.
pub const MAX_ARRAY_BYTES: usize = 16 << 20;
/// The most references from the exception to an object.
pub const MAX_DEPTH: u32 = 256;
/// Type references below this are numbers of built-in types; others are numbers of the archive's objects.
pub const FIRST_OBJECT_TYPE: u32 = 0x1_0000;

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
}

/// Writes one graph. Its owner keeps it outside what may fault, so that a graph of broken objects leaves nothing behind.
pub(crate) struct Encoder<'a> {
    out: Vec<u8>,
    /// Numbers of the objects that were written, by address.
    seen: HashMap<usize, u32>,
    /// What is made at the origin, by address.
    deferred: HashMap<usize, *const Deferred>,
    /// What is still to be written, the next last.
    pending: Vec<(*mut Value, u32)>,
    constants: &'a Constants,
    builtins: &'static Builtins,
}

impl<'a> Encoder<'a> {
    /// For an object of a call with these constants.
    pub(crate) fn new(constants: &'a Constants) -> Self {
        Self {
            out: Vec::with_capacity(256),
            seen: HashMap::new(),
            pending: Vec::new(),
            deferred: HashMap::new(),
            constants,
            builtins: Builtins::get(),
        }
    }

    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Writes the graph of `value`.
    ///
    /// # Safety
    /// - `value` is null or a Julia object of the call, and `deferred` its list; nobody changes them meanwhile.
    pub(crate) unsafe fn write(&mut self, value: *mut Value, deferred: *const Deferred) {
        // SAFETY: the call's own list.
        unsafe { crate::defer::by_object(deferred, &mut self.deferred) };
        self.pending.push((value, 0));
        while let Some((value, depth)) = self.pending.pop() {
            // SAFETY: the caller's promise, for everything that is reached from `value`.
            unsafe { self.value(value, depth) };
        }
    }
}

impl Encoder<'_> {
    unsafe fn value(&mut self, value: *mut Value, depth: u32) {
        if value.is_null() {
            return self.out.push(tag::UNDEF);
        }
        if let Some(&number) = self.seen.get(&(value as usize)) {
            self.out.push(tag::BACKREF);
            return self.u32(number);
        }
        if let Some(byte) = self.builtin_value(value) {
            return self.out.extend([tag::BUILTIN, byte]);
        }
        // SAFETY: an object, says the caller.
        let ty = unsafe { type_of(value) };
        // SAFETY: the type of a live object.
        let cell = unsafe { TypeCell::of(ty) };
        let record = cell.record();
        if record.builtin == id::DATA_TYPE {
            // SAFETY: a type object.
            return unsafe { self.type_value(value) };
        }
        if let Some(deferred) = self.deferred(value) {
            // SAFETY: its function and its arguments are objects of the call.
            return unsafe { self.call(value, deferred, depth) };
        }
        // What both sides know by its number. Not strings and numbers: their bytes are as short.
        let plain = matches!(record.builtin, id::STRING | id::SYMBOL);
        if let (false, Some(index)) = (plain, self.constants.index_of(value)) {
            self.out.push(tag::OBJECT);
            return self.u32(index);
        }
        if depth > MAX_DEPTH || self.out.len() > MAX_BYTES {
            return self.opaque(&record.name);
        }
        match record.builtin {
            id::SYMBOL => {
                // SAFETY: a symbol.
                let name = unsafe { symbol_bytes(value) };
                self.out.push(tag::SYMBOL);
                self.u32(name.len() as u32);
                self.out.extend(name);
            }
            id::STRING => {
                self.number(value);
                // SAFETY: a string.
                let bytes = unsafe { string_bytes(value) };
                let sent = &bytes[..bytes.len().min(MAX_ARRAY_BYTES)];
                self.out.push(tag::STRING);
                self.u64(sent.len() as u64);
                self.out.extend(sent);
            }
            // SAFETY: a simple vector.
            id::SIMPLE_VECTOR => unsafe { self.svec(value, depth) },
            id::OPAQUE => self.opaque("an object of the origin"),
            _ if record.flags & flag::SPECIAL != 0 => self.opaque(&record.name),
            // SAFETY: an array.
            _ if cell.is(flag::ARRAY) => unsafe { self.array(value.cast(), cell, depth) },
            // SAFETY: a struct.
            _ => unsafe { self.structure(value, ty, record, depth) },
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
    unsafe fn call(&mut self, value: *mut Value, deferred: *const Deferred, depth: u32) {
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
        let arguments = deferred.wrapping_add(1).cast::<*mut Value>();
        for i in (0..count).rev() {
            // SAFETY: `count` arguments follow.
            let argument = unsafe { arguments.wrapping_add(i).read() };
            self.pending.push((argument, depth + 1));
        }
    }

    fn type_reference(&self, ty: *const DataType, record: &Record) -> Option<u32> {
        if (1..=id::LAST_PUBLIC).contains(&record.builtin) {
            return Some(u32::from(record.builtin));
        }
        self.constants
            .index_of(ty.cast())
            .map(|index| index + FIRST_OBJECT_TYPE)
    }

    /// Has no number: one that holds itself is written until the depth ends it.
    unsafe fn svec(&mut self, value: *mut Value, depth: u32) {
        // SAFETY: a simple vector starts with its length.
        let length = unsafe { value.cast::<usize>().read() };
        self.out.push(tag::SVEC);
        self.u32(length as u32);
        for i in (0..length).rev() {
            // SAFETY: inside the vector.
            let item = unsafe { reference_at(value, SVEC_DATA + 8 * i) };
            self.pending.push((item, depth + 1));
        }
    }

    unsafe fn array(&mut self, array: *mut Array, cell: &TypeCell, depth: u32) {
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
        if flags & ARRAY_HASPTR != 0 && length > 0 {
            // Structs with references inside: there is no way to write them yet.
            return self.opaque(&record.name);
        }
        self.number(array.cast());
        self.out.push(tag::ARRAY);
        self.u32(number);
        let ndims = ((flags >> ARRAY_NDIMS_SHIFT) & ARRAY_NDIMS_MASK) as usize;
        self.u32(ndims as u32);
        for i in 0..ndims {
            // SAFETY: the dimensions follow one another from `nrows` on.
            let header = unsafe { crate::array::Header::new(array) };
            self.u64(header.dim(i) as u64);
        }
        let references = flags & ARRAY_PTRARRAY != 0;
        let element = if references { 8 } else { usize::from(elsize) };
        if length.saturating_mul(element)
            > MAX_ARRAY_BYTES.min(MAX_BYTES - self.out.len().min(MAX_BYTES))
        {
            return self.out.push(2);
        }
        if references {
            self.out.push(1);
            for i in (0..length).rev() {
                // SAFETY: inside the data.
                let item = unsafe { data.cast::<*mut Value>().wrapping_add(i).read() };
                self.pending.push((item, depth + 1));
            }
            return;
        }
        self.out.push(0);
        // SAFETY: inside the data.
        let bytes = unsafe { std::slice::from_raw_parts(data, length * element) };
        if record.element_flags & element::UNION == 0 {
            self.u64(bytes.len() as u64);
            self.out.extend(bytes);
        } else {
            // SAFETY: an array, says the caller.
            let selectors = unsafe { crate::array::Header::new(array) }.selectors();
            // SAFETY: a selector per element.
            let selectors = unsafe { std::slice::from_raw_parts(selectors, length) };
            self.u64((bytes.len() + length) as u64);
            self.out.extend(bytes);
            self.out.extend(selectors);
        }
    }

    unsafe fn structure(
        &mut self,
        value: *mut Value,
        ty: *const DataType,
        record: &Record,
        depth: u32,
    ) {
        let size = record.size as usize;
        let number = match self.type_reference(ty, record) {
            Some(number) => number,
            None => {
                // SAFETY: an object of that type.
                return unsafe { self.unnamed(value, ty, record) };
            }
        };
        self.number(value);
        self.out.push(tag::STRUCT);
        self.u32(number);
        self.u32(record.size);
        let start = self.out.len();
        // SAFETY: an object has its type's size.
        self.out
            .extend(unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        for &pointer in &record.pointers {
            let slot = start + pointer as usize;
            self.out[slot..slot + 8].fill(0);
        }
        self.u32(record.pointers.len() as u32);
        for &pointer in record.pointers.iter().rev() {
            // SAFETY: a reference slot.
            let item = unsafe { reference_at(value, pointer as usize) };
            self.pending.push((item, depth + 1));
        }
    }

    /// Of a type that the origin has no number for: indices that the runtime made, or a name.
    unsafe fn unnamed(&mut self, value: *mut Value, ty: *const DataType, record: &Record) {
        let count = if record.builtin == id::EMPTY_TUPLE {
            Some(0)
        } else {
            self.builtins.index_tuple_length(ty)
        };
        let Some(count) = count else {
            return self.opaque(&record.name);
        };
        self.out.push(tag::INTS);
        self.u32(count as u32);
        // SAFETY: a tuple of so many words.
        self.out
            .extend(unsafe { std::slice::from_raw_parts(value.cast::<u8>(), 8 * count) });
    }

    fn opaque(&mut self, name: &str) {
        let mut end = name.len().min(4096);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.out.push(tag::OPAQUE);
        self.u32(end as u32);
        self.out.extend(&name.as_bytes()[..end]);
    }

    fn number(&mut self, value: *mut Value) {
        let number = self.seen.len() as u32;
        self.seen.insert(value as usize, number);
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
