# Doorward. `make help` lists what can be done.

PORT ?= 8000
python := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo demo-reset test bench races lint types cover clean

help:  ## what can be done
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo:  ## set everything up and start it: http://localhost:8000 (make demo PORT=9000 moves the whole block)
	@./broker/demo/bootstrap.sh demo
	@exec $(python) -m broker.demo --port $(PORT)

demo-reset:  ## throw the demo's data away
	@./broker/demo/bootstrap.sh demo
	@exec $(python) -m broker.demo --port $(PORT) --reset

test:  ## prove the project; installs what it needs
	@exec ./tests/tools/run_all

bench:  ## measure server CPU per operation beside a peer
	@./broker/demo/bootstrap.sh test
	@$(python) -m tests.bench
	@exec $(python) -m tests.bench.hanging

races:  ## 10,000 rounds of many takers of one code, refresh token, pushed request or device, servers killed in the middle; about 90 minutes
	@./broker/demo/bootstrap.sh test
	@exec $(python) -m tests.races

lint:  ## style and import contracts
	@./broker/demo/bootstrap.sh test
	@$(python) -m ruff check .
	@.venv/bin/lint-imports

types:  ## mypy, strict
	@./broker/demo/bootstrap.sh test
	@$(python) -m mypy broker providers tests

cover:  ## branch coverage of everything but the browser: all of the rules, nearly all of the rest
	@./tests/tools/run_all cover

clean:  ## remove the local environment and what tools left behind; keeps the demo's data
	rm -rf .venv .venv-trac .venv-mastodon artefacts build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
