# No address of this process leaves it. Every pointer that the code generator wrote into the code as a number becomes a symbol: of a
# Julia object (with its descriptor, see objects.jl), of a C function or variable (by name), of a text. What an address means is
# decided here, by looking at this process; the node has nothing to go by.

# A Julia object (or something that stands where an object should be) which the code names. Symbol: "constant.<position>".
struct Constant
    object::Any
    offence::Union{Nothing,Offence}
end

constant_symbol(k::Int) = string("constant.", k)

# The position in `work.constants` that a symbol stands for, 0 if it is another symbol.
function constant_position(value::LLVM.ValueRef)
    LLVM.GetValueKind(value) == LLVM.KIND_GLOBAL_VARIABLE || return 0
    name = LLVM.name_of(value)
    startswith(name, "constant.") || return 0
    return parse(Int, SubString(name, 10))
end

# The object that a value is, wrapped in `Some`, if it is a constant one.
function constant_object(work, value::LLVM.ValueRef)
    k = constant_position(uncast(value))
    k == 0 && return nothing
    constant = work.constants[k]
    return constant.offence === nothing ? Some(constant.object) : nothing
end

function symbolise!(work)
    pointers, numbers = literal_addresses(work.portable)
    for literal in pointers
        address = LLVM.ConstIntGetZExtValue(LLVM.GetOperand(literal, 0))
        address < 4096 && continue
        symbol = symbol_for(work, literal, address)
        LLVM.ReplaceAllUsesWith(literal, symbol)
    end
    for (instruction, operand) in numbers
        literal = LLVM.GetOperand(instruction, operand)
        symbol = number_symbol(work, LLVM.ConstIntGetZExtValue(literal))
        LLVM.isnull(symbol) && continue
        LLVM.SetOperand(instruction, operand, LLVM.ConstPtrToInt(symbol, LLVM.TypeOf(literal)))
    end
end

# All pointers written as numbers (constant expressions), and all places of 64-bit numbers that may be addresses.
function literal_addresses(portable::Portable)
    pointers = LLVM.ValueRef[]
    numbers = Tuple{LLVM.ValueRef,Cuint}[]
    seen = Set{LLVM.ValueRef}()
    long = LLVM.Int64TypeInContext(portable.context)
    for f in LLVM.Functions(portable.mod), block in LLVM.Blocks(f), instruction in LLVM.Instructions(block)
        for i in 0:LLVM.GetNumOperands(instruction)-1
            operand = LLVM.GetOperand(instruction, i)
            kind = LLVM.GetValueKind(operand)
            if kind == LLVM.KIND_CONSTANT_INT
                LLVM.TypeOf(operand) == long && may_be_address(LLVM.ConstIntGetZExtValue(operand)) && push!(numbers, (instruction, i))
            elseif is_compound_constant(kind)
                collect_literals!(pointers, seen, operand)
            end
        end
    end
    for g in LLVM.Globals(portable.mod)
        is_definition(g) || continue
        initializer = LLVM.GetInitializer(g)
        LLVM.isnull(initializer) || !is_compound_constant(LLVM.GetValueKind(initializer)) || collect_literals!(pointers, seen, initializer)
    end
    return pointers, numbers
end

is_compound_constant(kind::Cint) = LLVM.KIND_CONSTANT_EXPRESSION <= kind <= LLVM.KIND_CONSTANT_VECTOR

function collect_literals!(pointers::Vector{LLVM.ValueRef}, seen::Set{LLVM.ValueRef}, constant::LLVM.ValueRef)
    constant in seen && return
    push!(seen, constant)
    if LLVM.GetValueKind(constant) == LLVM.KIND_CONSTANT_EXPRESSION && LLVM.GetConstOpcode(constant) == LLVM.INT_TO_PTR
        if LLVM.GetValueKind(LLVM.GetOperand(constant, 0)) == LLVM.KIND_CONSTANT_INT
            push!(pointers, constant)
            return
        end
    end
    for i in 0:LLVM.GetNumOperands(constant)-1
        operand = LLVM.GetOperand(constant, i)
        is_compound_constant(LLVM.GetValueKind(operand)) && collect_literals!(pointers, seen, operand)
    end
end

# User space on every 64-bit machine that Julia runs on; small numbers and most bit patterns are outside.
may_be_address(value::UInt64) = 0x0000_0001_0000_0000 <= value < 0x0000_8000_0000_0000

