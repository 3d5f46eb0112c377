# telltale's commands. `make help` lists them.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/telltale-llm/telltale/internal/app.Version=$(VERSION)
# Real data for tests, outside the repository; tests say that they were skipped where it is absent.
FUZZTIME ?= 20s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# DuckDB needs cgo; CGO_ENABLED=0 make build leaves it out: see docs/adr/0008-cgo-for-duckdb.md.
CGO_ENABLED ?= 1

.PHONY: build
build: ## build bin/telltale
	CGO_ENABLED=$(CGO_ENABLED) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/telltale ./cmd/telltale

.PHONY: release
release: ## build a release's archives and checksums into dist/VERSION, as action.yml downloads them
	.ci/release.sh dist $(VERSION) '$(LDFLAGS)'

.PHONY: demo
demo: build ## build, and run the main job on what is in the repository
	./examples/demo.sh

.PHONY: test
test: ## run the tests with the race detector
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...

.PHONY: test-long
test-long: ## run the tests that take minutes
	TELLTALE_LONG=1 $(GO) test -timeout 30m -run Long ./...

.PHONY: test-real
test-real: build ## compare with reference implementations on MiniLM and SmolLM2 from PyPI
	./bench/real/run.sh

.PHONY: check
check: lint test ## format, lint and test: what a change must pass

.PHONY: lint
lint: bin/golangci-lint ## check format and run the linters
	bin/golangci-lint run ./...

bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench/node_modules: bench/package-lock.json
	cd bench && npm ci --no-audit --no-fund --loglevel=error && touch node_modules

.PHONY: conformance-promptfoo
conformance-promptfoo: bench/node_modules ## run promptfoo's and our own verdicts on the same suites against the same server
	$(GO) run ./bench/conformance/promptfoo

.PHONY: conformance-lmeval
conformance-lmeval: build ## run lm-evaluation-harness and telltale on the same tasks against the same server
	./bench/conformance/lmeval/run.sh bin/telltale

bench/conformance/clients/node_modules: bench/conformance/clients/package-lock.json
	cd bench/conformance/clients && npm ci --no-audit --no-fund --loglevel=error && touch node_modules

.PHONY: conformance
conformance: build bench/conformance/clients/node_modules ## try the gateway and the OTLP endpoint with real clients from npm
	$(GO) run ./bench/conformance/clients -telltale bin/telltale

.PHONY: bench-gateway
bench-gateway: build bench/node_modules ## measure the gateway beside nginx and Portkey
	$(GO) run ./bench/gateway -telltale bin/telltale -tools bench -doc docs/benchmarks.md -enforce

.PHONY: bench-ingest
bench-ingest: build ## measure how many exchanges a second are taken in and stored
	$(GO) run ./bench/ingest -telltale bin/telltale -doc docs/benchmarks.md -enforce

.PHONY: bench-store
bench-store: ## measure the embedded store with ten million exchanges in it
	$(GO) run ./bench/store -enforce

.PHONY: bench-faults
bench-faults: build ## break what is behind the gateway under load, and count what users notice and what is lost
	$(GO) run ./bench/faults -telltale bin/telltale -doc docs/benchmarks.md -enforce

.PHONY: bench-gate
bench-gate: ## measure how often the regression gate is wrong, by simulation
	$(GO) run ./bench/gate -doc docs/benchmarks.md -enforce

.PHONY: bench-rollout
bench-rollout: ## measure how often rollouts are wrong and how soon they are right, by simulation
	$(GO) run ./bench/rollout -doc docs/benchmarks.md -enforce

.PHONY: bench
bench: build bench/node_modules ## measure against promptfoo, and the paths every sample takes
	$(GO) run ./bench/compare -telltale bin/telltale -tools bench -doc docs/benchmarks.md -enforce
	$(GO) test -run '^$$' -bench '^Benchmark(JournalAppend|Pass|Render|Whole|Encode|Decode|Handler|Contains|Forbidden|IsJSONWithSchema|Add|Collect|JUnit|Observe|Update)$$' -benchmem -benchtime 0.3s \
	  ./internal/runner ./internal/dataset ./internal/template ./internal/provider/openai ./internal/sim ./internal/scorer ./internal/metric ./internal/report ./internal/rollout ./internal/stats
	$(MAKE) bench-gate

.PHONY: generate
generate: ## rewrite what is made from the code: schema, docs, golden files
	$(GO) test ./internal/scorer ./internal/report ./internal/dataset ./internal/api ./cmd/telltale -run 'Golden|Doc|Schema' -update

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

# The corpora of the toxicity model: see docs/safety.md.
TOXICITY_DATA ?= ../shared/data/toxicity

.PHONY: train-toxicity
train-toxicity: ## train the toxicity model from TOXICITY_DATA and report on it
	$(GO) run ./internal/scorer/toxicity/train -data $(TOXICITY_DATA) -out internal/scorer/toxicity/weights.bin

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
