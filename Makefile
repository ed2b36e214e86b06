# PiCloud. `make` alone prints what there is.

SHELL   := /bin/bash
GO      ?= PATH="$$(scripts/setup-go):$$PATH" go
FUZZTIME ?= 30s
BENCHTIME ?= 1s
BENCH   ?= .
ROUNDS  ?= 200
CUTS    ?= 2000
SOAK    ?= 1h
HOSTILE ?= 20m
FAULTS  ?= 2000
CLIENT  ?= 1m
CLIENT_SOAK ?= 1h

.DEFAULT_GOAL := help
.PHONY: help build run test unit race e2e crash powercut boards pins i2c pi pi-debian appliance lan soak hostile damage lint fmt nightly fuzz bench cross install-tools ci clean

help: ## print this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS=$$'\t' read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done

build: ## build ./picloud, a static binary for this machine
	CGO_ENABLED=0 $(GO) build -trimpath -o picloud ./cmd/picloud

run: build ## build, start a node on ./var with a live demo, say what to try next
	scripts/run

test: ## everything: format, vet, lint, cross builds, unit and end-to-end tests; installs what is missing
	scripts/test

ci: test ## what CI runs: the same as test

unit: ## unit tests alone, without the race detector (the quick turn while working)
	$(GO) test $$($(GO) list ./... | grep -v /e2e$$)

race: ## unit tests with the race detector
	$(GO) test -race $$($(GO) list ./... | grep -v /e2e$$)

e2e: ## end-to-end tests alone, against the real binary
	$(GO) test -count=1 -timeout 20m ./e2e/

crash: ## the kill -9 loop alone: ROUNDS=200
	PICLOUD_E2E_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 120m -run 'TestCrash' -v ./e2e/

powercut: ## power cuts on a disk that loses what was not flushed: CUTS=2000 (root)
	PICLOUD_E2E_CUTS=$(CUTS) $(GO) test -count=1 -timeout 120m -run 'TestPowerCut' -v ./e2e/

boards: ## hostile scripts in workers as they run on arm64 and ARMv6 boards, emulated
	scripts/boards

pins: ## pins of a real kernel with a simulated GPIO chip, in an emulated machine (Debian on amd64)
	scripts/pins

i2c: ## sensors on the I²C bus of a real kernel, in emulated Raspberry Pis (Debian on amd64)
	scripts/i2c

pi: ## the real binary on a whole emulated Raspberry Pi: its pins, its clock, its power (Debian on amd64)
	scripts/pi

pi-debian: ## the package on a whole emulated Raspberry Pi with Debian and systemd, and a power cut (root, Debian on amd64)
	scripts/pi-debian

.PHONY: armhf
armhf: ## the armhf package in emulated systems of Debian 12 and 13, running as the ARMv6 of a first Raspberry Pi (root, Debian on amd64)
	scripts/armhf

appliance: ## the binary under its units, with a real systemd, in containers of Debian 12 and 13 (root, Debian)
	scripts/appliance

lan: ## a network of two machines: the browser of one finds the node on the other by its name (Debian, root)
	scripts/lan

soak: ## full load for SOAK=1h, with flat memory
	PICLOUD_E2E_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -run 'TestSoak' -v ./e2e/

.PHONY: client
client: ## build and test @picloud/client (clients/typescript), with its size
	scripts/client

.PHONY: client-long
client-long: ## a page that reads 1 000 events a second for CLIENT=1m after all that can happen to it, in Chromium
	PICLOUD_E2E_CLIENT=$(CLIENT) $(GO) test -count=1 -timeout 0 -run 'TestClientInAPage' -v ./e2e/

.PHONY: client-runtimes
client-runtimes: ## @picloud/client in Node.js 18.0 and 26, Deno and Bun, against the real daemon
	scripts/client runtimes

.PHONY: client-mutation
client-mutation: ## mutates the parser of @picloud/client and what makes it come back: tests have to notice
	scripts/client mutation

.PHONY: client-soak
client-soak: ## the memory of pages that read 100 events a second for CLIENT_SOAK=1h, in Chromium
	PICLOUD_E2E_CLIENT_SOAK=$(CLIENT_SOAK) $(GO) test -count=1 -timeout 0 -run 'TestClientSoak' -v ./e2e/

lint: ## golangci-lint with .golangci.yml
	scripts/lint

fmt: ## format all Go code as the linter wants it
	scripts/lint fmt

damage: ## random damage to the files of a data directory: FAULTS=2000
	PICLOUD_GALLERY=$(FAULTS) $(GO) test -count=1 -timeout 60m -run 'TestGallery|TestDamagedState' ./store/

hostile: ## a node of 512 MiB under everything hostile at once for HOSTILE=20m
	PICLOUD_E2E_HOSTILE=$(HOSTILE) $(GO) test -count=1 -timeout 0 -run 'TestHostileSoak' -v ./e2e/

nightly: ## the long runs: fuzzing for 2 minutes each, 2 000 power cuts, 200 kills, emulated boards, pins, sensors and a whole Raspberry Pi, the package on one with Debian and in armhf systems, the appliance, a network of two machines, an hour of soak, 20 minutes of hostility, 2 000 faults, a minute and an hour of pages, the client in other runtimes and mutated, packages
	FUZZTIME=2m scripts/fuzz
	$(MAKE) powercut crash boards pins i2c pi pi-debian armhf appliance lan soak hostile damage client-long client-soak client-runtimes client-mutation package-test

fuzz: ## every fuzz target for FUZZTIME=30s each
	FUZZTIME=$(FUZZTIME) scripts/fuzz

bench: ## every benchmark, and beside nchan and a bare loop: BENCH=regexp BENCHTIME=1s
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...
	scripts/bench-hubs

cross: ## build for every board: linux arm64, arm (ARMv6) and amd64, without cgo
	scripts/cross

.PHONY: deb apt release package-test

deb: ## Debian packages for arm64, armhf (ARMv6) and amd64 in dist/
	scripts/deb

apt: ## a signed apt repository of the packages in dist/apt: URL=https://apt.example.org/picloud
	scripts/apt-repository "$(URL)"

release: ## the files of a release from the commit of its tag (docs/release.md)
	scripts/release

package-test: ## the packages on Debian 12 and 13: lintian, install, upgrade, downgrade, remove, purge (root)
	scripts/package-test

install-tools: ## install what the tests need: a compiler, curl, nginx, caddy, PostgreSQL, PgBouncer, chromium, golangci-lint
	scripts/setup-test

clean: ## remove what was built (never ./var, which holds the data of make run)
	rm -rf picloud bin dist e2e/out
