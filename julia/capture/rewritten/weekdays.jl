# Days of the week before and after a date: `Dates` looks them up in a table that is no constant.

for (_, m) in Base.loaded_modules
    nameof(m) === :Dates || continue
    @eval begin
        # So many days on (or back, with a `step` of -1) to the day of the week `dow`.
        function to_weekday(date::$(m.TimeType), dow::Int, step::Int)
            1 <= dow <= 7 || throw(KeyError(dow))
            return date + $(m.Day)(step * mod(step * (dow - $(m.dayofweek)(date)), 7))
        end
        # What is left of these functions once their keyword is known.
        weekday_from(same::Bool, ::typeof($(m.tonext)), date::$(m.TimeType), dow::Int) = to_weekday(same ? date : date + $(m.Day)(1), dow, 1)
        weekday_from(same::Bool, ::typeof($(m.toprev)), date::$(m.TimeType), dow::Int) = to_weekday(same ? date : date - $(m.Day)(1), dow, -1)
        weekday_from(of::DataType, ::typeof($(m.tofirst)), date::$(m.TimeType), dow::Int) =
            to_weekday(of === $(m.Month) ? $(m.firstdayofmonth)(date) : $(m.firstdayofyear)(date), dow, 1)
        weekday_from(of::DataType, ::typeof($(m.tolast)), date::$(m.TimeType), dow::Int) =
            to_weekday(of === $(m.Month) ? $(m.lastdayofmonth)(date) : $(m.lastdayofyear)(date), dow, -1)
    end
    foreach(name -> foreach(f -> FUNCTION_STAND_INS[f] = weekday_from, parts_of(m, name)), ("tonext", "toprev", "tofirst", "tolast"))
end
