//! The table: every symbol that shipped code may refer to, with its address. A name that is not here does not exist for it.

use crate::builtin::{Builtins, id};
use crate::layout::Value;
use crate::{
    array, boxes, call, checksum, defer, dispatch, egal, error, exception, function, graph, hash,
    hop, host, library, machine, math, memory, number, print, special, string, system, thread,
    tuple,
};
use std::collections::HashMap;
use std::sync::OnceLock;

static TABLE: OnceLock<Table> = OnceLock::new();

struct Table {
    symbols: Vec<(&'static str, usize)>,
    by_name: HashMap<&'static str, usize>,
}

fn table() -> &'static Table {
    TABLE.get_or_init(|| {
        let symbols = [
            runtime(),
            builtin_functions(),
            slots(),
            boxed_bytes(),
            math::symbols(),
            math::openlibm_symbols(),
            math::compiler_symbols(),
            system::symbols(),
        ]
        .concat();
        let by_name = symbols.iter().copied().collect();
        Table { symbols, by_name }
    })
}

/// Every symbol, with its address.
pub fn symbols() -> &'static [(&'static str, usize)] {
    &table().symbols
}

/// The address of one symbol.
pub fn lookup(name: &str) -> Option<usize> {
    table().by_name.get(name).copied()
}

macro_rules! addresses {
    ($($module:ident :: { $($name:ident),* $(,)? }),* $(,)?) => {
        vec![$($((stringify!($name), $module::$name as *const () as usize)),*),*]
    };
}

