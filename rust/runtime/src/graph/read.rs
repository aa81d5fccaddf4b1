//! A graph from an origin, made into objects of the call. Nothing in it is believed.
//!
//! Every length is compared with what is there before memory is taken, every type with what the archive describes, every
//! reference with the type that its slot is declared with; nothing recurses. What breaks a rule is [`Malformed`]. The objects
//! obey Julia's layouts then; whether they obey their authors' invariants (a `Dict` with tables of one length, say) is
//! beyond any decoder, and whoever may send arguments may send code, too.

use super::{ByAddress, FIRST_OBJECT_TYPE, TAIL_BYTES, big, form, tag};
use crate::array::{Header, bc_array_over, new_array};
use crate::builtin::{Builtins, id};
use crate::constant::Constants;
use crate::function::jl_alloc_svec;
use crate::layout::{CACHE_ALIGN, SVEC_DATA, Value, round_up};
use crate::memory::object;
use crate::string::{from_bytes, symbol_of_call};
use crate::types::{self, Declared, TypeCell, element, flag};
use std::ptr;

/// What is wrong with a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(super) type Read<T> = Result<T, Malformed>;

pub(super) fn check(holds: bool, otherwise: &'static str) -> Read<()> {
    if holds {
        Ok(())
    } else {
        Err(Malformed(otherwise))
    }
}

/// A reference slot of a type, and what may be in it.
struct Slot {
    offset: usize,
    declared: Declared,
}

/// What reading needs to know of a type.
struct Plan {
    slots: Box<[Slot]>,
    /// Selectors of inline unions: where they are, and how many members there are.
    selectors: Box<[(usize, u8)]>,
    /// It is a hash table.
    table: bool,
}

/// References that are still to be read.
enum Frame {
    /// Words, each of which may hold what is declared.
    Words {
        next: *mut *mut Value,
        left: usize,
        declared: Declared,
    },
    /// The slots of objects that lie one after the other.
    Slots {
        object: *mut u8,
        plan: usize,
        next: usize,
        stride: usize,
        left: usize,
    },
}

/// Reads one graph. It belongs to the call, not to the function that reads: memory may run out in the middle, which is a jump.
pub(crate) struct Reader {
    constants: *const Constants,
    payload: *mut u8,
    /// Where the graph ends and the tail may begin.
    end: usize,
    length: usize,
    at: usize,
    /// Where the next piece of the tail may begin.
    tail: usize,
    made: Vec<*mut Value>,
    /// The hash tables among them.
    tables: Vec<*mut Value>,
    frames: Vec<Frame>,
    plans: Vec<Plan>,
    plan_of: ByAddress<usize>,
}

const ENDS: &str = "it ends in the middle of a value";
const NO_TYPE: &str = "it names a type that is none";

impl Reader {
    /// For a payload: eight bytes that say where the graph ends, the graph, the tail.
    ///
    /// # Safety
    /// - `payload` is the call's, `length` bytes that nobody else uses and that live as long as the call; so do the constants.
    pub(crate) unsafe fn new(payload: *mut u8, length: usize, constants: *const Constants) -> Self {
        Self {
            constants,
            payload,
            end: length,
            length,
            at: 0,
            tail: 0,
            made: Vec::new(),
            tables: Vec::new(),
            frames: Vec::new(),
            plans: Vec::new(),
            plan_of: ByAddress::default(),
        }
    }

    /// The object that the payload describes.
    ///
    /// # Safety
    /// - called within a call, from shipped code: throws when there is no memory. The reader is not used again then.
    pub(crate) unsafe fn read(&mut self) -> Read<*mut Value> {
        let end = self.u64()?;
        check(
            end >= 8 && end <= self.length as u64,
            "its graph is longer than it is",
        )?;
        self.end = end as usize;
        self.tail = round_up(self.end, CACHE_ALIGN);
        // SAFETY: the caller's promise.
        let root = unsafe { self.value() }?;
        check(!root.is_null(), "it is undefined")?;
        while !self.frames.is_empty() {
            // SAFETY: as above.
            unsafe { self.step() }?;
        }
        check(self.at == self.end, "something follows the graph")?;
        Ok(root)
    }

    /// The hash tables that were read.
    pub(crate) fn into_tables(self) -> Vec<*mut Value> {
        self.tables
    }

    /// Reads on in the innermost frame until another one opens, or it is done.
    unsafe fn step(&mut self) -> Read<()> {
        let depth = self.frames.len();
        while self.frames.len() == depth {
            let Some((slot, declared)) = self.next_slot() else {
                self.frames.pop();
                return Ok(());
            };
            // SAFETY: the caller's promise.
            let value = unsafe { self.value() }?;
            if !value.is_null() {
                // SAFETY: an object that was just made, or one of the archive's.
                let fits = unsafe { declared.holds(value) };
                check(fits, "a reference is not of its field's type")?;
            }
            // SAFETY: a slot of an object that was made here.
            unsafe { slot.write(value) };
        }
        Ok(())
    }

