# Archives that link to each other (docs/ARCHIVE.md, "Links"): a function that has an archive of its own need not be carried once more. What calls
# it names it by that archive's code id, and the node puts the two together.

# What an archive with this function exports for others, and the names by which others know it. The same in Rust: rust/wire/src/link.rs.
const FUNCTION_SYMBOL = "bitcode_function"
link_library(id::String) = string("bitcode:", id)
link_symbol(id::String) = string(FUNCTION_SYMBOL, '.', id)

"""
    Link(instance, id, shipped)

A captured function that other code may link to: the method instance that its archive exports, and the archive's code id in hexadecimal digits.
"""
struct Link
    instance::Core.MethodInstance
    id::String
    shipped::Any
end

# What a capture has to do with other archives: the method instance that others may link to, and what is to be linked to.
struct Linking
    exported::Union{Nothing,Core.MethodInstance}
    links::Vector{Link}
end
const NO_LINKING = Linking(nothing, Link[])

roots(entry::Core.MethodInstance, linking::Linking) =
    linking.exported === nothing ? [entry] : [entry, linking.exported]

# The name of the specialised function of an instance; "" if it was not emitted, or is a constant.
function emitted_name(emitted, instance::Core.MethodInstance)
    k = findfirst(found -> found === instance, emitted.instances)
    return k === nothing ? "" : emitted.names[k][2]
end

function exported_name(emitted, linking::Linking)
    linking.exported === nothing && return ""
    name = emitted_name(emitted, linking.exported)
    isempty(name) && throw(ArgumentError("$(linking.exported.def) returns a constant: there is nothing to link to"))
    return name
end

# Functions that are linked to lose their bodies, and with them all that only these need.
function link_out!(work, emitted, links::Vector{Link})
    for link in links
        name = emitted_name(emitted, link.instance)
        f = isempty(name) ? LLVM.NO_VALUE : LLVM.GetNamedFunction(work.portable.mod, name)
        (LLVM.isnull(f) || !is_definition(f)) && continue
        symbol = link_symbol(link.id)
        LLVM.ReplaceAllUsesWith(f, LLVM.declare_alike(work.portable.mod, symbol, f))
        work.libraries[symbol] = link_library(link.id)
        push!(work.allowed_libraries, link_library(link.id))
    end
end

# The links that the finished code has, in the manifest's order.
used_links(dependencies, links::Vector{Link}) =
    Link[link for dependency in dependencies for link in links if link_library(link.id) == dependency.soname]

# What a linked function may throw or return has to be in the manifest of the code that calls it: its types, and what may be asked for a text.
function describe_links!(work, links::Vector{Link})
    for link in links
        union!(work.deferrable, link.shipped.deferrable)
        for object in link.shipped.objects
            (object isa Union{DataType,Symbol} || Base.issingletontype(typeof(object))) && describe!(work.table, object)
        end
    end
end
