# Known limits: calls that are refused, and why.

@refused "what the function gives has more types than inference follows" begin
    four_ways(2)
    getproperty((a = 1, b = 2.5), :b)
end

@refused "Julia dispatches when it runs" begin
    cumsum([1 2; 3 4]; dims = 1)
end
