# Flotilla: every target only calls a script or swift.
#
#   make build      the programs, release, into output/
#   make builddashboard  the same, by the name that eRaft has for it
#   make test       installs what is missing, runs every test and scripts/accept
#   make demo       a cluster on this machine, with a short tour
#   make bench      measures one group on each engine (five minutes)
#   make sim        200 seeds of the simulator
#   make protos     regenerates Sources/Wire/Generated
#   make format     formats the sources
#   make clean      removes build output (not data/)

.PHONY: help build builddashboard test demo bench sim protos format clean

help:
	@sed -n '3,12s/^# \{0,1\}//p' Makefile

build:
	@scripts/bootstrap
	@scripts/build

# One program with several names: output/dashboard-server is a link to it.
builddashboard: build

test:
	@scripts/test

demo:
	@scripts/demo

bench: build
	@scripts/bench

sim: build
	@output/flotilla-sim --seeds 1..200

protos:
	@scripts/generate-protos

format:
	@find Sources Tests Examples Package.swift -name "*.swift" -not -path "*/Generated/*" -print0 | xargs -0 swift format --in-place

clean:
	@rm -rf .build .build-release .build-protoc output
