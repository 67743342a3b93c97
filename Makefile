# The entry points. Each says what it does; the work is in tools/ and Tests/vm/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-qemu build release package test check vm-smoke vm-test vm-shell bench clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf 'make %-10s %s\n' "$$name" "$$what"; done

demo: ## two pretend VMs, first without a compositor, then in a private weston (DEMO_FLAGS=… for more)
	@tools/setup build demo
	@tools/demo

demo-qemu: ## a small real guest in QEMU, without a compositor and without KVM
	@tools/setup build vm
	@tools/demo-qemu

build: ## build the program and its tests (debug)
	@tools/setup build
	swift build --build-tests

release: ## build the stripped program into out/release
	@tools/setup build
	tools/build-release

package: release ## build the Debian package, out/vm-bridge_VERSION_ARCH.deb
	@tools/setup package
	@tools/package

test: ## run every test: checks, Swift tests, test machine; logs in out/test
	@tools/test

check: ## layout, imports between targets, unsafe code, scripts
	@tools/setup build test
	@tools/check

vm-smoke: release ## the main job in the test machine: real dma-bufs and fences into weston 14
	@Tests/vm/build-tools
	@Tests/vm/prepare
	@Tests/vm/run smoke

vm-test: release ## every test of the test machine
	@Tests/vm/run-all

vm-shell: ## a shell in the test machine, with the programs of out/release in /share/bin
	@Tests/vm/prepare
	@Tests/vm/run -i

bench: ## instructions and system calls per frame, beside a bare C client and, with fences, a bare C proxy
	@tools/setup build test vm bench
	Benchmarks/run
	Benchmarks/vm/run --binary .build/release/vm-bridge
	tools/build-release
	Tests/vm/build-tools
	Benchmarks/qemu/run

clean: ## delete what was built here (the test machine's parts stay in their cache)
	rm -rf .build out
