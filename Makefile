# make test   everything, on a fresh machine (installs what is missing)
# make check  the quick part: format, vet, lint, import policy, unit tests
# make bench  the benchmarks; figures go to docs/performance.md
# make bench-imap  IMAP beside Debian's Dovecot, in one run; needs root and half an hour
# make bench-smtp  SMTP beside Debian's Postfix with Dovecot; needs root and half an hour; BENCH_QUICK=1 for a few minutes
# make bench-ftp   FTP beside Debian's vsftpd, Pure-FTPd and ProFTPD; needs root and half an hour; BENCH_QUICK=1 for a few minutes
# make build  the static binary, bin/packetboat

GO ?= go
PACKAGES = ./...

.PHONY: test check unit race e2e tools bench bench-imap bench-ftp bench-smtp fuzz build clean

test: tools lint race e2e

check: lint unit

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GO) vet -tags 'e2e bench' ./cmd/packetboat
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

bench-imap: tools
	@[ -e /usr/lib/dovecot/lmtp ] || apt-get install -y -qq --no-install-recommends dovecot-imapd dovecot-lmtpd
	$(GO) test -tags 'e2e bench' -count 1 -timeout 3h -v ./cmd/packetboat -run TestBenchIMAP

bench-smtp: tools
	@[ -e /usr/lib/dovecot/lmtp ] || apt-get install -y -qq --no-install-recommends dovecot-imapd dovecot-lmtpd
	$(GO) test -tags 'e2e bench' -count 1 -timeout 3h -v ./cmd/packetboat -run TestBenchSMTP

bench-ftp:
	@sh .ci/ftp-peers
	$(GO) test -tags 'e2e bench' -count 1 -timeout 3h -v ./cmd/packetboat -run TestBenchFTP

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/packetboat ./cmd/packetboat

clean:
	rm -rf bin
