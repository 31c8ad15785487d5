# Every task of a contributor and of CI is a target here; `make` alone lists them.
SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# NVIDIA marks half of its library deprecated, and each call of it is a warning of the C compiler. Go's own flags come first.
QUIET := -Wno-deprecated-declarations
export CGO_CFLAGS := $(filter-out $(QUIET),$(shell go env CGO_CFLAGS 2>/dev/null)) $(QUIET)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- tools: pinned programs, each built from source into bin/tools when the go.mod that pins it changes ----

TOOLS := promtool prometheus alertmanager amtool pint jsonnet jsonnetfmt jsonnet-lint jb golangci-lint helm govulncheck actionlint

# The oldest Prometheus, Alertmanager and jsonnet that Sightglass works with, those of Debian 12, and a second engine of rules.
OLDEST := prometheus promtool alertmanager amtool jsonnet
ENGINES := $(OLDEST:%=oldest/%) victoriametrics/vmalert-tool

NEEDED := git cc c++

.PHONY: preflight
preflight:
	@tools/preflight.sh go $(NEEDED)

.PHONY: tools
tools: $(TOOLS:%=bin/tools/%) $(ENGINES:%=bin/tools/%) ## build the pinned tools (the first time takes about fifteen minutes)

$(TOOLS:%=bin/tools/%): tools/build.sh tools/progress.sh
	@tools/build.sh $(patsubst %/,%,$(dir $(filter %/go.mod,$^))) $@ $(TOOLS)

$(ENGINES:%=bin/tools/%): tools/build.sh tools/progress.sh
	@mkdir -p $(@D)
	@tools/build.sh $(patsubst %/,%,$(dir $(filter %/go.mod,$^))) $@ $(notdir $(ENGINES))

$(OLDEST:%=bin/tools/oldest/%): tools/oldest/go.mod tools/oldest/go.sum
bin/tools/victoriametrics/vmalert-tool: tools/victoriametrics/go.mod tools/victoriametrics/go.sum

$(addprefix bin/tools/,promtool prometheus jsonnet jsonnetfmt jsonnet-lint jb): tools/go.mod tools/go.sum
$(addprefix bin/tools/,alertmanager amtool): tools/alertmanager/go.mod tools/alertmanager/go.sum
bin/tools/pint: tools/pint/go.mod tools/pint/go.sum
bin/tools/golangci-lint: tools/golangci/go.mod tools/golangci/go.sum
bin/tools/helm: tools/helm/go.mod tools/helm/go.sum
bin/tools/govulncheck: tools/govulncheck/go.mod tools/govulncheck/go.sum
bin/tools/actionlint: tools/actionlint/go.mod tools/actionlint/go.sum

.PHONY: test-deps
test-deps: ## install the servers and the browser that tests need
	@tools/test-deps.sh

# ---- build: bin/<name> for every folder in cmd/; the same commit gives the same bytes ----

