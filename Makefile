# Everything a person types. `make help` lists it.

# Sizes of the long checks of `make verify`.
export VERIFY_SECONDS ?= 60
export VERIFY_KILLS   ?= 50

# Compiling the Compose library is most of a cold `make up`: collecting less
# garbage meanwhile takes a sixth off.
export GOGC ?= 400

E2E_FLAGS ?=
NEED      := sh tools/need.sh
LINT      := go tool -modfile=tools/go.mod

.PHONY: help up down build test unit e2e lint bench verify

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

up: build ## build what is missing and bring the environment up
	@$(NEED) docker
	@bin/cutover up

down: build ## stop the environment (its data stay: cutover down --volumes removes them)
	@bin/cutover down

build: ## bin/cutover
	@$(NEED) go
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/cutover ./cmd/cutover

test: lint unit e2e ## formatting, vet, lint, unit and end-to-end tests

unit: ## unit tests with the race detector
	@$(NEED) go gcc
	go test -race -timeout 5m ./cmd/... ./internal/... ./fixtures/...

e2e: ## end-to-end tests against real containers
	@$(NEED) go docker chromium
	go test -count=1 -timeout 30m -v $(E2E_FLAGS) ./e2e/...
	go test -count=1 -timeout 10m -tags edgeimage ./internal/edge

lint: ## formatting, vet, staticcheck, and the direction of imports
	@$(NEED) go
	@unformatted=$$(gofmt -l cmd internal e2e fixtures); test -z "$$unformatted" || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(LINT) staticcheck ./...
	$(LINT) depguard ./...

bench: ## ratios measured in one run
	@$(NEED) go docker
	go test -run '^$$' -bench . -benchtime 2s ./internal/...
	go test -run '^$$' -bench EdgeCPU -benchtime 1x -tags edgeimage ./internal/edge

verify: ## the long checks: minutes of load, many kills (VERIFY_SECONDS=60)
	@$(NEED) go docker chromium
	go test -count=1 -timeout 120m -v -run 'Verify' ./e2e/... -args -verify
	EDGE_SLOW=1 go test -count=1 -timeout 10m -tags edgeimage -run 'TestEdge(Transparency|BreakGlass)' ./internal/edge