fn runtime() -> Vec<(&'static str, usize)> {
    let mut symbols = addresses! {
        call::{bc_result, bc_throw},
        graph::{bc_unpack, bc_table, bc_return},
        defer::{bc_defer, bc_throw_deferred, bc_throw_static},
        hop::{bc_ask, bc_ask_graph, bc_entry, bc_forward, bc_forward_graph, bc_forward_room, bc_here, bc_nodes, bc_running, bc_spawn, bc_spawn_graph},
        host::{bc_exclude, bc_get, bc_put, bc_segment, bc_update},
        special::{bc_fix, bc_fixed, bc_give, bc_given, bc_run_special, bc_special},
        print::{bc_print, bc_write},
        thread::{bc_thread_state},
        machine::{bc_setjmp, bc_longjmp},
        memory::{
            bc_alloc, bc_refuse_store, malloc, calloc, realloc, free, jl_gc_alloc_typed, jl_gc_allocobj,
            jl_gc_counted_free_with_size, jl_gc_counted_realloc_with_old_size, jl_gc_collect, jl_gc_enable,
            jl_gc_total_bytes,
        },
        exception::{
            jl_throw, jl_rethrow, jl_rethrow_other, jl_enter_handler, jl_pop_handler, jl_excstack_state,
            jl_restore_excstack, jl_current_exception, jl_exception_occurred, jl_exception_clear,
        },
        error::{
            jl_error, jl_errorf, jl_exceptionf, jl_undefined_var_error, jl_type_error, jl_type_error_rt, jl_bounds_error,
            jl_bounds_error_int, jl_bounds_error_ints, jl_bounds_error_unboxed_int, jl_bounds_error_tuple_int,
            jl_bounds_error_v,
        },
        boxes::{
            jl_box_int8, jl_box_uint8, jl_box_int16, jl_box_uint16, jl_box_int32, jl_box_uint32, jl_box_int64,
            jl_box_uint64, jl_box_float32, jl_box_float64, jl_box_char, jl_box_bool, jl_new_bits, jl_unbox_bool,
            jl_unbox_int8, jl_unbox_uint8, jl_unbox_int16, jl_unbox_uint16, jl_unbox_int32, jl_unbox_uint32,
            jl_unbox_int64, jl_unbox_uint64, jl_unbox_float32, jl_unbox_float64, jl_unbox_voidpointer,
        },
        array::{
            bc_array_over, jl_new_array, jl_alloc_array_1d, jl_alloc_array_2d, jl_alloc_array_3d, jl_alloc_vec_any,
            jl_ptr_to_array_1d, jl_ptr_to_array, jl_reshape_array, jl_string_to_array, jl_pchar_to_array, jl_array_copy,
            jl_array_grow_end, jl_array_grow_beg, jl_array_grow_at, jl_array_sizehint, jl_array_ptr_1d_push,
            jl_array_del_at, jl_array_del_beg, jl_array_del_end, jl_array_to_string, jl_arraylen, jl_arrayref, jl_arrayset,
            jl_arrayunset, jl_array_isassigned, jl_array_ptr_copy, jl_array_data_owner, jl_array_ptr, jl_array_rank,
            jl_array_size, jl_array_cconvert_cstring, jl_array_typetagdata,
        },
        string::{
            jl_alloc_string, jl_pchar_to_string, jl_cstr_to_string, jl_string_ptr, jl_string_len, jl_symbol_name,
            jl_symbol_n, jl_symbol, jl_gensym,
        },
        egal::{bc_object_id, bc_object_id_of, jl_egal, jl_object_id, jl_object_id_},
        function::{
            jl_isa, jl_subtype, jl_types_equal, jl_typeassert, jl_alloc_svec, jl_get_nth_field_checked,

        },
        dispatch::{jl_apply_generic, jl_invoke},
        tuple::{bc_splat_tuple, jl_f_tuple},
        math::{jl_hrtime, jl_clock_now},
        number::{jl_try_substrtod, jl_try_substrtof, jl_substrtod, jl_substrtof},
        checksum::{jl_crc32c, u8_isvalid},
        library::{bc_call_slot, bc_random_bytes},
        system::{bc_cpu_threads, bc_sleep, jl_gettimeofday},
    };
    symbols.extend([
        ("__sigsetjmp", machine::bc_setjmp as *const () as usize),
        (
            "jl_get_ptls_states",
            thread::bc_thread_state as *const () as usize,
        ),
        ("jl_symbol_n_", string::jl_symbol_n as *const () as usize),
        (
            "jl_gc_alloc",
            memory::jl_gc_alloc_typed as *const () as usize,
        ),
        ("jl_egal__unboxed", egal::egal_tagged as *const () as usize),
        ("jl_malloc", memory::malloc as *const () as usize),
        ("jl_calloc", memory::calloc as *const () as usize),
        ("jl_realloc", memory::realloc as *const () as usize),
        ("jl_free", memory::free as *const () as usize),
        ("jl_gc_managed_malloc", memory::malloc as *const () as usize),
        ("jl_gc_counted_malloc", memory::malloc as *const () as usize),
        ("jl_gc_counted_calloc", memory::calloc as *const () as usize),
        (
            "jl_gc_queue_root",
            memory::nothing_to_collect as *const () as usize,
        ),
        (
            "jl_gc_safepoint",
            memory::nothing_to_collect as *const () as usize,
        ),
        (
            "jl_gc_add_finalizer_th",
            memory::no_finalizer as *const () as usize,
        ),
        (
            "jl_gc_add_ptr_finalizer",
            memory::no_finalizer as *const () as usize,
        ),
        (
            "__stack_chk_fail",
            error::stack_chk_fail as *const () as usize,
        ),
        ("memhash", hash_bytes as *const () as usize),
        ("memhash_seed", hash_bytes_with_seed as *const () as usize),
        ("memhash32_seed", hash_bytes_to_32 as *const () as usize),
        ("int32hash", int32hash as *const () as usize),
        ("int64hash", int64hash as *const () as usize),
        ("int64to32hash", int64to32hash as *const () as usize),
    ]);
    symbols
}