    fn next_slot(&mut self) -> Option<(*mut *mut Value, Declared)> {
        match self.frames.last_mut()? {
            Frame::Words {
                next,
                left,
                declared,
            } => {
                *left = left.checked_sub(1)?;
                let slot = *next;
                *next = slot.wrapping_add(1);
                Some((slot, *declared))
            }
            Frame::Slots {
                object,
                plan,
                next,
                stride,
                left,
            } => {
                let slots = &self.plans[*plan].slots;
                if *next == slots.len() {
                    *next = 0;
                    *object = object.wrapping_add(*stride);
                    *left = left.saturating_sub(1);
                }
                if *left == 0 {
                    return None;
                }
                let slot = slots.get(*next)?;
                *next += 1;
                Some((object.wrapping_add(slot.offset).cast(), slot.declared))
            }
        }
    }

    unsafe fn value(&mut self) -> Read<*mut Value> {
        match self.u8()? {
            tag::UNDEF => Ok(ptr::null_mut()),
            tag::OBJECT => {
                let index = self.u32()?;
                self.constants()
                    .object(index)
                    .ok_or(Malformed("it names an object that is none"))
            }
            tag::BACKREF => {
                let number = self.u32()? as usize;
                let made = self.made.get(number).copied();
                made.ok_or(Malformed("it refers to what has not come yet"))
            }
            // SAFETY: the caller's promise, here and below.
            tag::STRUCT => unsafe { self.structure() },
            // SAFETY: as above.
            tag::ARRAY => unsafe { self.array() },
            tag::STRING => {
                let length = self.u64()?;
                let bytes = self.take(length)?;
                // SAFETY: as above.
                Ok(self.keep(unsafe { from_bytes(bytes) }))
            }
            tag::LONG_STRING => {
                let length = self.u64()?;
                let bytes = self.take_tail(length)?;
                // SAFETY: the tail is the payload's.
                let bytes = unsafe { &*bytes };
                // SAFETY: as above.
                Ok(self.keep(unsafe { from_bytes(bytes) }))
            }
            tag::SYMBOL => {
                let length = self.u32()?;
                let bytes = self.take(length.into())?;
                let name = std::str::from_utf8(bytes).ok();
                let sound = name.is_some_and(|name| !name.contains('\0'));
                check(sound, "a symbol's name is not valid UTF-8")?;
                // SAFETY: as above.
                Ok(self.keep(unsafe { symbol_of_call(bytes) }))
            }
            tag::BUILTIN => {
                let builtins = Builtins::get();
                match self.u8()? {
                    0 => Ok(builtins.nothing()),
                    1 => Ok(builtins.bool(true)),
                    2 => Ok(builtins.bool(false)),
                    _ => Err(Malformed(
                        "it names a value that every node has, but none does",
                    )),
                }
            }
            tag::TYPE => Ok(self.type_cell()?.value()),
            // SAFETY: as above.
            tag::BIG_INT => unsafe { self.big_int() },
            // SAFETY: as above.
            tag::BIG_FLOAT => unsafe { self.big_float() },
            tag::SVEC => {
                let count = self.u32()? as usize;
                check(count <= self.end - self.at, ENDS)?;
                // SAFETY: as above.
                let vector = unsafe { jl_alloc_svec(count) };
                self.frames.push(Frame::Words {
                    next: vector.cast::<u8>().wrapping_add(SVEC_DATA).cast(),
                    left: count,
                    declared: Declared::Any,
                });
                Ok(self.keep(vector))
            }
            _ => Err(Malformed(
                "it holds a value of a kind that arguments do not have",
            )),
        }
    }

