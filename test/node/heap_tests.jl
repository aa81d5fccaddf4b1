# Memory during a call: what is dropped is used again, what is kept stays, and there is a limit.

using BitCode, Test

const LIMIT = 256 << 20

node = launch(call_memory = LIMIT)

# Bytes of memory that the node's process has now, and the most it ever had.
function memory_of(node, name)
    line = match(Regex("$name:\\s+(\\d+) kB"), read("/proc/$(getpid(node.process.process))/status", String))
    return parse(Int, line[1]) << 10
end

mutable struct Link
    next::Union{Nothing,Link}
    number::Int
end

# Ten megabytes that stay in use, as arrays that are looked at again and again.
function churn(total)
    kept = [fill(i, 12_500) for i in 1:100]
    taken = 0
    checksum = 0
    i = 0
    while taken < total
        i += 1
        fresh = fill(i, 1 + i % 4000)
        taken += sizeof(fresh)
        checksum += fresh[end] + kept[1+i%100][1+i%12_500]
        if i % 64 == 0
            kept[1+i%100] = fill(1 + i % 100, 12_500)
            taken += 100_000
        end
    end
    return checksum
end

function chain(n)
    head = nothing
    for i in 1:n
        head = Link(head, i)
        i % 1000 == 0 && (head = nothing)
    end
    total = 0
    while head !== nothing
        total += head.number
        head = head.next
    end
    return total
end

# Strings and dictionaries that come and go, next to some that stay.
function words(n)
    counts = Dict{String,Int}()
    parts = String[]
    for i in 1:n
        word = string(i % 5000, '-', i % 7)
        counts[word] = get(counts, word, 0) + 1
        push!(parts, word)
        length(parts) > 100 && (parts = parts[51:end])
    end
    return (length(counts), sum(values(counts)), join(parts, ','))
end

function tree(depth)
    depth == 0 && return Link(nothing, 1)
    left = tree(depth - 1)
    right = tree(depth - 1)
    return Link(left, left.number + right.number)
end

function vectors_of_vectors(n)
    all = Vector{Vector{Float64}}()
    for i in 1:n
        push!(all, fill(float(i), i % 100))
        i % 3 == 0 && popfirst!(all)
        length(all) > 2000 && resize!(all, 1000)
    end
    total = 0.0
    for v in all
        total += sum(v)
    end
    return total
end

function big_numbers(n)
    a, b = big(0), big(1)
    for _ in 1:n
        a, b = b, a + b
    end
    return a % 1_000_000_007
end

function hoard(n)
    all = Vector{Vector{Int}}()
    for i in 1:n
        push!(all, fill(i, 1000))
    end
    return length(all)
end

function hoard_carefully(n)
    try
        return hoard(n)
    catch e
        e isa OutOfMemoryError || rethrow()
        return -1
    end
end

function catch_many(n)
    caught = 0
    text = ""
    for i in 1:n
        try
            throw(DomainError(i, string("round ", i)))
        catch e
            e isa DomainError && (caught += 1; text = e.msg::String)
        end
    end
    return (caught, text)
end

@testset "what a call drops is used again" begin
    total = 20 << 30
    @test remotecall_fetch(churn, node, total) == churn(total)
    @test memory_of(node, "VmHWM") < 512 << 20
    @test remotecall_fetch(chain, node, 20_000_500) == chain(20_000_500)
    @test remotecall_fetch(words, node, 2_000_000) == words(2_000_000)
    @test remotecall_fetch(vectors_of_vectors, node, 500_000) == vectors_of_vectors(500_000)
    @test remotecall_fetch(catch_many, node, 300_000) == catch_many(300_000)
    number(n) = tree(n).number
    @test remotecall_fetch(number, node, 20) == 2^20
    @test memory_of(node, "VmHWM") < 512 << 20
end

@testset "big numbers are collected too" begin
    last(n) = Int(big_numbers(n))
    @test remotecall_fetch(last, node, 100_000) == last(100_000)
    @test memory_of(node, "VmHWM") < 512 << 20
end

@testset "the limit is an OutOfMemoryError, and the node serves on" begin
    for f in (hoard, n -> length(zeros(UInt8, n << 20)))
        error = try
            remotecall_fetch(f, node, 1 << 20)
        catch e
            e
        end
        @test error isa RemoteException && error.exception isa OutOfMemoryError
        @test remotecall_fetch(chain, node, 999) == chain(999)
    end
    @test remotecall_fetch(hoard_carefully, node, 1 << 20) == -1
    @test remotecall_fetch(hoard, node, 10_000) == 10_000
end

@testset "memory goes back when a call ends" begin
    remotecall_fetch(hoard, node, 25_000)
    @test memory_of(node, "VmRSS") < 128 << 20
end

@testset "a hundred thousand calls leave nothing behind" begin
    text(i) = string("call ", i, " of many")
    function work(i)
        counts = Dict{String,Int}()
        for word in split(text(i))
            counts[word] = length(word)
        end
        return sum(values(counts))
    end
    rounds(n) = for i in 1:n
        remotecall_fetch(work, node, i) == work(i) || error("a wrong sum")
    end
    rounds(10_000)
    before = memory_of(node, "VmRSS")
    rounds(100_000)
    @test memory_of(node, "VmRSS") - before < 8 << 20
end

close(node)
