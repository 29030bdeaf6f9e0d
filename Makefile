# Every target sets up its own environment first: one command is enough.
PYTHON ?= python3
BIN := .venv/bin
FLAGS ?=
# COMMAND:EXPERIMENT, all that stands in experiments/results.
RUNS := \
  distill:mnist_demo \
  distill:mnist_seed_pair \
  distill:mnist_transfer_set \
  distill:mnist_omitted_class \
  sweep:mnist_tuning \
  sweep:mnist_temperature \
  compare:method_table \
  compare:vit_table \
  quantify:spurious_background \
  quantify:plain_background \
  soft_td:soft_td \
  synthesise:dataset_distillation \
  compare:self_distillation \
  distill:ensemble \
  distill:specialists \
  distill:teacher_assistant \
  distill:born_again \
  distill:route \
  distill:weak_to_strong

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
	mkdir -p experiments/results
	for run in $(RUNS); do \
	  name=$${run#*:}; rm -rf runs/$$name; \
	  $(BIN)/python launch.py $${run%:*} --experiment=$$name \
	    --workdir=runs/$$name || exit 1; \
	done
	for run in $(RUNS); do \
	  name=$${run#*:}; \
	  cp runs/$$name/results.json experiments/results/$$name.json || exit 1; \
	done
	cp runs/mnist_demo/figures/accuracy.png docs/demo.png
	cp runs/dataset_distillation/figures/images.png docs/dataset_distillation.png
	$(BIN)/python -m kdjax.report.overview experiments

# The stamp is newer than what it was made from, or made again.
.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache build dist *.egg-info
