# The smallest program: a node, a function, a call.

using BitCode

node = launch()
greet(n) = n^2 + 1
println("on ", node.address, ": ", @remote node greet(6))
close(node)
