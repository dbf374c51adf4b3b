# Every target does its own set-up; see scripts/ensure.sh.
GO ?= go
BIN := bin/espersim
SHELL := bash

.PHONY: help run test verify bench soak explore generate ptx fuzz disk-oracle build sweep-short mutants planted

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN): build

build: ## build the command into bin/
	@scripts/ensure.sh go
	@$(GO) build -o $(BIN) ./cmd/espersim

run: build ## show what espersim is for: a log that loses data, and one that does not
	@scripts/demo.sh $(BIN)

test: build ## all tests, and every scenario twice
	@scripts/ensure.sh cc
	@scripts/ensure.sh protoc python || echo "going on: the tests that need it say that they were skipped" >&2
	@$(GO) test ./...
	@scripts/devices.sh
	@$(BIN) run scenarios/ --twice --whole

verify: build ## what a commit must pass: formatting, vet, generated code, tests, determinism
	@scripts/verify.sh

bench: ## speed and size, each beside its yardstick
	@scripts/ensure.sh go
	@$(GO) test -run '^$$' -bench . -benchtime 1s ./sim/... ./contracts/... ./cluster/trainer ./scenarios/runner
	@scripts/where.sh

soak: build ## 10,000 run seeds of the triad under everything survivable, and the long scenarios
	@scripts/soak.sh $(BIN)

explore: build ## every crash of every short sequence, every order of a protocol's messages
	@$(BIN) explore disk
	@$(BIN) explore order --deviations 3

sweep-short: build ## two minutes of run seeds over the short scenarios: for every commit
	@$(BIN) sweep scenarios/ --class short --budget $(or $(BUDGET),2m)

mutants: ## change the system in one place at a time, and count what the suite notices (ONLY=id, JOBS=n)
	@scripts/ensure.sh go
	@$(GO) run ./scenarios/mutants/cmd --jobs $(or $(JOBS),1) $(if $(BUDGET),--budget $(BUDGET)) $(if $(ONLY),--only '$(ONLY)')

planted: ## each invariant with its planted bug: in, it is found; out, the run is clean (ONLY=ids)
	@scripts/ensure.sh go
	@$(GO) run ./scenarios/planted/cmd $(ONLY)

generate: ## generated code and schemas
	@scripts/ensure.sh go
	@$(GO) run ./contracts/build/generate
	@scripts/ensure.sh protoc || true
	@$(GO) run ./contracts/build/python
	@$(GO) run ./cmd/espersim scenario schema > scenarios/schema.json.new && mv scenarios/schema.json.new scenarios/schema.json

ptx: ## the kernels of gpu/kernels as PTX
	@scripts/ensure.sh clang
	@scripts/ptx.sh

fuzz: ## fuzz every decoder for a while (FUZZTIME=30s)
	@scripts/ensure.sh go
	@scripts/fuzz.sh

disk-oracle: ## compare the disk model with a real ext4 (needs root and loop devices)
	@scripts/ensure.sh go
	@$(GO) run ./sim/disk/oracle -every 1
