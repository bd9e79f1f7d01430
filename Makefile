# The commands of this project. Everything they need is installed into .venv; nothing else on the machine changes.
# PYTHON=python3.12 picks an interpreter (3.11 or newer).

PYTHON ?= python3
BIN := .venv/bin
STATE ?= .state/demo
TESTERS ?= 4

.PHONY: help install demo demo-reset test check format texts bench accept requirements clean
.DEFAULT_GOAL := help

help:
	@echo "make install         everything the programs need into .venv, and nothing else"
	@echo "make demo            run everything on this machine: portal, gateway, PostgreSQL, two simulated UPSs"
	@echo "make demo LAN=1      the same over HTTPS for other machines and phones in this network"
	@echo "make demo-reset      forget the demo's accounts, claims and history"
	@echo "make test            run all tests in four processes (ARGS='-k claim' picks some; TESTERS=1 in one)"
	@echo "make check           format, lint, types, import rule, spelling"
	@echo "make texts           bring new texts of the code into the translations (cloud/languages)"
	@echo "make accept NAME=x   run one acceptance check"
	@echo "make bench           measure against a plain and a careful consumer (ARGS=--quick: roughly)"

install: .venv/run.stamp

demo: .venv/run.stamp
	@$(BIN)/python build_assets.py
	@exec $(BIN)/smartconnect-demo --state-dir $(STATE) $(if $(LAN),--lan)

demo-reset:
	@if [ -x $(BIN)/smartconnect-demo ]; then $(BIN)/smartconnect-demo --state-dir $(STATE) --reset; fi

# Four workers and hundreds of processes import the project: they keep what is compiled, whatever the shell says.
test: .venv/test.stamp
	@$(BIN)/python build_assets.py --dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest $(if $(filter 1,$(TESTERS)),,-n $(TESTERS) --dist worksteal) $(ARGS)

check: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z | xargs -0 $(BIN)/codespell

format: .venv/test.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

texts: .venv/test.stamp
	$(BIN)/python build_assets.py --texts

bench: .venv/test.stamp
	$(BIN)/python -m bench $(ARGS)

accept: .venv/test.stamp
	@test -n "$(NAME)" || { echo "say which: make accept NAME=demo" >&2; exit 2; }
	@$(BIN)/python build_assets.py --dev
	@$(BIN)/python -m tests.accept $(NAME)

# Pinned by hash and without index addresses, for Python 3.11 to 3.13 on x86_64 and aarch64. Needs uv.
requirements:
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make requirements" --extra test \
	  pyproject.toml requirements-build.in --output-file requirements-test.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make requirements" --constraint requirements-test.txt \
	  --extra agent --extra cloud --extra simulators pyproject.toml requirements-build.in --output-file requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make requirements" requirements-node.in --output-file requirements-node.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- installation: a stamp a level, so that the second start installs nothing -----------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; say: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@echo "[1/3] making .venv"
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv does not work here; on Debian: apt install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/run.stamp: requirements.txt requirements-node.txt pyproject.toml hatch_build.py | .venv/bin/python
	@$(call install,requirements.txt)
	@touch $@

.venv/test.stamp: requirements-test.txt requirements-node.txt pyproject.toml hatch_build.py | .venv/bin/python
	@$(call install,requirements-test.txt)
	@touch $@ .venv/run.stamp

# pip's own output is a page long and goes to a log; a line every few seconds says that it goes on. pip stays in the
# foreground (Ctrl-C does not reach what a shell runs behind itself); what tells of it ends with its shell.
define install
echo "[2/3] installing the packages of $(1) (pinned by hash; the first time takes half a minute or more)"; \
log=.venv/install.log; : >$$log; \
( while sleep 3 && kill -0 $$$$ 2>/dev/null; do \
    if grep -q '^Installing collected' $$log; then echo "      unpacking them"; \
    else echo "      $$(grep -c '^Collecting\|^Processing' $$log) of at most $$(grep -c '==' $(1)) found and fetched"; fi; done ) & \
telling=$$!; \
$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $(1) >>$$log 2>&1 && \
{ command -v npm >/dev/null || \
  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements-node.txt >>$$log 2>&1; } \
|| { kill $$telling; tail -n 20 $$log >&2; exit 1; }; \
kill $$telling; \
echo "[3/3] building the portal's browser files and installing the project itself" && \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endef
