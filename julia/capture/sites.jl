# Where in the source a call of the code is: its *site*, a number in place of a line. Names and files stay here (`Shipped.sites`); a node only
# tells at which sites an exception passed (docs/ABI.md, "The backtrace"). Locations of all other instructions are dropped.
#
# Sites are marked twice: before the optimisation, so that only calls have locations while the passes run, and after it, when what was
# inlined into what is settled and few calls are left.

# Frames of a site, innermost first.
const Site = Vector{Frame}

# Frames of files in here are not the user's.
const OWN_FILES = dirname(@__DIR__)
is_own(frame::Frame) = startswith(frame.file, OWN_FILES) || frame.line == 0

# Numbers for sites, from 1; one that has no frame is 0.
struct SiteTable
    sites::Vector{Site}
    numbers::Dict{Site,Int}
end
SiteTable() = SiteTable(Site[], Dict{Site,Int}())

function number!(table::SiteTable, site::Site)
    isempty(site) && return 0
    return get!(table.numbers, site) do
        push!(table.sites, site)
        length(table.sites)
    end
end

# Calls that cannot throw need none.
function has_site(instruction::LLVM.ValueRef)
    is_call_instruction(instruction) || return false
    f = callee(instruction)
    (LLVM.isnull(f) || is_definition(f)) && return true
    name = LLVM.name_of(f)
    return !any(prefix -> startswith(name, prefix), ("llvm.", "julia.", "jl_box_", "jl_excstack", "jl_restore", "jl_pop_handler", "jl_enter_handler"))
end

# The lines of the source become sites.
function mark_sites!(portable::Portable)
    return number_sites!(portable, instruction -> filter!(!is_own, reverse!(frames_of(instruction))), definition_site, () -> LLVM.StripModuleDebugInfo(portable.mod))
end

function definition_site(f::LLVM.ValueRef)
    subprogram = LLVM.GetSubprogram(f)
    subprogram == C_NULL && return Site()
    line = Int(LLVM.DISubprogramGetLine(subprogram))
    frame = Frame(readable_name(replace(LLVM.name_of(f), r"\.\d+$" => "")), LLVM.subprogram_file(subprogram), line)
    return is_own(frame) ? Site() : [frame]
end

# The sites that are left, and what they were inlined into, become new sites, without gaps. Takes names away, too.
function settle_sites!(portable::Portable, sites::Vector{Site})
    site(number) = number == 0 ? Site() : sites[number]
    function merged(instruction)
        frames, i = Site(), 0
        while (found = LLVM.source_location(instruction, i)) !== nothing
            append!(frames, site(found[3]))
            i += 1
        end
        return frames
    end
    function definition(f)
        subprogram = LLVM.GetSubprogram(f)
        return subprogram == C_NULL ? Site() : site(Int(LLVM.DISubprogramGetLine(subprogram)))
    end
    return number_sites!(portable, merged, definition, () -> strip_names!(portable))
end

# All debug information, which `strip!()` takes away, becomes numbers of sites, as `site_of(call)` and `definition_of(function)` say. None is left if
# no call has a site.
function number_sites!(portable::Portable, site_of, definition_of, strip!)
    table = SiteTable()
    calls = Tuple{LLVM.ValueRef,LLVM.ValueRef,Int}[]
    each_instruction(portable) do f, instruction
        has_site(instruction) && push!(calls, (f, instruction, number!(table, site_of(instruction))))
    end
    marked = any(call -> call[3] > 0, calls)
    definitions = Tuple{LLVM.ValueRef,Int}[(f, marked ? number!(table, definition_of(f)) : 0) for f in LLVM.Functions(portable.mod) if is_definition(f)]
    strip!()
    marked || return Site[]
    LLVM.line_table!(portable.context, portable.mod, definitions, calls)
    return table.sites
end
