# A remote call gives the bits that the local call gives. `muladd` leaves it to the compiler whether a product is rounded before it is
# added. Code that Julia compiles while it runs uses fused instructions when the processor has them, as a node does; but code that came
# with Julia's system image was compiled for any processor. Bodies from there are shipped with product and sum apart, if that is how
# they run here.

function keep_rounding!(body::Body)
    any(statement -> is_muladd(body, call_of(statement)), body.source.code) || return
    rounds_twice(body.instance) || return
    for i in eachindex(body.source.code)
        call = call_of(body.source.code[i])
        is_muladd(body, call) || continue
        a, b, c = called(call)[2]
        replace_call!(body, i, Expr(:call, Core.Intrinsics.add_float, Expr(:call, Core.Intrinsics.mul_float, a, b), c))
    end
end

function is_muladd(body::Body, @nospecialize(call))
    is_call(call) || return false
    f = constant(body, called(call)[1])
    return f !== nothing && something(f) === Core.Intrinsics.muladd_float
end

# Does the machine code that runs here for `instance` come with Julia, without fused instructions?
function rounds_twice(instance::Core.MethodInstance)
    code = Codegen.inferred(instance, Base.get_world_counter())
    (code === nothing || code.specptr == C_NULL) && return false
    address = UInt(code.specptr)
    Codegen.library_at(address) == unsafe_string(Base.JLOptions().image_file) || return false
    return !occursin(r"fn?m(add|sub|la|ls)", Codegen.assembly_at(address))
end

# What Julia takes from openlibm. A node has the same functions, bit by bit, whatever its C library (rust/runtime/src/math.rs).
const OPENLIBM = ("exp2", "exp2f", "expm1", "expm1f", "log2", "log2f", "log10", "log10f")

# Of a constant, LLVM would take what the system's C library gives. Locally these functions are called through pointers, of which it
# knows nothing.
function call_openlibm!(portable::Portable)
    kind = LLVM.GetEnumAttributeKindForName("nobuiltin", 9)
    for name in OPENLIBM
        found = LLVM.GetNamedFunction(portable.mod, name)
        LLVM.isnull(found) || LLVM.AddAttributeAtIndex(found, FUNCTION_ATTRIBUTES, LLVM.CreateEnumAttribute(portable.context, kind, UInt64(0)))
    end
end