COMMANDS := $(notdir $(patsubst %/main.go,%,$(wildcard cmd/*/main.go)))
VERSION_PACKAGE := github.com/prometheus/common/version
# A tag v1.2.3 on the commit is the version; the file VERSION is what the next one will be.
NUMBER = $(or $(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed 's/^v//'),$(shell cat VERSION))
LDFLAGS = -s -w \
  -X $(VERSION_PACKAGE).Version=$(NUMBER) \
  -X $(VERSION_PACKAGE).Revision=$(shell git rev-parse HEAD 2>/dev/null) \
  -X $(VERSION_PACKAGE).BuildDate=$(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d-%H:%M:%S 2>/dev/null)

.PHONY: build
build: $(COMMANDS:%=bin/%) ## build every command into bin/

# NVIDIA's library is opened while gpu-exporter runs, so its functions must not be looked up at the start, as linkers of
# some distributions ask for by default: the program would not start without a driver.
LAZY := -extldflags=-Wl,-z,lazy
bin/gpu-exporter: LDFLAGS += $(LAZY)

.PHONY: $(COMMANDS:%=bin/%)
$(COMMANDS:%=bin/%): bin/%:
	@echo "building $*"
	@tools/progress.sh go build -v -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*

# The machine's own GPUs are not for breaking: the demo loads a library that answers as NVIDIA's does. The header is in a Go
# module, which has a folder only once it is downloaded.
NVML := github.com/NVIDIA/go-nvml
bin/libnvidia-ml-simulated.so: exporters/gpu/testdata/fakenvml.c go.mod
	@mkdir -p bin
	go mod download $(NVML)
	$(CC) -shared -fPIC -I"$$(go list -m -f '{{.Dir}}' $(NVML))/pkg/nvml" $(CGO_CFLAGS) -o $@ $<

# The demo takes Prometheus and Alertmanager from PATH where they are recent enough, since building them takes minutes. The
# oldest versions are those that it was run with.
DEMO_TOOLS := prometheus promtool alertmanager
DEMO_OLDEST := 3.0.1 3.0.1 0.30.0

.PHONY: demo demo-tools
demo: ARGS := --once
demo: preflight ## break sample data on purpose and watch the detection (ARGS= stays up afterwards)
	@echo "make demo: about 15 minutes the first time on two cores, about 5 minutes from then on"
	@tools/stage.sh 1/4 "a library that answers as NVIDIA's does" "seconds" $(MAKE) --no-print-directory bin/libnvidia-ml-simulated.so
	@tools/stage.sh 2/4 "Prometheus, promtool and Alertmanager" "4 minutes the first time" $(MAKE) --no-print-directory demo-tools
	@tools/stage.sh 3/4 "Sightglass's commands" "5 minutes the first time" $(MAKE) --no-print-directory build
	@tools/stage.sh 4/4 "the demo" "5 minutes" bin/sightglass demo --tools-dir bin/demo-tools $(ARGS)

demo-tools:
	@$(foreach i,1 2 3,tools/find.sh $(word $i,$(DEMO_TOOLS)) $(word $i,$(DEMO_OLDEST)) bin/demo-tools;)

.PHONY: generate
generate: ## write the generated files: dashboards, metric reference
	GOFLAGS="$$(go env GOFLAGS) -ldflags=$(LAZY)" go generate ./...

.PHONY: pictures
pictures: ## draw the pictures of the responder's page in docs/pictures anew
	SIGHTGLASS_SCREENSHOTS=$(CURDIR)/docs/pictures go test -count 1 -run '^TestThePicturesOfTheDocs$$' ./responder/internal/page
	chmod 644 docs/pictures/*

# ---- release: dist/ gets archives, Debian packages, SBOMs and checksums; the same commit and machine give the same bytes ----

RELEASE_TOOLS := nfpm cyclonedx-gomod
$(RELEASE_TOOLS:%=bin/release-tools/%): tools/build.sh tools/progress.sh
	@mkdir -p $(@D)
	@tools/build.sh $(patsubst %/,%,$(dir $(filter %/go.mod,$^))) $@ $(RELEASE_TOOLS)
bin/release-tools/nfpm: tools/release/nfpm/go.mod tools/release/nfpm/go.sum
bin/release-tools/cyclonedx-gomod: tools/release/sbom/go.mod tools/release/sbom/go.sum

# What needs no C compiler is built for the other architecture, too. The rest links DuckDB, which is C++, or NVIDIA's header.
CROSS_GOARCH = $(if $(filter amd64,$(shell go env GOARCH)),arm64,amd64)
CROSS_COMMANDS := responder sightglass

.PHONY: release
release: preflight $(RELEASE_TOOLS:%=bin/release-tools/%) ## make dist/: archives, Debian packages, SBOMs, checksums (version: the commit's tag, else VERSION)
	@[[ -z "$$(git status --porcelain)" ]] || { echo "make release: the working tree differs from the commit" >&2; exit 1; }
	@$(MAKE) --no-print-directory build
	@rm -rf bin/cross && mkdir -p bin/cross/$(CROSS_GOARCH)
	GOARCH=$(CROSS_GOARCH) CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/cross/$(CROSS_GOARCH)/ $(CROSS_COMMANDS:%=./cmd/%)
	tools/release/release.sh $(NUMBER) HEAD
	tools/release/check.sh $(NUMBER)

# ---- checks ----

# What a Go service imports is a module of its own, which ./... leaves out.
INSTRUMENT := github.com/sightglass-ml/sightglass/instrument/...

TEST := go test -timeout 40m -ldflags '$(LAZY)'

# The race detector sees only Go code that runs in the test itself, and makes it up to ten times slower. Packages outside these folders
# test rules, dashboards, documents and programs that other processes run. TestLong_ begins the name of a test that calculates for minutes
# with it, and runs without it. The rules take longest, so ./rules comes first: else a core waits for it at the end.
RACE := /(cmd|demo|exporters|internal|replay|responder)(/|$$)

.PHONY: test
test: NEEDED += python3
test: preflight ## run every test
	@echo "make test: about 45 minutes the first time on two cores, about 30 minutes from then on"
	@tools/stage.sh 1/5 "the pinned tools" "6 minutes the first time" $(MAKE) --no-print-directory tools
	@tools/stage.sh 2/5 "servers and a browser for the tests" "4 minutes the first time" $(MAKE) --no-print-directory test-deps
	@tools/stage.sh 3/5 "Go code, with the race detector" "15 minutes" $(TEST) -race -skip '^TestLong_' $$(go list ./... | grep -E '$(RACE)') $(INSTRUMENT)
	@tools/stage.sh 4/5 "tests of Go code that calculate long, without it" "2 minutes" $(TEST) -run '^TestLong_' $$(grep -rl '^func TestLong_' --include=*_test.go . | xargs dirname | sort -u)
	@tools/stage.sh 5/5 "rules, dashboards, documents and whole programs" "15 minutes" $(TEST) ./rules $$(go list ./... | grep -vE '$(RACE)')

.PHONY: test-unit
test-unit: ## run the tests of the Go code alone
	$(TEST) -race -skip '^TestLong_' $$(go list ./... | grep -E '$(RACE)') $(INSTRUMENT)

# One room of the repository, checked with the tools that its users have.
ROOMS := rules alertmanager jsonnet dashboards e2e
.PHONY: $(ROOMS:%=test-%)
$(ROOMS:%=test-%): test-%: tools test-deps
	$(TEST) ./$*/...

test-rules: ## check the rules with promtool and pint
test-alertmanager: ## check the Alertmanager configuration with amtool
test-mixin: test-jsonnet ## check that the mixin renders to exactly the rules and dashboards
test-dashboards: ## run every query of every dashboard
test-e2e: ## break real data under the real Prometheus, Alertmanager and databases

# A count of inputs: go test now and then reports a time that ran out as a failure.
FUZZTIME := 100000x

.PHONY: test-adapters-real
test-adapters-real: bin/tools/promtool ## hold the adapters against LiteLLM, BentoML, MLServer, Ray Serve and KServe, started here (ARGS=)
	@tools/adapters/real.sh $(ARGS)

# Installed and run within four minutes, with nothing in pip's cache; the others take longer than that. CI runs them beside make test.
SOON := otel openllmetry openinference js

.PHONY: test-clients-soon
test-clients-soon: ## the same with the clients that are soon installed
	@$(MAKE) --no-print-directory test-clients CLIENTS="$(SOON)"

.PHONY: test-clients
test-clients: export CLIENTS := $(CLIENTS)
test-clients: bin/modelquality-exporter ## hold the model-quality exporter against the clients that people run, installed here (CLIENTS=, ARGS=)
	@tools/clients/real.sh $(ARGS)

bin/grafana: tools/grafana/package-lock.json
	mkdir -p $@ && cp tools/grafana/package.json tools/grafana/package-lock.json $@/
	cd $@ && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

.PHONY: test-grafana-types
test-grafana-types: NEEDED += python3 npm
test-grafana-types: preflight bin/grafana ## hold the dashboards against the types that Grafana 10 to 13 publish (a minute)
	python3 tools/grafana/check.py bin/grafana dashboards/json

.PHONY: test-fuzz
test-fuzz: ## try FUZZTIME (100000x) new inputs on every fuzz test
	@grep -rEo --include='*_test.go' '^func Fuzz\w+' . | sed 's/:func / /' | while read -r file name; do \
		echo "fuzzing $$name in $${file%/*}: $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$${file%/*}"; \
	done

bin/tools/shellcheck: tools/shellcheck/requirements.txt
	tools/venv.sh $@ $< && touch $@

SCRIPTS = $(shell git ls-files '*.sh' .ci/run)

.PHONY: lint
lint: bin/tools/golangci-lint bin/tools/jsonnetfmt bin/tools/jsonnet-lint bin/tools/actionlint bin/tools/shellcheck ## check style, policy, and that generated files and go.mod are current
	bin/tools/golangci-lint run
	cd instrument && ../bin/tools/golangci-lint run
	bin/tools/shellcheck/bin/shellcheck $(SCRIPTS)
	bin/tools/actionlint -shellcheck bin/tools/shellcheck/bin/shellcheck
	git ls-files '*.jsonnet' '*.libsonnet' | xargs -r bin/tools/jsonnetfmt --test
	git ls-files '*.jsonnet' '*.libsonnet' | xargs -r bin/tools/jsonnet-lint
	for module in . instrument tools tools/*/ exporters/*/bench/; do [[ ! -e $$module/go.mod ]] || (cd $$module && go mod tidy -diff); done
	@state() { git status --porcelain; git diff; }; before=$$(state); $(MAKE) generate; \
	[[ $$before == "$$(state)" ]] || { echo "generated files were out of date: commit what make generate wrote"; exit 1; }

.PHONY: vulnerabilities
vulnerabilities: bin/tools/govulncheck ## look for known vulnerabilities in what the programs call (asks vuln.go.dev; VULNDB=file:///… for a copy)
	bin/tools/govulncheck $(if $(VULNDB),-db $(VULNDB)) ./... $(INSTRUMENT)

# Scenarios whose events are committed and that take minutes; flights.yaml and flights-incidents.yaml need a file: see docs/replay.md.
SCENARIOS := $(filter-out $(addprefix replay/scenarios/,flights.yaml flights-incidents.yaml speed.yaml quiet-large.yaml),$(wildcard replay/scenarios/*.yaml))

.PHONY: replay
replay: bin/sightglass bin/sightglass-data ## replay months under the rules: time to detect, false alarms, bars (SCENARIOS= for others)
	bin/sightglass replay $(SCENARIOS)

.PHONY: test-vmalert
test-vmalert: bin/tools/victoriametrics/vmalert-tool ## record the adapters' series with VictoriaMetrics (it may differ where a series is new)
	SIGHTGLASS_VMALERT=1 go test -count=1 -v -run '^TestVictoriaMetricsRecordsTheSameCanonicalSeries$$' ./rules

REPLAY_EVERY ?= 1m

.PHONY: test-replay-month
test-replay-month: bin/tools/promtool ## compare the alerts of a simulated month with those of a real Prometheus's rules (half an hour; REPLAY_EVERY=4m: a quarter)
	SIGHTGLASS_REPLAY_MONTH=$(REPLAY_EVERY) go test -count=1 -timeout 3h -v -run '^TestReplayAgreesWithPrometheus$$' ./e2e

SEEDS ?= 20
FIRST_SEED ?= 1
QUIET ?= replay/scenarios/quiet-large.yaml

.PHONY: replay-seeds
replay-seeds: bin/sightglass bin/sightglass-data ## replay quiet months with many seeds, some six minutes of a core each (SEEDS=20 FIRST_SEED=1 QUIET= for another size)
	bin/sightglass replay --seed $(FIRST_SEED) --seeds $(SEEDS) $(QUIET)

# ---- measurements: each prints what it measures and what that is compared with ----

BENCH := go test -run '^$$' -bench . -benchmem -timeout 60m

.PHONY: bench-dataquality
bench-dataquality: bin/bench/evidently ## profile a table: against queries written by hand (BENCH_FLIGHTS=file.parquet: keys and checks too), and against pandas with Evidently
	BENCH_PYTHON=$(CURDIR)/bin/bench/evidently/bin/python $(BENCH) -benchtime 3x ./exporters/dataquality/

# Without Python the comparison with Evidently is left out.
bin/bench/evidently: exporters/dataquality/bench/requirements.txt
	tools/venv.sh $@ $< && touch $@

.PHONY: bench-cause
bench-cause: ## find causes that were planted in 200 random tables, and in the traffic of 200 models, with decoys: precision and recall
	go test -run '^$$' -bench Cause -benchtime 1x ./internal/cause/ ./exporters/modelquality/internal/fields/

.PHONY: bench-incidents
bench-incidents: ## put the alerts of planted incidents together among decoys: precision, recall, right and wrong causes
	SIGHTGLASS_INCIDENT_DAYS=100 go test -count 1 -v -run TestPlantedIncidentsAreFound ./responder/internal/grouping/

.PHONY: bench-modelquality
bench-modelquality: ## receive spans: against the Collector's spanmetrics connector, and memory under a million names
	cd exporters/modelquality/bench && $(BENCH) -benchtime 200x -bench Ingest . && $(BENCH) -benchtime 1x -bench Memory .

.PHONY: bench-gpu
bench-gpu: ## scrape eight simulated GPUs 100 000 times: time, memory, growth, leaks; on an otherwise idle machine
	go test -ldflags '$(LAZY)' -run '^$$' -bench . -benchtime 100000x -timeout 60m ./exporters/gpu/

.PHONY: bench-responder
bench-responder: ## run 10 000 actions while responder and target are killed: lost, done twice
	SIGHTGLASS_CRASH_ACTIONS=10000 go test -count 1 -v -timeout 60m -ldflags '$(LAZY)' -run TestKilledAtAnyMoment ./responder/

.PHONY: bench-cost
bench-cost: ## read a bill of 300 MB (BENCH_COST_BYTES): CPU, time and memory against a bare DuckDB query
	$(BENCH) -benchtime 1x ./exporters/cost/internal/bill/

.PHONY: bench-rules
bench-rules: bin/tools/prometheus
bench-rules: ## rules over 200 000 series: CPU, each group, 200 alerts firing against none; a fleet under a real Prometheus: series, CPU, memory
	$(BENCH) -bench Bundle ./rules/
	$(BENCH) -v -bench Alerts -benchtime 5x ./rules/
	$(BENCH) -v -bench Fleet -benchtime 1x ./rules/

.PHONY: bench-replay
bench-replay: bin/sightglass bin/sightglass-data ## replay ten datasets of ten columns and five models of ten features: simulated days a minute, memory
	bin/sightglass replay replay/scenarios/speed.yaml > /dev/null

.PHONY: clean
clean: ## remove everything that was built, the tools included
	rm -rf bin dist
