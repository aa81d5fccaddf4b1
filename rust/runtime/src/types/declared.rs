//! What a field or an element is declared to hold, and whether a value is one.
//!
//! A node knows a type by its canonical name, its layout and its supertypes; unions and types with open parameters by their
//! names alone. That is enough to tell what must not be stored where compiled code relies on the declaration.

use super::{Field, FieldKind, TypeCell, flag};
use crate::builtin::id;
use crate::layout::{DataType, Value, type_of};
use std::ptr;

/// What a reference may be.
#[derive(Clone, Copy)]
pub(crate) enum Declared {
    /// Any object.
    Any,
    /// Of one concrete type.
    Exactly(*const DataType),
    /// Of a type below the one of this name, which lives as long as the type that declares it.
    Named(*const str),
    /// Nobody said.
    Unknown,
}

impl Declared {
    fn new(ty: Option<&TypeCell>, name: Option<&str>) -> Self {
        match (ty, name) {
            (Some(ty), _) if ty.record().builtin == id::ANY => Self::Any,
            (Some(ty), _) if ty.is(flag::CONCRETE) => Self::Exactly(ty.data_type()),
            (Some(ty), _) => Self::Named(&raw const *ty.record().name),
            (None, Some(name)) => Self::Named(name),
            (None, None) => Self::Unknown,
        }
    }

    fn of_field(field: &Field) -> Self {
        Self::new(field.ty.as_deref(), field.name.as_deref())
    }

    /// What the elements of an array type are.
    pub(crate) fn of_element(array: &TypeCell) -> Self {
        // Some arrays the runtime makes itself.
        if array.record().builtin == id::VECTOR_ANY {
            return Self::Any;
        }
        array.links().map_or(Self::Unknown, |links| {
            Self::new(links.element.as_deref(), links.element_name.as_deref())
        })
    }

    /// May `value` be here?
    ///
    /// # Safety
    /// - `value` is an object; the type that declares this is alive.
    #[inline]
    pub(crate) unsafe fn holds(self, value: *mut Value) -> bool {
        match self {
            Self::Any => true,
            // SAFETY: an object, says the caller.
            Self::Exactly(ty) => ptr::eq(unsafe { type_of(value) }, ty),
            Self::Named(name) => {
                // SAFETY: an object, says the caller.
                let cell = unsafe { TypeCell::of_value(value) };
                // SAFETY: the name of a type that is alive.
                is_below(cell, unsafe { &*name })
            }
            Self::Unknown => false,
        }
    }

    /// Of a union: how many members it has; 0 if it is none.
    pub(crate) fn members(self) -> u8 {
        let Self::Named(name) = self else { return 0 };
        // SAFETY: the name of a type that is alive, as whoever has this value says.
        let count = members(unsafe { &*name }).count();
        u8::try_from(count).unwrap_or(u8::MAX)
    }
}

/// A part of a value that is more than bits.
pub(crate) enum Inner {
    /// A reference.
    Reference { offset: u32, declared: Declared },
    /// The byte that says which member of a union the bytes before it are.
    Selector { offset: u32, members: u8 },
}

/// No type of a sane program has more fields, those of inline structs counted with.
const MAX_FIELDS: usize = 1 << 20;

/// Calls `found` for each part of a value of this type that is more than bits, those of inline structs too.
pub(crate) fn each_inner(cell: &TypeCell, found: &mut impl FnMut(Inner)) {
    let mut budget = MAX_FIELDS;
    let mut pending = vec![(cell, 0_u32)];
    while let Some((cell, base)) = pending.pop() {
        for field in cell.links().map_or(&[][..], |links| &links.fields) {
            budget = match budget.checked_sub(1) {
                Some(left) => left,
                None => return,
            };
            let offset = base.saturating_add(field.offset);
            let declared = Declared::of_field(field);
            match (field.kind, &field.ty) {
                (FieldKind::Reference, _) => found(Inner::Reference { offset, declared }),
                (FieldKind::Union, _) => found(Inner::Selector {
                    offset: offset.saturating_add(field.size).saturating_sub(1),
                    members: declared.members(),
                }),
                (FieldKind::Inline, Some(inner)) => pending.push((inner, offset)),
                (FieldKind::Inline, None) => {}
            }
        }
    }
}

const UNION: &str = "Core.Union{";

/// The members of a union, by its name; of any other type the type itself.
fn members(name: &str) -> impl Iterator<Item = &str> {
    let inner = name
        .strip_prefix(UNION)
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(name);
    let mut depth = 0_usize;
    inner.split(move |c| {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// Is a value of type `cell` also one of the type of this name?
fn is_below(cell: &TypeCell, name: &str) -> bool {
    // Types as values have types of their own kind, and what is opaque here has no layout that code could rely on.
    if cell.record().builtin == id::OPAQUE {
        return true;
    }
    members(name).any(|member| is_below_one(cell, member))
}

fn is_below_one(cell: &TypeCell, name: &str) -> bool {
    if name == "Core.Any" || (name.starts_with("Core.Tuple") && cell.is(flag::TUPLE)) {
        return true;
    }
    if cell.record().builtin == id::DATA_TYPE {
        return name.starts_with("Core.Type") || name == "Core.DataType";
    }
    let open = name
        .split_once(" where ")
        .map(|(body, _)| body.split_once('{').map_or(body, |(base, _)| base));
    // A union with open parameters inside: its name does not tell more.
    if open == Some("Core.Union") {
        return true;
    }
    let mut at = Some(cell);
    while let Some(cell) = at {
        let own = &*cell.record().name;
        let base = own.split_once('{').map_or(own, |(base, _)| base);
        if own == name || open == Some(base) {
            return true;
        }
        at = cell.links().and_then(|links| links.parent.as_deref());
    }
    false
}
