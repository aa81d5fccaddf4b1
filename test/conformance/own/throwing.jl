# Functions that throw and catch, for the conformance table.

zip_first(v) = first(zip(v, v))
collect_undef(n) = [s for s in Vector{String}(undef, n)]
findfirst_value(v, x) = v[findfirst(==(x), v)::Int]
iterate_past(v) = (s = 0; i = 0; while true; i += 1; s += v[i]; end; s)
write_closed(text) = (io = IOBuffer(text); write(io, "b"))
seek_back(n) = (io = IOBuffer("abc"); seek(io, n); position(io))

throws_text(text) = throw(ArgumentError("cannot use \"$text\""))
throws_interpolated(name, n) = error("variable ", name, " has ", n, " values, not ", n + 1)
struct Carrier <: Exception
    items::Vector{String}
end
throws_carrier(items) = throw(Carrier(items))
struct WithDictionary <: Exception
    table::Dict{String,Vector{Int}}
end
throws_dictionary(table) = throw(WithDictionary(table))
struct Outer <: Exception
    inner::Exception
    note::String
end
throws_nested(d) =
    try
        d["missing"]
    catch e
        throw(Outer(e, "while looking"))
    end
struct CustomText <: Exception
    code::Int
end
Base.showerror(io::IO, e::CustomText) = print(io, "custom failure number ", e.code)
throws_custom_text(n) = throw(CustomText(n))
struct Parametric{T} <: Exception
    value::T
end
throws_parametric(x) = throw(Parametric(x))
mutable struct MutableError <: Exception
    tries::Int
    log::Vector{String}
end
throws_mutable(n) = (e = MutableError(0, String[]); for i in 1:n; e.tries += 1; push!(e.log, "try"); end; throw(e))
throws_symbol(s) = throw(s)
throws_string(s) = throw(s)
throws_number(n) = throw(n)
throws_array(v) = throw(v)
struct InsufficientFunds <: Exception
    owner::String
    missing_amount::Float64
end
function withdraw!(account, amount)
    amount > account.balance && throw(InsufficientFunds(account.owner, amount - account.balance))
    account.balance -= amount
    return account
end
function validate(age)
    age < 0 && throw(DomainError(age, "an age is not negative"))
    age > 150 && throw(ArgumentError("nobody is $age years old"))
    return age
end
checked_positive(x) = x > 0 ? x : throw(DomainError(x))
deep_throw(n) = n == 0 ? throw(BoundsError([1, 2], 3)) : 1 + deep_throw(n - 1)
rethrown(v, i) =
    try
        v[i]
    catch
        rethrow()
    end
wrapped_throw(text) =
    try
        parse(Int, text)
    catch e
        e isa ArgumentError ? throw(ErrorException("could not read $(repr(text))")) : rethrow()
    end
throw_in_finally(n) =
    try
        n + 1
    finally
        n > 0 && error("from finally")
    end
throw_in_map(v) = map(x -> x == 0 ? throw(DivideError()) : 10 ÷ x, v)
throw_in_sort(v) = sort(v; lt = (a, b) -> a == 1 ? error("cannot compare") : a < b)
throw_in_comprehension(n) = [i < n ? i : throw(ErrorException("reached $i")) for i in 1:10]
throw_in_generator(texts) = sum(parse(Int, t) for t in texts)
throw_in_closure(n) = (f = x -> x > n ? x : error("too small: $x"); f(n))
struct Positive
    value::Int
    Positive(value) = value > 0 ? new(value) : throw(ArgumentError("$value is not positive"))
end
throw_in_constructor(n) = Positive(n)
throw_keyword(; limit) = limit > 2 ? throw(ArgumentError("limit = $limit")) : limit
throw_after_output(n) = (io = IOBuffer(); print(io, "made ", n); error(String(take!(io))))
assertion(n) = (@assert n < 2; n)
assertion_text(n) = (@assert n < 2 "n has to be small"; n)
key_error_of(key) = throw(KeyError(key))
dimension_mismatch(a, b) = size(a) == size(b) ? a + b : throw(DimensionMismatch("sizes $(size(a)) and $(size(b)) differ"))
only_for_strings(s::String) = s
no_method_error(x) = throw(MethodError(only_for_strings, (x,)))
type_assert(v, i) = v[i]::Int
convert_error(x) = convert(Int, x)
mutable struct Partly
    n::Int
    text::String
    Partly(n) = new(n)
