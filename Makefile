# BitCode.jl: the commands. `make help` lists them; everything sets itself up.
#
#   JULIA=/path/to/julia     a Julia of your choice (else the PATH's, else the private one that `make setup` fetches)
#   NAME=latency             one benchmark of `make bench`

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The cargo and the julia of this clone (deps/tools.sh), for a recipe's line.
tools := . deps/tools.sh && use_tools

export JULIA

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | awk -F'\t' '{ printf "%-17s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## install what this machine lacks (Debian 12), or name it
	@bash deps/setup.sh

.PHONY: build
build: setup ## libbitcode and bitcode-node
	@$(tools) && "$$JULIA" --startup-file=no --project=. deps/build.jl

.PHONY: node-aarch64
node-aarch64: setup ## the same for aarch64, and what emulates it here: launch(2; arch = :aarch64)
	@bash deps/aarch64.sh

.PHONY: demo
demo: build ## four nodes, a Mandelbrot set, and what is special
	@$(tools) && "$$JULIA" --startup-file=no --project=. examples/demo.jl

.PHONY: test
test: setup ## every suite; the last line says how many passed
	@bash test/all.sh

.PHONY: bench
bench: build ## benchmarks, all or NAME=latency|cold|load|speed|alloc|bandwidth|archive|xrdma
	@$(tools) && "$$CARGO" build --release --locked -p bitcode-bench && \
	    "$$JULIA" --startup-file=no --project=. bench/run.jl $(NAME)

.PHONY: fmt
fmt: setup ## format the Rust sources
	@$(tools) && "$$CARGO" fmt --all

.PHONY: lint
lint: setup ## formatting, clippy and rustdoc, warnings refused
	@bash test/all.sh lint

.PHONY: clean
clean: ## remove what was built (not the private Julia)
	@rm -rf deps/deps.jl examples/out bench/out .depot/compiled
	@if $(tools); then "$$CARGO" clean; fi