# The symbol for `address`, with the type of `literal`.
function symbol_for(work, literal::LLVM.ValueRef, address::UInt64)
    type = LLVM.TypeOf(literal)
    element = LLVM.GetElementType(type)
    if LLVM.GetTypeKind(element) == LLVM.FUNCTION_TYPE
        return function_symbol(work, address, type)
    end
    return pointer_as(object_symbol(work, literal, address, element), type)
end

function pointer_as(symbol::LLVM.ValueRef, type::LLVM.TypeRef)
    space = LLVM.GetPointerAddressSpace(type)
    plain = LLVM.PointerType(LLVM.GetElementType(type), 0)
    symbol = LLVM.ConstBitCast(symbol, plain)
    return space == 0 ? symbol : LLVM.ConstAddrSpaceCast(symbol, type)
end

# A symbol of what lies at `address`: an object, a variable of the C libraries, a text, or the offence that it cannot be told.
function object_symbol(work, literal::LLVM.ValueRef, address::UInt64, element::LLVM.TypeRef)
    k = get(work.by_address, address, 0)
    k == 0 || return constant_global(work, k)
    sure = is_object_type(element)
    if sure || holds(address - 8)
        tag = Codegen.tag_at(address)
        if is_binding_tag(tag)
            return add_constant!(work, address, Constant(nothing, binding_offence(binding_at(address))))
        elseif sure || is_type_at(tag) && !may_be_plain_memory(address, tag)
            return add_constant!(work, address, Constant(Codegen.object_at(address), nothing))
        end
    end
    symbol = Codegen.symbol_at(address)
    symbol === nothing || return external_variable(work, symbol..., element)
    is_message(work, literal) && return text_global(work, unsafe_string(Ptr{UInt8}(address)))
    return add_constant!(work, address, Constant(nothing, address_offence(address)))
end

is_type_at(tag::UInt64) = holds(tag - 8) && Codegen.tag_at(tag) == Codegen.address_of_object(DataType)

# Where tags may be small numbers, what `malloc` keeps before its memory looks like one: such an object is only believed if nothing in it leads
# elsewhere.
may_be_plain_memory(address::UInt64, tag::UInt64) =
    unsafe_load(Ptr{UInt}(address - 8)) & ~UInt64(15) != tag && !isbitstype(Codegen.object_at(tag))

function add_constant!(work, address::UInt64, constant::Constant)
    push!(work.constants, constant)
    k = length(work.constants)
    work.by_address[address] = k
    return constant_global(work, k)
end

function constant_global(work, k::Int)
    name = constant_symbol(k)
    found = LLVM.GetNamedGlobal(work.portable.mod, name)
    LLVM.isnull(found) || return found
    return LLVM.AddGlobal(work.portable.mod, LLVM.Int8TypeInContext(work.portable.context), name)
end

# Texts are only ever arguments of the functions that raise an error with them.
const TEXT_TAKERS = ("jl_error", "jl_type_error", "jl_load_and_lookup")

is_message(work, literal::LLVM.ValueRef) = all(LLVM.Users(literal)) do user
    is_instruction(user) && is_call_instruction(user) || return false
    target = callee(user)
    !LLVM.isnull(target) && LLVM.name_of(target) in TEXT_TAKERS
end

function text_global(work, text::String)
    bytes = LLVM.ConstStringInContext(work.portable.context, pointer(text), sizeof(text), 0)
    g = LLVM.AddGlobal(work.portable.mod, LLVM.TypeOf(bytes), "text")
    LLVM.SetInitializer(g, bytes)
    LLVM.SetLinkage(g, LLVM.PRIVATE_LINKAGE)
    LLVM.SetGlobalConstant(g, 1)
    LLVM.SetUnnamedAddress(g, 2)
    return g
end

# A number in the code is taken for an address when it is one: of a C symbol exactly, or of memory that is mapped.
function number_symbol(work, value::UInt64)
    symbol = Codegen.symbol_at(value)
    if symbol !== nothing
        return external_variable(work, symbol..., LLVM.Int8TypeInContext(work.portable.context))
    elseif holds(value)
        k = get(work.by_address, value, 0)
        k == 0 || return constant_global(work, k)
        return add_constant!(work, value, Constant(nothing, address_offence(value)))
    end
    return LLVM.NO_VALUE
end

# Is the word at `address` in memory that this process may read?
function holds(address::UInt64)
    for line in eachline("/proc/self/maps")
        dash = findfirst('-', line)::Int
        space = findnext(' ', line, dash)::Int
        first = parse(UInt, SubString(line, 1, dash - 1), base=16)
        last = parse(UInt, SubString(line, dash + 1, space - 1), base=16)
        first <= address <= last - 8 && return line[space+1] == 'r'
    end
    return false
end
