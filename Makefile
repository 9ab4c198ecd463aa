# One short command per chore; each says what it does.
#
#   make run                     boot a node, print where to listen      (SONGS=~/Music  HOST=0.0.0.0  CONFIG=FILE)
#   make test                    everything that must be green, check first  (TESTS=tests/node  ARGS=-x)
#   make check                   lint and types
#   make bench                   our numbers beside our peers'           (BENCH=actors  ARGS=--quick)
#   make soak                    the long runs
#   make first-sound             seconds and megabytes from a clone to the first sound in a browser
#   make docs                    write the pages that are made from the code
#   make venv                    only the environment, in .venv
#   make clean                   remove what make made
#
# PYTHON=python3.13 make test    picks an interpreter; .venv is made anew if it was made by another.

PYTHON ?=
CONFIG ?= config/dev.toml
TESTS ?= tests
BENCH ?= [a-z]*

.PHONY: venv run test check bench soak first-sound docs clean

venv:
	@PYTHON=$(PYTHON) scripts/venv.sh dev

run:
	@PYTHON=$(PYTHON) scripts/venv.sh run
	.venv/bin/wsactors run $(CONFIG) $(if $(SONGS),--songs "$(SONGS)") $(if $(HOST),--host "$(HOST)") $(ARGS)

test: check
	@PYTHON=$(PYTHON) scripts/venv.sh dev libopus0 chromium firefox-esr erlang-base
	@scripts/npm.sh
	@scripts/pytest.sh $(TESTS) $(ARGS)

check:
	@PYTHON=$(PYTHON) scripts/venv.sh dev
	.venv/bin/ruff check .
	.venv/bin/mypy

bench:
	@PYTHON=$(PYTHON) scripts/venv.sh dev libopus0 erlang-base
	@scripts/npm.sh
	@set -e; for file in benchmarks/$(BENCH).py; do echo "+ $$file"; .venv/bin/python $$file $(ARGS); done

soak:
	@PYTHON=$(PYTHON) scripts/venv.sh dev libopus0
	.venv/bin/python -m pytest tests -m soak $(ARGS)

first-sound:
	@PYTHON=$(PYTHON) scripts/venv.sh dev chromium
	.venv/bin/python scripts/first_sound.py

docs:
	@PYTHON=$(PYTHON) scripts/venv.sh dev
	.venv/bin/wsactors config doc > docs/configuration.md

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist tests/interop/js/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
