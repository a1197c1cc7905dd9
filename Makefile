# K2 Streams. `make` alone prints what there is to make.
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ARGS ?=
SEEDS ?= 20000
# Of `check-long`; empty: another each time.
SEED ?=

BIN := .venv/bin
INSTALLED := .venv/.k2-installed
NATIVE := .venv/.k2-native-installed
JARS := .cache/kafka/lib
COPIED := .cache/kafka/.jars-copied
RUST := native/Cargo.toml native/Cargo.lock native/pyproject.toml $(wildcard native/src/*.rs native/src/*/*.rs)
CARGO := $(shell command -v cargo)
GO := $(shell command -v go)
HELM := v3.22.0
SOURCES := k2_streams client topologies tests bench faults deploy
# Tests side by side, each process with a Kafka of its own: much of an integration test is waiting.
# A Kafka that was given is one alone.
PARALLEL ?= $(if $(K2_BOOTSTRAP),,-n 3 --dist worksteal)
FAST := $(wildcard tests/architecture tests/unit tests/property tests/simulation tests/mutants tests/docs)

# The image has the versions of requirements.lock, of fewer packages.
OF_IMAGE := --constraints requirements.lock --no-emit-package k2-client --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header -q

# What reads or writes the lake, and what happens to it.
ON_S3 := $(addprefix tests/integration/test_,s3.py exactly_once.py corrections.py recorded.py quotes.py \
	overload.py lines.py bad_input.py)

# Tests and demos start hundreds of Python processes: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# Stops with one line and exit code 2 unless the doctor says "ok".
old_make = GNU make 3.81 or newer is needed, found $(MAKE_VERSION): install it
diagnosis = $(if $(filter 3.7% 3.80%,$(MAKE_VERSION)),$(old_make),$(shell sh deploy/doctor.sh '$(PYTHON)'))
must_be_ok = $(if $(filter-out ok,$1),$(error $1),$(if $1,,$(error deploy/doctor.sh did not run)))
content = make, Python, Java and Maven are here and new enough.

.PHONY: help reference docs doctor setup native wheel jars test test-native test-long lint check check-long simulate mutants demo demo-tour demo-overload bench bench-peers peers rest-jars store-jars spark test-s3 test-spark browser test-page pictures prometheus alerts dashboards dashboards-check runbooks deploy-tools deploy-check release-check faults faults-long up down lock clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: PYTHON=python3.12 (for setup), ARGS='...' (passed to test, demo, demo-tour, demo-overload, bench, bench-peers, lock)"

doctor: ## Check that make, Python, Java and Maven are here and new enough
	$(call must_be_ok,$(strip $(diagnosis)))
	@$(if $(filter doctor,$(MAKECMDGOALS)),echo '$(content)',:)

setup: $(INSTALLED) $(NATIVE) $(COPIED) ## Install everything into .venv and .cache (the other targets do it too)

native: $(NATIVE) ## Build the native decoder into .venv, where cargo is (setup does it too)

wheel: $(INSTALLED) ## Build the wheels of the native decoder (into native/target/wheels) and the client (client/dist)
	$(BIN)/maturin build -q --release --locked -m native/Cargo.toml
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w client/dist ./client

jars: $(COPIED) ## Fetch Kafka's jars into .cache

# The lock names every package with its hashes, the build backend too, so the second step needs no
# network. The stamp comes last: an interrupted installation starts again.
$(INSTALLED): requirements.lock pyproject.toml client/pyproject.toml | doctor
	@echo 'Installing the Python packages into .venv: a few minutes, once.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --retries 5 --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e client -e .
	@touch $@

# Records are decoded in Python where it is not there: whoever has no Rust needs none.
$(NATIVE): $(INSTALLED) $(RUST)
ifeq ($(CARGO),)
	@echo 'cargo is not here: records are decoded in Python, at about half the speed.'
else
	@echo 'Building the native decoder: a minute or two, once.'
	@$(BIN)/maturin develop -q --release --locked -m native/Cargo.toml || \
		echo 'The native decoder was not built (see above): records are decoded in Python.'
endif
	@touch $@

# Copied beside and renamed, so that the folder is whole or absent.
$(COPIED): k2_streams/testing/local/kafka_jars.xml | doctor $(INSTALLED)
	$(BIN)/k2 broker fetch --jars $(JARS)
	@touch $@

test: setup test-native ## Run the tests, against a Kafka that they start themselves
	$(BIN)/python -m pytest $(PARALLEL) -m "not long and not spark" $(ARGS)

test-native: ## Run the native decoder's own tests, where cargo is
ifneq ($(CARGO),)
	cd native && cargo test -q --release --locked --no-default-features
endif

