# Which versions of Julia the package runs on. Capture rests on the inside of Julia's compiler, which changes from one minor version to the
# next: a version that nobody tried is refused here, in words, instead of somewhere in the middle.

"Minor versions of Julia that the package was tried on."
const TRIED_JULIAS = ((1, 5), (1, 10))

"""
    refuse_untried_julia(version, forced)

Throws an `ErrorException` if nobody tried the package on this `version` of Julia, and the user did not say to use it all the same.
"""
function refuse_untried_julia(version::VersionNumber, forced::Bool)
    ((version.major, version.minor) in TRIED_JULIAS || forced) && return nothing
    tried = join(("$major.$minor" for (major, minor) in TRIED_JULIAS), " and ")
    error("BitCode.jl was never tried on Julia $version, only on $tried: what it takes from Julia's compiler may be something else there. " *
          "Use one of those, or set BITCODE_UNTESTED_JULIA=1 in the environment to try.")
end

refuse_untried_julia(VERSION, get(ENV, "BITCODE_UNTESTED_JULIA", "") == "1")
