# For tests that wait for something: never for a time, always for a condition.

"""
    eventually(condition; deadline = 30)

Wait until `condition()` holds; false if it does not within so many seconds.
"""
function eventually(condition; deadline = 30)
    return timedwait(() -> condition()::Bool, Float64(deadline); pollint = 0.02) == :ok
end

# A process of this machine that has not ended. (A zombie has.)
function is_alive(pid)
    path = "/proc/$pid/stat"
    isfile(path) || return false
    text = try
        read(path, String)
    catch
        return false
    end
    return !(split(text[findlast(')', text)+1:end])[1] in ("Z", "X"))
end

# `f()`'s exception; an error if there is none.
function thrown(f)
    try
        f()
    catch e
        return e
    end
    error("nothing was thrown")
end
