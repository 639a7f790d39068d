# Zhiwen 知问. `make` lists what there is to do. Nothing is needed but make and Python 3.11 to 3.13.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MILVUS := build/milvus-2.3.5
WHOLE_SUITE := --numprocesses=auto --dist=loadgroup
# Modules are compiled when they are first imported: most never are, and compiling all costs a third of the set-up.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.DEFAULT_GOAL := help
.PHONY: help run test coverage lint clean packages dev-packages milvus

help: ## List these targets
	@echo "make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: packages ## Set up if needed and start Zhiwen: http://localhost:8501 (options: ARGS="--server.port=8600")
	@$(BIN)/python -m kb.embedding
	$(BIN)/streamlit run webui_st.py $(ARGS)

test: dev-packages milvus ## Set up if needed and run the tests, side by side (a part, one by one: ARGS="tests/kb -k chunk")
	$(BIN)/python -m pytest $(or $(ARGS),$(WHOLE_SUITE))

coverage: dev-packages milvus ## As test, and count the lines that run: it takes a processor twice as long before Python 3.12
	COVERAGE_CORE=$$($(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	    $(BIN)/python -m pytest $(WHOLE_SUITE) --cov

lint: dev-packages ## Check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# On a busy machine its processes may start too late for it, which it calls an internal error.
	$(BIN)/mypy || { [ $$? -eq 2 ] && $(BIN)/mypy --num-workers=0; }

clean: ## Remove what these targets made; never your data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Set-up. It is done again when pyproject.toml or constraints.txt is newer than the stamp of the last one. ---

packages:
	@$(call INSTALL,.ready,.[postgres])

dev-packages:
	@$(call INSTALL,.ready-dev,.[dev$(comma)postgres])
	@[ $(VENV)/.ready -nt $(VENV)/.ready-dev ] || touch $(VENV)/.ready

# A real Milvus server for the tests, apart from our packages. Without it those tests are skipped, and fail in CI.
milvus: dev-packages
	@[ -e $(MILVUS)/.ready ] || [ "$$(uname -sm)" != "Linux x86_64" ] || { \
	    echo "Installing the Milvus 2.3.5 server for the tests into $(MILVUS) ..."; \
	    $(BIN)/python -m venv --clear --without-pip $(MILVUS) \
	    && $(BIN)/python -m pip --python $(MILVUS)/bin/python install --quiet --disable-pip-version-check --retries 1 \
	        --no-deps milvus==2.3.5 \
	    && touch $(MILVUS)/.ready; \
	} || echo "It could not be fetched; the tests that need it are skipped, and it is tried again the next time."

comma := ,
ifeq ($(origin PYTHON),file)
# An environment that is there keeps its Python.
WANTED = $$([ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON))
else
WANTED = $(PYTHON)
endif
VERSION = -c 'import sys; print("%d.%d" % sys.version_info[:2])'

# $(call INSTALL,stamp,requirement)
define INSTALL
wanted="$(WANTED)"; \
version=$$("$$wanted" $(VERSION) 2>/dev/null) || { \
    echo "$$wanted does not run. Install Python 3.11, 3.12 or 3.13, or say where it is: make PYTHON=python3.12"; exit 1; }; \
case $$version in 3.11|3.12|3.13) ;; *) \
    echo "Zhiwen needs Python 3.11, 3.12 or 3.13; $$wanted is $$version. Name another: make PYTHON=python3.12"; exit 1;; \
esac; \
if [ ! -x $(BIN)/pip ] || [ "$$($(BIN)/python $(VERSION) 2>/dev/null)" != "$$version" ]; then \
    echo "Creating $(VENV) with Python $$version ..."; \
    "$$wanted" -m venv --clear $(VENV) || { \
        echo "On Debian and Ubuntu: sudo apt-get install python3-venv, then try again."; rm -rf $(VENV); exit 1; }; \
fi; \
if [ ! $(VENV)/$(1) -nt pyproject.toml ] || [ ! $(VENV)/$(1) -nt constraints.txt ]; then \
    echo "Installing the packages into $(VENV); the first time takes a minute or two ..."; \
    $(PIP_INSTALL) "pip>=25" && $(PIP_INSTALL) -c constraints.txt -e "$(2)" && touch $(VENV)/$(1); \
fi
endef