end
undefined_field(n) = Partly(n).text
undefined_variable(flag) = (if flag; y = 1; end; y + 1)
mutable struct Small
    byte::UInt8
end
inexact_field(n) = (s = Small(1); s.byte = n; s)
overflow_text(n) = Base.Checked.checked_add(n, 1)
eof_error(text) = read(IOBuffer(text), UInt8)
missing_to_bool(x) = x > 1 ? 1 : 2
runaway_strings(n) = string("a", runaway_strings(n + 1))
runaway_mutual(n) = 1 + runaway_partner(n)
runaway_partner(n) = 2 * runaway_mutual(n + 1)
bad_index_message(m, i) = m[i]
argument_error_text(words) = throw(ArgumentError(string("unknown words: ", join(words, ", "))))
exceptions_in_list(v) = (errors = Exception[]; for x in v; x < 0 && push!(errors, DomainError(x, "negative")); end; throw(errors[1]))
system_error_text(code) = throw(SystemError("opening something", code, nothing))
no_such_symbol(name) = throw(UndefVarError(name))
load_error_like(file) = throw(LoadError(file, 3, ErrorException("inner")))
big_message(n) = error(repeat("long ", n))
composite_error(v) = throw(CompositeException([ErrorException("e$x") for x in v]))

caught_type(f) = try f(); :none catch e; e isa BoundsError ? :bounds : e isa DivideError ? :divide : e isa DomainError ? :domain :
    e isa ArgumentError ? :argument : e isa InexactError ? :inexact : e isa KeyError ? :key : :other end
caught_text(f) = try f(); "" catch e; e isa ErrorException ? e.msg : e isa ArgumentError ? string("argument: ", e.msg) : "other" end
caught_message(text) = try throws_text(text); "" catch e; (e::ArgumentError).msg end
caught_key(d, k) = try d[k] catch e; e isa KeyError ? length(e.key::String) : -1 end
caught_bounds(v, i) = try v[i] catch e; e isa BoundsError ? i : -1 end
caught_domain(x) = try sqrt(x) catch e; e isa DomainError ? -1.0 : rethrow() end
function catch_order(v)
    log = String[]
    for x in v
        try
            push!(log, "try $x")
            x == 2 && error("two")
            push!(log, "end $x")
        catch
            push!(log, "catch $x")
        finally
            push!(log, "finally $x")
        end
    end
    return log
end
function catch_with_finally(n)
    log = Int[]
    try
        n == 0 && throw(DivideError())
        push!(log, 10 ÷ n)
    catch
        push!(log, -1)
    finally
        push!(log, 99)
    end
    return log
end
function catch_in_loop(texts)
    numbers = Int[]
    for text in texts
        push!(numbers, try parse(Int, text) catch; -1 end)
    end
    return numbers
end
catch_and_continue(v) = (s = 0.0; for x in v; try; s += sqrt(x); catch; continue; end; end; s)
function nested_catch(n)
    try
        try
            n == 1 && error("one")
            n == 2 && throw(ArgumentError("two"))
        catch e
            e isa ErrorException && return "inner"
            throw(BoundsError())
        end
        return "none"
    catch e
        return e isa BoundsError ? "outer" : "strange"
    end
end
rethrow_caught(n) = try (try error("first") catch e; n > 2 ? rethrow() : 0 end) catch e; (e::ErrorException).msg end
finally_only(v) = (try push!(v, 2) finally push!(v, 3) end; v)
finally_returns(n) = (log = [n]; f() = try return length(log) finally push!(log, 0) end; (f(), log))
return_in_try(n) = try n > 3 && return "early"; "late" catch; "never" end
break_in_try(v) = (s = 0; for x in v; try; x == 2 && break; s += x; finally; s += 100; end; end; s)
function retry(times)
    tries = 0
    while true
        tries += 1
        try
            tries < times && error("not yet")
            return tries
        catch
            tries > 10 && rethrow()
        end
    end
