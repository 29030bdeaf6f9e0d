# Every target sets up its own environment first: one command is enough.
PYTHON ?= python3
BIN := .venv/bin
FLAGS ?=
EXPERIMENTS := mnist_demo mnist_seed_pair mnist_transfer_set mnist_omitted_class
SWEEPS := mnist_tuning mnist_temperature
TABLES := method_table vit_table

.PHONY: demo test test-slow lint experiments clean

demo: .venv/ready
	$(BIN)/python launch.py $(FLAGS)

test: .venv/ready
	$(BIN)/python -m pytest -n 2 -m "not slow" tests

test-slow: .venv/ready
	$(BIN)/python -m pytest -n 2 -m slow tests

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Repeats every experiment and writes the page of what they gave.
experiments: .venv/ready
	rm -rf $(addprefix runs/,$(EXPERIMENTS) $(SWEEPS) $(TABLES))
	for name in $(EXPERIMENTS); do \
	  $(BIN)/python launch.py --experiment=$$name --workdir=runs/$$name || exit 1; \
	done
	for name in $(SWEEPS); do \
	  $(BIN)/python launch.py sweep --experiment=$$name --workdir=runs/$$name || exit 1; \
	done
	for name in $(TABLES); do \
	  $(BIN)/python launch.py compare --experiment=$$name --workdir=runs/$$name || exit 1; \
	done
	mkdir -p experiments/results
	for name in $(EXPERIMENTS) $(SWEEPS) $(TABLES); do \
	  cp runs/$$name/results.json experiments/results/$$name.json || exit 1; \
	done
	cp runs/mnist_demo/figures/accuracy.png docs/demo.png
	$(BIN)/python -m kdjax.report.overview experiments

# The stamp is newer than what it was made from, or made again.
.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache build dist *.egg-info