fn builtin_functions() -> Vec<(&'static str, usize)> {
    let mut symbols = addresses! {
        function::{
            jl_f_is, jl_f_typeof, jl_f_sizeof, jl_f_throw, jl_f_ifelse, jl_f_isa, jl_f_issubtype, jl_f_typeassert,
            jl_f_svec, jl_f_getfield, jl_f_nfields, jl_f_arrayref, jl_f_arrayset, jl_f_arraysize,
        },
    };
    let unsupported = function::jl_f_unsupported as *const () as usize;
    let names = [
        "jl_f__apply",
        "jl_f__apply_iterate",
        "jl_f__apply_pure",
        "jl_f__apply_latest",
        "jl_f_applicable",
        "jl_f_invoke",
        "jl_f_invoke_kwsorter",
        "jl_f_isdefined",
        "jl_f_setfield",
        "jl_f_fieldtype",
        "jl_f__expr",
        "jl_f__typevar",
        "jl_f_apply_type",
        "jl_f_const_arrayref",
    ];
    symbols.push((
        "jl_f_const_arrayref",
        function::jl_f_arrayref as *const () as usize,
    ));
    symbols.extend(
        names
            .into_iter()
            .filter(|name| *name != "jl_f_const_arrayref")
            .map(|name| (name, unsupported)),
    );
    symbols
}

/// Variables of Julia's that hold the address of an object.
fn slots() -> Vec<(&'static str, usize)> {
    static SLOTS: OnceLock<Slots> = OnceLock::new();
    let Slots(slots) = SLOTS.get_or_init(|| {
        let builtins = Builtins::get();
        let ty = |number| builtins.ty(number).cast::<Value>();
        Slots(vec![
            ("jl_true", builtins.bool(true)),
            ("jl_false", builtins.bool(false)),
            ("jl_nothing", builtins.nothing()),
            ("jl_emptysvec", builtins.empty_svec()),
            ("jl_emptytuple", builtins.instance(id::EMPTY_TUPLE)),
            ("jl_an_empty_string", builtins.empty_string()),
            ("jl_diverror_exception", builtins.instance(id::DIVIDE_ERROR)),
            (
                "jl_undefref_exception",
                builtins.instance(id::UNDEF_REF_ERROR),
            ),
            (
                "jl_memory_exception",
                builtins.instance(id::OUT_OF_MEMORY_ERROR),
            ),
            (
                "jl_stackovf_exception",
                builtins.instance(id::STACK_OVERFLOW_ERROR),
            ),
            (
                "jl_readonlymemory_exception",
                builtins.instance(id::READ_ONLY_MEMORY_ERROR),
            ),
            (
                "jl_interrupt_exception",
                builtins.instance(id::INTERRUPT_EXCEPTION),
            ),
            ("jl_any_type", ty(id::ANY)),
            ("jl_int32_type", ty(id::INT32)),
            ("jl_int64_type", ty(id::INT64)),
            ("jl_uint8_type", ty(id::UINT8)),
            ("jl_float64_type", ty(id::FLOAT64)),
            ("jl_bool_type", ty(id::BOOL)),
            ("jl_char_type", ty(id::CHAR)),
            ("jl_string_type", ty(id::STRING)),
            ("jl_symbol_type", ty(id::SYMBOL)),
            ("jl_datatype_type", ty(id::DATA_TYPE)),
            ("jl_simplevector_type", ty(id::SIMPLE_VECTOR)),
            ("jl_array_uint8_type", ty(id::VECTOR_UINT8)),
            ("jl_array_any_type", ty(id::VECTOR_ANY)),
        ])
    });
    slots
        .iter()
        .map(|(name, slot)| (*name, &raw const *slot as usize))
        .collect()
}