test-long: setup ## Run the tests that take minutes: every library task of a worker ended, a minute of silence
	$(BIN)/python -m pytest $(PARALLEL) -m long tests/integration $(ARGS)

lint: $(INSTALLED) ## Check format, lint, types and spelling
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/codespell $(SOURCES) README.md CONTRIBUTING.md CHANGELOG.md docs
ifneq ($(CARGO),)
	cd native && cargo fmt --check && cargo clippy -q --release --locked --all-targets -- -D warnings
endif

check: lint ## Check format, lint, types, spelling, architecture and the fast tests (properties: few examples)
	$(BIN)/python -m pytest -q $(PARALLEL) --hypothesis-profile=quick \
		-m "not integration and not long and not spark and not slow" $(FAST)

mutants: $(INSTALLED) ## Break K2 in known ways, and print the test that notices each
	PYTHONPATH=tests $(BIN)/python -m mutants $(ARGS)

check-long: $(INSTALLED) ## Run the properties on many random examples, and fuzz every feed's decoder
	@seed='$(SEED)'; seed=$${seed:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; \
	echo "Random examples, seed $$seed: \`make check-long SEED=$$seed\` runs the same ones again."; \
	run="$(BIN)/python -m pytest -q --hypothesis-profile=long --hypothesis-seed=$$seed"; \
	$$run $(PARALLEL) -m hypothesis tests/unit tests/property $(ARGS) && \
	K2_FUZZ_DURATION_S=60 $$run --log-cli-level=INFO tests/property/test_feeds_fuzz.py \
		tests/property/test_native_trades.py tests/property/test_native_records.py $(ARGS)

demo: setup ## Show K2 at work, and compare what it found with the truth
	$(BIN)/k2 demo $(ARGS)

demo-tour: setup ## Show each part of K2 in ten minutes, with the page open (ARGS=--check: a machine watches)
	@test -x .cache/prometheus/usr/bin/prometheus || command -v prometheus >/dev/null || $(MAKE) prometheus || \
		echo 'No Prometheus: the station of the alert is left out.'
	$(BIN)/k2 demo-tour $(ARGS)

demo-overload: setup ## Show K2 under ten times its load: deferred, never lost (a quarter of an hour)
	$(BIN)/k2 demo-overload $(ARGS)

bench: setup ## Run the benchmarks and write a table
	$(BIN)/python -m bench $(ARGS)

bench-peers: setup peers ## Run the same work on K2, Kafka Streams and Quix Streams, and compare (an hour or so)
	$(BIN)/python -m bench peers $(ARGS)

peers: $(INSTALLED) ## Build the peers of bench-peers into .cache/peers
	mvn -q -B -C -Dstyle.color=never -f bench/peers/kafka-streams/pom.xml \
		-Dpeer.build='$(CURDIR)/.cache/peers/kafka-streams' package dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory='$(CURDIR)/.cache/peers/kafka-streams/lib' </dev/null
	$(BIN)/python -m venv .cache/peers/quix/venv
	.cache/peers/quix/venv/bin/python -m pip install -q -r bench/peers/quix/requirements.txt

rest-jars: $(INSTALLED) ## Fetch a REST catalog's jars into .cache, for test-s3 and faults-long
	@rm -rf .cache/rest-catalog/lib && mkdir -p .cache/rest-catalog/lib
	mvn -q -B -C -Dstyle.color=never -f deploy/rest-catalog/pom.xml dependency:copy-dependencies \
		-DoutputDirectory='$(CURDIR)/.cache/rest-catalog/lib' </dev/null

store-jars: $(INSTALLED) ## Fetch an S3-compatible server's jars into .cache, for test-s3 and faults-long
	@rm -rf .cache/object-store/lib && mkdir -p .cache/object-store/lib
	mvn -q -B -C -Dstyle.color=never -f deploy/object-store/pom.xml dependency:copy-dependencies \
		-DoutputDirectory='$(CURDIR)/.cache/object-store/lib' </dev/null

spark: $(INSTALLED) ## Fetch Spark and Iceberg's runtime for it into .cache, for test-spark
	@rm -rf .cache/spark && mkdir -p .cache/spark/lib
	$(BIN)/python -m venv .cache/spark/venv
	.cache/spark/venv/bin/python -m pip install -q -r deploy/spark/requirements.txt
	mvn -q -B -C -Dstyle.color=never -f deploy/spark/pom.xml dependency:copy-dependencies \
		-DoutputDirectory='$(CURDIR)/.cache/spark/lib' </dev/null

test-s3: setup rest-jars store-jars ## Run the integration tests of the lake on an S3-compatible server and a REST catalog
	K2_TESTS_LAKE=s3 $(BIN)/python -m pytest $(ON_S3) $(ARGS)

test-spark: spark ## Read tables of K2 with Spark, and compare with K2, DuckDB, polars and pyiceberg
	$(BIN)/python -m pytest -rs -m spark tests/unit $(ARGS)

faults: setup ## Kill, stop and break what runs, and compare what came of it with the truth
	$(BIN)/python -m faults $(ARGS)

faults-long: setup rest-jars store-jars ## The same for an hour or so, and what needs root: clusters, disks, networks, clocks
	$(BIN)/python -m faults --plan long $(ARGS)
	$(BIN)/python -m faults.store

browser: ## Fetch Chromium and axe-core into .cache, for the tests of the page; nothing is installed
	@sh deploy/browser.sh .cache/browser

test-page: setup browser ## Try the page in a real browser: charts, gaps, sign-in, accessibility
	$(BIN)/python -m pytest -rs tests/unit/test_page_in_browser.py $(ARGS)

pictures: setup browser ## Take the README's pictures: the page, and an overload (five minutes; ARGS=FOLDER: every view, into it)
	PYTHONPATH=tests $(BIN)/python -m pictures $(ARGS)
	$(if $(ARGS),,$(BIN)/k2 demo-overload --seconds 15 --picture docs/images/overload.png)

prometheus: ## Fetch Prometheus from Debian's packages into .cache, for `make alerts`; nothing is installed
	@rm -rf .cache/prometheus && mkdir -p .cache/prometheus
	@cd .cache/prometheus && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x prometheus_*.deb . \
		&& rm prometheus_*.deb

alerts: setup prometheus ## Try every alert with promtool: it fires, not too early, and it resolves
	$(BIN)/python -m pytest -rs tests/unit/test_alerts.py $(ARGS)

dashboards: $(INSTALLED) ## Write deploy/grafana/dashboards from their table
	$(BIN)/python -m deploy.dashboards

dashboards-check: setup prometheus ## Try every panel on a Prometheus that scrapes a worker with traffic (a minute)
	$(BIN)/python -m deploy.dashboards check

runbooks: setup prometheus ## Cause alerts of many kinds, follow their runbooks, and compare with the truth (some minutes)
	$(BIN)/python -m deploy.runbooks $(ARGS)

deploy-tools: $(INSTALLED) ## Fetch what deploy-check and release-check use into .cache/deploy (helm where Go is)
	$(BIN)/python -m venv --clear .cache/deploy/venv
	.cache/deploy/venv/bin/python -m pip install -q -r deploy/requirements.txt
	@mkdir -p .cache/deploy/debian && cd .cache/deploy/debian && \
		{ apt-get -qq -o APT::Sandbox::User=root download debootstrap && dpkg -x debootstrap_*.deb . \
		&& rm debootstrap_*.deb; } || echo 'No debootstrap: the steps of the Dockerfile are not executed.'
ifneq ($(GO),)
	GOBIN='$(CURDIR)/.cache/deploy/bin' go install helm.sh/helm/v3/cmd/helm@$(HELM)
else
	@echo 'go is not here: the chart is not checked.'
endif

deploy-check: setup deploy-tools prometheus ## Check the image, the compose file and the chart, as far as it goes without Docker
	$(BIN)/python -m deploy.checks

release-check: setup deploy-tools ## Build sdists and wheels into dist, install and try each, list what is in them
	$(BIN)/python -m deploy.release dist

simulate: $(INSTALLED) ## Run the simulation, SEEDS=20000 of them
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS) $(ARGS)

up: setup ## Start a local Kafka and a worker to play with
	$(BIN)/k2 up

down: $(INSTALLED) ## Stop what `make up` started
	$(BIN)/k2 down

reference: $(INSTALLED) ## Write the generated pages of docs/reference
	$(BIN)/python -m k2_streams.runtime.reference

docs: $(INSTALLED) ## Build the documentation as a site, without a network
	$(BIN)/python -m deploy.site

lock: $(INSTALLED) ## Write requirements.lock from pyproject.toml, and the image's parts of it (ARGS=--upgrade for newer versions)
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra demo --universal --python-version 3.11 \
		--generate-hashes --no-emit-package k2-client --no-emit-index-url --no-header -q -o requirements.lock $(ARGS)
	$(BIN)/uv pip compile pyproject.toml $(OF_IMAGE) -o deploy/image/runtime.lock
	$(BIN)/uv pip compile deploy/image/build.in $(OF_IMAGE) -o deploy/image/build.lock

clean: ## Remove what setup and the tools made; data in .k2 stay
	rm -rf .venv .cache dist build native/target client/dist client/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage *.egg-info client/*.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
