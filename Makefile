# The way in. `make demo` shows what lbkit does, `make test` shows that it holds; both set up all they need.

MAKEFLAGS += --no-print-directory --silent
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs lock clean

help: ## this list
	awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## .venv with the pinned requirements, without running anything
	.ci/venv

demo: setup ## two bare hosts on this machine become a load balancer pair
	.ci/lab-packages
	.ci/demo

test: setup ## every test, the lab's too; ARGS="-k name" goes to pytest
	.ci/host-programs
	.ci/test $(ARGS)

lint: setup ## ruff, mypy, shellcheck
	.ci/lint

bench: setup ## measures on the lab, and rewrites docs/benchmarks.md and docs/*-figures.md
	.ci/lab-packages
	.ci/bench $(ARGS)

docs: setup ## the pages that are written from the code (inventory, cheat sheets)
	.venv/bin/python -m lbkit.inventory.document >docs/inventory.md.new && mv docs/inventory.md.new docs/inventory.md
	.venv/bin/inv cheatsheet --markdown >docs/cheatsheet.md
	.venv/bin/inv cheatsheet --markdown --lang ko >docs/cheatsheet.ko.md

lock: setup ## requirements*.txt follow pyproject.toml; ARGS=--upgrade takes the newest
	.ci/lock $(ARGS)

clean: ## removes .venv and caches; the lab's image stays (/var/cache/lbkit-lab)
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