/// Julia's tables of boxed bytes, each at the place that its bits are the number of: what the code generator of 1.9 and later reads, where
/// that of 1.5 calls `jl_box_int8` and `jl_box_uint8`.
fn boxed_bytes() -> Vec<(&'static str, usize)> {
    static TABLES: OnceLock<[BoxedBytes; 2]> = OnceLock::new();
    let [signed, unsigned] = TABLES.get_or_init(|| {
        let builtins = Builtins::get();
        let table = |boxed: &dyn Fn(u8) -> *mut Value| {
            BoxedBytes(std::array::from_fn(|bits| boxed(bits as u8)))
        };
        [
            table(&|bits| builtins.int8(bits as i8)),
            table(&|bits| builtins.uint8(bits)),
        ]
    });
    vec![
        ("jl_boxed_int8_cache", signed.0.as_ptr() as usize),
        ("jl_boxed_uint8_cache", unsigned.0.as_ptr() as usize),
    ]
}

struct BoxedBytes([*mut Value; 256]);

// SAFETY: addresses of objects that live for ever and are never changed.
unsafe impl Send for BoxedBytes {}
// SAFETY: as above.
unsafe impl Sync for BoxedBytes {}

struct Slots(Vec<(&'static str, *mut Value)>);

// SAFETY: addresses of objects that live for ever and are never changed.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

unsafe fn bytes<'a>(data: *const u8, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: shipped code passes so many bytes.
    unsafe { std::slice::from_raw_parts(data, length) }
}

unsafe extern "C" fn hash_bytes(data: *const u8, length: usize) -> u64 {
    // SAFETY: shipped code passes so many bytes.
    hash::memhash(unsafe { bytes(data, length) })
}

unsafe extern "C" fn hash_bytes_with_seed(data: *const u8, length: usize, seed: u32) -> u64 {
    // SAFETY: shipped code passes so many bytes.
    hash::memhash_seed(unsafe { bytes(data, length) }, seed)
}

unsafe extern "C" fn hash_bytes_to_32(data: *const u8, length: usize, seed: u32) -> u32 {
    // SAFETY: shipped code passes so many bytes.
    hash::memhash32_seed(unsafe { bytes(data, length) }, seed)
}

extern "C" fn int32hash(a: u32) -> u32 {
    hash::int32hash(a)
}

extern "C" fn int64hash(a: u64) -> u64 {
    hash::int64hash(a)
}

extern "C" fn int64to32hash(a: u64) -> u32 {
    hash::int64to32hash(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_addresses_are_not_null() {
        let names: HashSet<_> = symbols().iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), symbols().len());
        assert!(symbols().iter().all(|(_, address)| *address != 0));
    }

    /// What capture takes for granted, and what the node's compiler lowers itself.
    #[test]
    fn what_capture_relies_on_is_offered() {
        let list = include_str!("../../../julia/capture/symbols.txt");
        let names = list
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        let missing: Vec<_> = names
            .filter(|name| !name.is_empty() && !name.starts_with("julia."))
            .filter(|name| lookup(name).is_none())
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn boxed_bytes_lie_at_their_bits() {
        for (name, bits, boxed) in [
            ("jl_boxed_int8_cache", 0xff, Builtins::get().int8(-1)),
            ("jl_boxed_int8_cache", 0x7f, Builtins::get().int8(127)),
            ("jl_boxed_uint8_cache", 0xff, Builtins::get().uint8(255)),
            ("jl_boxed_uint8_cache", 0, Builtins::get().uint8(0)),
        ] {
            let table = lookup(name).unwrap() as *const *mut Value;
            // SAFETY: a table of 256 addresses.
            let found = unsafe { table.wrapping_add(bits).read() };
            assert_eq!(found, boxed, "{name}[{bits}]");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_found() {
        assert!(lookup("jl_throw").is_some());
        assert!(lookup("sin").is_some());
        for name in [
            "system",
            "dlopen",
            "open",
            "jl_eval_string",
            "",
            "jl_load_and_lookup",
        ] {
            assert!(lookup(name).is_none(), "{name}");
        }
    }

    #[test]
    fn slots_hold_objects() {
        let slot = lookup("jl_true").unwrap() as *const *mut Value;
        // SAFETY: the address of a variable that lives for ever.
        assert_eq!(unsafe { slot.read() }, Builtins::get().bool(true));
    }
}
