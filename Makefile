# make test   everything, on a fresh machine (installs what is missing)
# make check  the quick part: format, vet, lint, import policy, unit tests
# make bench  the benchmarks; figures go to docs/performance.md
# make build  the static binary, bin/packetboat

GO ?= go
PACKAGES = ./...

.PHONY: test check unit race e2e tools bench fuzz build clean

test: tools lint race e2e

check: lint unit

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags e2e ./cmd/packetboat
	$(GO) tool staticcheck $(PACKAGES)

unit:
	$(GO) test $(PACKAGES)

race:
	$(GO) test -race -timeout 15m $(PACKAGES)

# The end-to-end suite starts the real binary and drives it with real clients.
e2e: tools
	$(GO) test -tags e2e -count 1 -timeout 15m ./cmd/packetboat -run 'TestEndToEnd|TestCrash'

tools:
	@sh .ci/tools

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/packetboat ./cmd/packetboat

clean:
	rm -rf bin
