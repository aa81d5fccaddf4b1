# What shipped code prints, shown here: taken from libbitcode as soon as it comes, whole lines at a time, each marked with its node.

for (f, stand_in) in ((print, Capture.node_print), (println, Capture.node_println), (show_value, Capture.node_show_value))
    Capture.PRINTERS[f] = stand_in
    push!(Capture.PRINTS_BY_ITSELF, f)
end

# A line that is longer than this is broken, so that a line without end does not fill the memory.
const LONGEST_LINE = 16 << 20

# A piece of output comes with its node's address; see bc_output_take.
const OUTPUT_BUFFER = 16384

"""
    Outlet

Where the output of one client's calls comes in: `waker` is signalled when there is some; `open` are the lines that have begun and not ended, by
session, call and stream.
"""
mutable struct Outlet
    handle::API.Handle
    waker::Base.AsyncCondition
    open::Dict{Tuple{UInt64,UInt64,UInt32},Vector{UInt8}}
    buffer::Vector{UInt8}
    lock::ReentrantLock
end

function Outlet(handle::API.Handle)
    waker = Base.AsyncCondition()
    outlet = Outlet(handle, waker, Dict{Tuple{UInt64,UInt64,UInt32},Vector{UInt8}}(), Vector{UInt8}(undef, OUTPUT_BUFFER), ReentrantLock())
    @async show_output_for_ever(outlet)
    notify_output(handle, waker)
    return outlet
end

function show_output_for_ever(outlet::Outlet)
    while isopen(outlet.waker)
        try
            wait(outlet.waker)
        catch e
            e isa EOFError && return nothing
            rethrow()
        end
        show_output(outlet)
    end
end

"""
    show_output(outlet)

Show all output that has come. When a call's outcome is taken after this, what it printed is to be seen.
"""
function show_output(outlet::Outlet)
    lock(outlet.lock) do
        while (piece = take_output(outlet.handle, outlet.buffer)) !== nothing
            show_piece(outlet, piece)
        end
    end
    return nothing
end

function show_piece(outlet::Outlet, piece::API.Output)
    address = String(outlet.buffer[1:piece.address_length])
    text = outlet.buffer[piece.address_length+1:piece.address_length+piece.text_length]
    key = (piece.session, piece.call, piece.stream)
    line = pop!(outlet.open, key, nothing)
    line === nothing || (text = append!(line, text))
    ready = text
    if piece.open == 1
        last = something(findlast(isequal(UInt8('\n')), text), 0)
        rest = text[last+1:end]
        if length(rest) < LONGEST_LINE
            outlet.open[key] = rest
            ready = text[1:last]
        end
    end
    isempty(ready) || write_out(piece.stream == 2 ? stderr : stdout, marked(address, ready))
    return nothing
end

# Who has closed `stdout` hears nothing. The call has its value all the same, and no node waits.
function write_out(stream::IO, lines::Vector{UInt8})
    try
        write(stream, lines)
    catch e
        e isa InterruptException && rethrow()
        @debug "output of a node could not be shown" exception = e
    end
    return nothing
end

# Each line with the node's mark in front. All in one piece: nothing can come in between.
function marked(address::String, text::Vector{UInt8})
    io = IOBuffer()
    start = 1
    while start <= length(text)
        stop = something(findnext(isequal(UInt8('\n')), text, start), length(text))
        write(io, "      From node ", address, ":\t", view(text, start:stop))
        start = stop + 1
    end
    text[end] == UInt8('\n') || write(io, '\n')
    return take!(io)
end
