# One cycle through 1:n in an order that jumps about.
function one_cycle(n)
    order = sortperm([hash(i) for i in 1:n])
    table = zeros(Int, n)
    for k in 1:n
        table[order[k]] = order[mod1(k + 1, n)]
    end
    return table
end