    unsafe fn structure(&mut self) -> Read<*mut Value> {
        let cell = self.type_cell()?;
        let record = cell.record();
        let is_struct = record.flags & flag::CONCRETE != 0
            && record.flags & (flag::SPECIAL | flag::ARRAY | flag::ABSTRACT) == 0;
        check(
            is_struct && big::kind(record).is_none(),
            "a struct is of a type that is none",
        )?;
        let size = self.u32()?;
        check(size == record.size, "a struct is not of its type's size")?;
        let bytes = ptr::from_ref(self.take(size.into())?);
        let count = self.u32()? as usize;
        check(
            count == record.pointers.len(),
            "a struct has not as many references as its type",
        )?;
        // SAFETY: bytes of the payload.
        let bytes = unsafe { &*bytes };
        if record.builtin == id::BOOL {
            return Ok(self.keep(Builtins::get().bool(bytes[0] & 1 != 0)));
        }
        if record.flags & flag::SINGLETON != 0 {
            return Ok(self.keep(cell.instance()));
        }
        let plan = self.plan(cell)?;
        // SAFETY: the caller's promise.
        let made = unsafe { object(bytes.len(), cell.data_type()) };
        // SAFETY: made with that size.
        unsafe {
            made.cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        if self.plans[plan].table {
            self.tables.push(made);
        }
        // SAFETY: one element of that size.
        unsafe { self.settle(made.cast(), plan, 0, 1) }?;
        if count > 0 {
            self.frames.push(Frame::Slots {
                object: made.cast(),
                plan,
                next: 0,
                stride: 0,
                left: 1,
            });
        }
        Ok(self.keep(made))
    }

    /// Empties the reference slots of `count` values of the plan's type, and looks at their selectors.
    ///
    /// # Safety
    /// - there are as many values, `stride` bytes apart.
    unsafe fn settle(&self, first: *mut u8, plan: usize, stride: usize, count: usize) -> Read<()> {
        let Plan {
            slots, selectors, ..
        } = &self.plans[plan];
        if slots.is_empty() && selectors.is_empty() {
            return Ok(());
        }
        for i in 0..count {
            let value = first.wrapping_add(i * stride);
            for slot in slots {
                // SAFETY: inside the value.
                unsafe { value.wrapping_add(slot.offset).cast::<usize>().write(0) };
            }
            for &(offset, members) in selectors {
                // SAFETY: as above.
                let selector = unsafe { value.wrapping_add(offset).read() };
                check(selector < members, "a union has no such member")?;
            }
        }
        Ok(())
    }

    unsafe fn array(&mut self) -> Read<*mut Value> {
        let cell = self.type_cell()?;
        let record = cell.record();
        let is_array = record.flags & flag::ARRAY != 0 && record.flags & flag::CONCRETE != 0;
        check(is_array, "an array is of a type that is none")?;
        let ndims = self.u32()? as usize;
        check(
            ndims == record.ndims as usize && ndims <= MAX_DIMS,
            "an array has not as many dimensions as its type",
        )?;
        let mut dims = [0_usize; MAX_DIMS];
        for dim in &mut dims[..ndims] {
            *dim = self.u64()? as usize;
        }
        let dims = &dims[..ndims];
        let count = dims
            .iter()
            .try_fold(1_usize, |count, dim| count.checked_mul(*dim))
            .filter(|count| *count <= isize::MAX as usize)
            .filter(|_| dims.iter().all(|dim| *dim <= isize::MAX as usize))
            .ok_or(Malformed("an array is larger than any"))?;
        let kind = record.element_flags;
        let form = self.u8()?;
        let expected = match form {
            form::REFERENCES => kind & element::REFERENCES != 0,
            form::INLINE => kind & element::INLINE_REFERENCES != 0,
            form::BYTES | form::TAIL => {
                kind & (element::REFERENCES | element::INLINE_REFERENCES) == 0
            }
            _ => false,
        };
        check(expected, "an array has another kind of elements")?;
        if form == form::REFERENCES {
            // A byte at least for each element to come.
            check(count <= self.end - self.at, ENDS)?;
            // SAFETY: the caller's promise; an array type.
            let array = unsafe { new_array(cell.data_type(), dims) };
            // SAFETY: just made.
            let data = unsafe { Header::new(array) }.bytes();
            self.frames.push(Frame::Words {
                next: data.cast(),
                left: count,
                declared: Declared::of_element(cell),
            });
            return Ok(self.keep(array.cast()));
        }
        let data = count
            .checked_mul(record.element as usize)
            .ok_or(Malformed("an array is larger than any"))?;
        let union = kind & element::UNION != 0;
        let total = if union {
            data.checked_add(count)
        } else {
            Some(data)
        };
        let total = total.ok_or(Malformed("an array is larger than any"))? as u64;
        let bytes = if form == form::TAIL {
            self.take_tail(total)?
        } else {
            check(
                self.u64()? == total,
                "an array has not as many bytes as elements",
            )?;
            ptr::from_ref(self.take(total)?).cast_mut()
        };
        if form == form::TAIL && !union && total as usize > TAIL_BYTES {
            // SAFETY: bytes of the payload that nobody else has.
            let array =
                unsafe { bc_array_over(cell.data_type(), bytes.cast(), ndims, dims.as_ptr()) };
            return Ok(self.keep(array.cast()));
        }
        // SAFETY: bytes of the payload.
        let bytes = unsafe { &*bytes };
        // SAFETY: the caller's promise; an array type.
        let array = unsafe { new_array(cell.data_type(), dims) };
        // SAFETY: just made.
        let header = unsafe { Header::new(array) };
        // SAFETY: room for all elements was just made.
        unsafe {
            header
                .bytes()
                .copy_from_nonoverlapping(bytes.as_ptr(), data)
        };
        if union {
            let members = Declared::of_element(cell).members();
            let selectors = &bytes[data..];
            check(
                selectors.iter().all(|selector| *selector < members),
                "a union has no such member",
            )?;
            // SAFETY: a selector per element.
            unsafe {
                header
                    .selectors()
                    .copy_from_nonoverlapping(selectors.as_ptr(), count)
            };
        }
        if form == form::INLINE {
            let links = cell.links();
            let inner = links.and_then(|links| links.element.as_ref());
            let inner = inner.ok_or(Malformed("an array has elements that nobody described"))?;
            let stride = record.element as usize;
            check(
                inner.record().size as usize <= stride,
                "an array's elements are larger than its type says",
            )?;
            let plan = self.plan(inner)?;
            // SAFETY: as many elements.
            unsafe { self.settle(header.bytes(), plan, stride, count) }?;
            self.frames.push(Frame::Slots {
                object: header.bytes(),
                plan,
                next: 0,
                stride,
                left: count,
            });
        }
        Ok(self.keep(array.cast()))
    }

    fn plan(&mut self, cell: &TypeCell) -> Read<usize> {
        let address = ptr::from_ref(cell) as usize;
        if let Some(&plan) = self.plan_of.get(&address) {
            return Ok(plan);
        }
        let mut slots = Vec::new();
        let mut selectors = Vec::new();
        types::each_inner(cell, &mut |inner| match inner {
            types::Inner::Reference { offset, declared } => slots.push(Slot {
                offset: offset as usize,
                declared,
            }),
            types::Inner::Selector { offset, members } => {
                selectors.push((offset as usize, members))
            }
        });
        slots.sort_by_key(|slot| slot.offset);
        let described = slots.iter().map(|slot| slot.offset as u32).eq(cell
            .record()
            .pointers
            .iter()
            .copied());
        check(described, "a struct is of a type that nobody described")?;
        self.plans.push(Plan {
            slots: slots.into(),
            selectors: selectors.into(),
            table: TABLES
                .iter()
                .any(|table| cell.record().name.starts_with(table)),
        });
        self.plan_of.insert(address, self.plans.len() - 1);
        Ok(self.plans.len() - 1)
    }

    pub(super) fn keep(&mut self, value: *mut Value) -> *mut Value {
        self.made.push(value);
        value
    }

    fn constants<'a>(&self) -> &'a Constants {
        // SAFETY: they live as long as the call.
        unsafe { &*self.constants }
    }

    pub(super) fn type_cell<'a>(&mut self) -> Read<&'a TypeCell> {
        let number = self.u32()?;
        if number < FIRST_OBJECT_TYPE {
            let known = u16::try_from(number)
                .ok()
                .filter(|number| (1..=id::LAST_PUBLIC).contains(number));
            return known
                .map(|number| &**Builtins::get().cell(number))
                .ok_or(Malformed(NO_TYPE));
        }
        self.constants()
            .type_cell(number - FIRST_OBJECT_TYPE)
            .map(|cell| &**cell)
            .ok_or(Malformed(NO_TYPE))
    }

    // --- bytes ---------------------------------------------------------------------------------------------------------

    /// The next bytes of the graph.
    pub(super) fn take<'a>(&mut self, count: u64) -> Read<&'a [u8]> {
        check(count <= (self.end - self.at) as u64, ENDS)?;
        let from = self.payload.wrapping_add(self.at);
        self.at += count as usize;
        // SAFETY: inside the payload, which lives as long as the call.
        Ok(unsafe { std::slice::from_raw_parts(from, count as usize) })
    }

    fn word<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| Malformed(ENDS))
    }

    fn u8(&mut self) -> Read<u8> {
        self.word::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        self.word().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        self.word().map(u64::from_le_bytes)
    }

    /// So many bytes of the tail, from where the graph says. Pieces ascend and do not overlap: each is one array's alone.
    fn take_tail(&mut self, count: u64) -> Read<*mut [u8]> {
        let start = self.u64()?;
        let start = start
            .checked_add(round_up(self.end, CACHE_ALIGN) as u64)
            .filter(|start| start.is_multiple_of(CACHE_ALIGN as u64))
            .filter(|start| *start >= self.tail as u64 && *start <= self.length as u64)
            .ok_or(Malformed("a piece of its tail lies outside"))?;
        check(
            count <= self.length as u64 - start,
            "a piece of its tail lies outside",
        )?;
        self.tail = (start + count) as usize;
        let from = self.payload.wrapping_add(start as usize);
        Ok(ptr::slice_from_raw_parts_mut(from, count as usize))
    }
}

/// Names of the types that are hash tables.
const TABLES: [&str; 2] = ["Base.Dict{", "Base.IdDict{"];

/// As many dimensions as an array can have here.
const MAX_DIMS: usize = 64;
