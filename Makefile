# Every task of a contributor and of CI is a target here; `make` alone lists them.
SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- tools: pinned programs, each built from source into bin/tools when the go.mod that pins it changes ----

TOOLS := promtool prometheus alertmanager amtool pint jsonnet jsonnetfmt jsonnet-lint jb golangci-lint

.PHONY: tools
tools: $(TOOLS:%=bin/tools/%) ## build the pinned tools (the first time takes about ten minutes)

$(TOOLS:%=bin/tools/%): tools/build.sh
	@tools/build.sh $(patsubst %/,%,$(dir $(filter %/go.mod,$^))) $@ $(TOOLS)

$(addprefix bin/tools/,promtool prometheus jsonnet jsonnetfmt jsonnet-lint jb): tools/go.mod tools/go.sum
$(addprefix bin/tools/,alertmanager amtool): tools/alertmanager/go.mod tools/alertmanager/go.sum
bin/tools/pint: tools/pint/go.mod tools/pint/go.sum
bin/tools/golangci-lint: tools/golangci/go.mod tools/golangci/go.sum

.PHONY: test-deps
test-deps: ## install the database servers that tests run against
	@tools/test-deps.sh

# ---- build: bin/<name> for every folder in cmd/; the same commit gives the same bytes ----

COMMANDS := $(notdir $(wildcard cmd/*))
VERSION_PACKAGE := github.com/prometheus/common/version
LDFLAGS = -s -w \
  -X $(VERSION_PACKAGE).Version=$(shell cat VERSION) \
  -X $(VERSION_PACKAGE).Revision=$(shell git rev-parse HEAD) \
  -X $(VERSION_PACKAGE).Branch=$(shell git rev-parse --abbrev-ref HEAD) \
  -X $(VERSION_PACKAGE).BuildDate=$(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d-%H:%M:%S)

.PHONY: build
build: $(COMMANDS:%=bin/%) ## build every command into bin/

.PHONY: $(COMMANDS:%=bin/%)
$(COMMANDS:%=bin/%): bin/%:
	@echo "building $*"
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*