end
safe_divide(a, b) = try div(a, b) catch e; e isa DivideError ? nothing : rethrow() end
try_value(text) = try parse(Int, text) catch; nothing end
unwind_many(n) = (caught = 0; for i in 1:n; try; throw(ErrorException("e")); catch; caught += 1; end; end; caught)
catch_own(n) = try throws_struct(n) catch e; e isa OwnError ? e.value : 0.0 end
catch_own_fields(text) = try throws_carrier([text, text]) catch e; e isa Carrier ? join(e.items, '+') : "" end
exception_as_value(n) = n > 2 ? DomainError(n, "kept, not thrown") : DomainError(0, "zero")
exception_list(texts) = (out = String[]; for t in texts; try; parse(Int, t); catch e; push!(out, (e::ArgumentError).msg); end; end; out)
function cleanup_log(names)
    log = String[]
    for name in names
        try
            isempty(name) && throw(ArgumentError("no name"))
            push!(log, "open " * name)
        catch e
            push!(log, "failed")
        finally
            push!(log, "close")
        end
    end
    return log
end
catch_stack_overflow(n) = try runaway(n) catch e; e isa StackOverflowError ? -1 : -2 end
function transaction!(accounts, name, amount)
    before = copy(accounts)
    try
        accounts[name] += amount
        accounts[name] < 0 && error("overdrawn")
        return accounts
    catch
        return before
    end
end
function state_machine(text)
    state = :start
    for c in text
        state = state === :start && c == 'a' ? :as : state === :as && c == 'a' ? :as : state === :as && c == 'b' ? :done :
            throw(ArgumentError("'$c' is not expected after $state"))
    end
    return state
end
catch_undef(n) = try Vector{String}(undef, n)[1] catch e; e isa UndefRefError ? "undefined" : "other" end
function catch_typed(n)
    try
        n == 0 && throw(BoundsError([1], 2))
        n == 1 && throw(KeyError("k"))
        n == 2 && error("plain")
        return "fine"
    catch e
        if e isa BoundsError
            return "bounds"
        elseif e isa KeyError
            return "key"
        else
            return "else"
        end
    end
end
error_then_ok(v) = (first = try v[5] catch; "?" end; first * v[1])
sprint_error(n) = try throws_own(n) catch e; e isa ArgumentError ? sprint(showerror, e) : "" end
try_else(x) = (y = try sqrt(x) catch; 0.0 end; y + 1)
catch_missing_key(keys, d) = [try d[k] catch; "none" end for k in keys]
fails_with(x) = x < 0 ? error("negative: ", x, " (", 2x, ")") : x
message_of_error(x) = try string(fails_with(x)) catch e; e isa ErrorException ? e.msg : "other" end
length_of_message(x) = try fails_with(x) catch e; e isa ErrorException ? length(e.msg) : 0 end
finally_changes(v) = try; isempty(v) || error("bad vector $v"); finally; empty!(v); end
catch_changes(v) = try; error("bad vector $v"); catch; push!(v, 0); rethrow(); end
finally_changes_inner(d) = try; haskey(d, "c") || throw(ArgumentError("none in $(d["a"]) of $(length(d))")); finally; push!(d["a"], 9); delete!(d, "b"); end
mutable struct Tally; n::Int; names::Vector{Tuple{String,Int}}; end
finally_changes_struct(t) = try; error("tally $(t.names[1]) of $(t.n) $(t.names)"); finally; t.n = 0; t.names[1] = ("z", 0); end
finally_changes_much(v) = try; error("first $(v[1]) of $(length(v))"); finally; v[1] = -1; end
message_in_finally(x) = (log = String[]; try; try; fails_with(x); finally; push!(log, "finally"); end; catch e; push!(log, (e::ErrorException).msg); end; log)
wrapped_message(x) =
    try
        fails_with(x)
    catch e
        throw(ArgumentError("wrapped: " * (e::ErrorException).msg))
    end
upper_message(x) = try fails_with(x) catch e; e isa ErrorException ? uppercase(e.msg) : rethrow() end
