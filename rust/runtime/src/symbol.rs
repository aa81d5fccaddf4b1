//! Julia symbols, one object per name in the process.
//!
//! A symbol lives as long as somebody holds its [`SymbolRef`]: the archives that name it, the call that made it.

use crate::builtin::Builtins;
use crate::hash::symbol_hash;
use crate::layout::{SYMBOL_NAME, Symbol, TAG_BYTES, TAG_CONSTANT, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(|| Mutex::new(Table::default()));

/// The object starts at the second 16-byte unit; its tag is the word before.
const OBJECT_UNIT: usize = 1;
const UNIT: usize = size_of::<u128>();

/// Keeps a symbol alive.
pub type SymbolRef = Arc<SymbolCell>;

/// The memory of one symbol.
pub struct SymbolCell {
    memory: Box<[u128]>,
}

impl SymbolCell {
    /// The symbol, as Julia code sees it.
    pub fn value(&self) -> *mut Value {
        self.memory
            .as_ptr()
            .wrapping_add(OBJECT_UNIT)
            .cast_mut()
            .cast()
    }

    fn new(name: &str, symbol_type: usize) -> Self {
        let object_bytes = SYMBOL_NAME + name.len() + 1;
        let mut memory = vec![0_u128; OBJECT_UNIT + object_bytes.div_ceil(UNIT)].into_boxed_slice();
        let tag = u128::from((symbol_type | TAG_CONSTANT) as u64) << (8 * (UNIT - TAG_BYTES));
        memory[0] = tag;
        let object = memory[OBJECT_UNIT..].as_mut_ptr();
        let head = Symbol {
            left: std::ptr::null_mut(),
            right: std::ptr::null_mut(),
            hash: symbol_hash(name.as_bytes()),
        };
        // SAFETY: the memory is large enough for the header and aligned to 16.
        unsafe { object.cast::<Symbol>().write(head) };
        let text = object.cast::<u8>().wrapping_add(SYMBOL_NAME);
        // SAFETY: `object_bytes` counts the name; the NUL after it is there since the memory was zero.
        unsafe { text.copy_from_nonoverlapping(name.as_ptr(), name.len()) };
        Self { memory }
    }
}

// SAFETY: a symbol is never changed once it was made.
unsafe impl Send for SymbolCell {}
// SAFETY: as above.
unsafe impl Sync for SymbolCell {}

#[derive(Default)]
struct Table {
    by_name: HashMap<Box<str>, Weak<SymbolCell>>,
    sweep_at: usize,
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The symbol of this name.
pub fn intern(name: &str) -> SymbolRef {
    intern_as(name, Builtins::get().symbol_type as usize)
}

/// As [`intern`], while the built-in types are still being made.
pub(crate) fn intern_as(name: &str, symbol_type: usize) -> SymbolRef {
    let mut table = table();
    if let Some(found) = table.by_name.get(name).and_then(Weak::upgrade) {
        return found;
    }
    if table.by_name.len() >= table.sweep_at {
        table.by_name.retain(|_, cell| cell.strong_count() > 0);
        table.sweep_at = 2 * table.by_name.len() + 256;
    }
    let made = Arc::new(SymbolCell::new(name, symbol_type));
    table.by_name.insert(name.into(), Arc::downgrade(&made));
    made
}

#[cfg(test)]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a test's objects live in one arena"
)]
mod tests {
    use super::*;
    use crate::layout::{symbol_bytes, type_of};

    #[test]
    fn one_object_per_name() {
        let a = intern("a_symbol_of_this_test");
        let b = intern("a_symbol_of_this_test");
        let c = intern("another_symbol_of_this_test");
        assert_eq!(a.value(), b.value());
        assert_ne!(a.value(), c.value());
    }

    #[test]
    fn looks_like_a_symbol() {
        let cell = intern("π and more");
        let value = cell.value();
        assert_eq!(value as usize % 16, 0);
        // SAFETY: `value` is a symbol that `cell` keeps alive.
        let (name, ty) = unsafe { (symbol_bytes(value), type_of(value)) };
        assert_eq!(name, "π and more".as_bytes());
        assert_eq!(ty, Builtins::get().symbol_type);
        // SAFETY: as above.
        let hash = unsafe { value.cast::<Symbol>().read() }.hash;
        assert_eq!(hash, symbol_hash("π and more".as_bytes()));
    }

    #[test]
    fn forgotten_symbols_leave_the_table() {
        for i in 0..2000 {
            drop(intern(&format!("short lived {i}")));
        }
        assert!(table().by_name.len() < 2000);
    }
}
