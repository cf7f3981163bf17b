.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help run test test-long bench lint fix lock env env-dev

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest -n 2 --no-loadscope-reorder
HELP_IN := $(if $(filter ru%,$(or $(KOPILKA_LANG),$(LC_ALL),$(LANG))),ru,en)

help: ## what can be made | что можно сделать
	@awk -F '## | \\| ' -v ru=$(filter ru,$(HELP_IN)) \
	  '/^[a-z-]+:.*## / { split($$1, target, ":"); printf "  make %-10s %s\n", target[1], ru ? $$3 : $$2 }' Makefile

run: env ## start everything and watch it; FRESH=1 starts over | запустить всё и смотреть; FRESH=1 — с чистого листа
	@exec .venv/bin/kopilka run $(if $(FRESH),--fresh)

test: env-dev ## the whole suite on throw-away Kafka and PostgreSQL | все тесты на временных Kafka и PostgreSQL
	@$(PYTEST) -m "not long" $(ARGS)

test-long: env-dev ## the same with 200 seeds of every fault | то же, но по 200 случайных прогонов каждого сбоя
	@KOPILKA_SEEDS=200 HYPOTHESIS_PROFILE=long $(PYTEST) --timeout=3600 $(ARGS)

bench: env-dev ## measure the speed, write bench.json | измерить скорость, записать bench.json
	@$(PYTHON) -m benchmarks $(ARGS)

lint: env-dev ## style, types, import rules, generated files | стиль, типы, правила импорта, генерируемые файлы
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(PYTHON) -m contracts.generate --check
	@$(PYTHON) -m deploy.settings_page --check

fix: env-dev ## mend what can be mended | исправить, что можно
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format
	@$(PYTHON) -m contracts.generate
	@$(PYTHON) -m deploy.settings_page

lock: ## requirements/ from pyproject.toml; LOCK_ARGS=--upgrade | requirements/ из pyproject.toml; LOCK_ARGS=--upgrade
	@sh deploy/environment.sh lock

env:
	@sh deploy/environment.sh run

env-dev:
	@sh deploy/environment.sh dev
