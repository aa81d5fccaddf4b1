# What stands for what: the functions of this folder in the place of Julia's.

function register_rewritten!()
    FUNCTION_STAND_INS[Base.deepcopy] = deepcopy_of
    FUNCTION_STAND_INS[Base.deepcopy_internal] = deep_copy
    isdefined(Base, :_deepcopy_array_t) && (FUNCTION_STAND_INS[Base._deepcopy_array_t] = deep_copy)
    isdefined(Base, :_extrema_dims) && (FUNCTION_STAND_INS[Base._extrema_dims] = extrema_along)
    # Later versions say other things of dimensions that are not there, and need no help.
    VERSION < v"1.6" && foreach(f -> FUNCTION_STAND_INS[f] = reversed_along, parts_of(Base, "reverse"))
    # Later versions go through the pieces in this way themselves.
    VERSION < v"1.6" && (FUNCTION_STAND_INS[Base.__cat] = placed_pieces)
    isdefined(Base, :_repeat) && (FUNCTION_STAND_INS[Base._repeat] = repeated)
    isdefined(Base, :_accumulate!) && (FUNCTION_STAND_INS[Base._accumulate!] = accumulated_along)
    for (_, m) in Base.loaded_modules
        nameof(m) === :Base64 || continue
        foreach(f -> FUNCTION_STAND_INS[f] = encoded_text, parts_of(m, "base64encode"))
        FUNCTION_STAND_INS[m.base64decode] = decoded_bytes
    end
end
register_rewritten!()
