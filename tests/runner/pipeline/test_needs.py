"""Flags that do nothing beside other settings: what each of them needs."""

import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment, flags, options
from kdjax.runner.config.commands import CONFIGS
from kdjax.runner.pipeline import needs

# By hand, from what each setting's help says: what is typed, the flag that does
# nothing, what would make it do something, and what the line names.
TABLE = [
  ("temperature=4", "distillation=attention_transfer", "distillation=kd",
   "takes none"),
  ("temperature=4", "distillation=kd(temperature=8)", "distillation=dkd",
   "--distillation"),
  ("temperature=4", "distillation=kd(8):1 + ce:1", "distillation=kd:1 + ce:1",
   "--distillation"),
  ("temperature=4", "distillation=hard", "distillation=soft", "--distillation"),
  ("method_weight=2", "distillation=hard", "distillation=kd", "labels"),
  ("teacher_view=none", "distillation=ce", "distillation=kd", "no teacher"),
  ("shuffled_teacher=1", "distillation=ce", "", "no teacher"),
  ("uniform_teacher=1", "distillation=ce", "", "no teacher"),
  ("noise_teacher=1", "distillation=ce", "", "no teacher"),
  ("matched_smoothing=1", "distillation=ce", "", "no teacher"),
  ("teachers=2", "distillation=ce", "distillation=ce reference=kd", "no teacher"),
  ("specialists=2", "distillation=ce", "", "no teacher"),
  ("chain=mlp(4)", "distillation=ce", "", "no teacher"),
  ("generations=2", "distillation=ce", "distillation=ce reference=kd", "no teacher"),
  ("route=2", "distillation=ce", "", "no teacher"),
  ("transfer_split=test", "", "transfer_dataset=digits", "--transfer_dataset"),
  ("transfer_images=9", "", "transfer_dataset=digits", "--transfer_dataset"),
  ("transfer_labels=0", "", "transfer_dataset=digits", "--transfer_dataset"),
  ("teacher_classes=name", "", "teacher_from=x", "--teacher_from"),
  ("teacher_classes=name", "teacher_from=x teacher_head=drop",
   "teacher_from=x", "--teacher_head"),
  ("teacher_head=drop", "", "teacher_from=x", "--teacher_from"),
  ("teacher_epochs=9", "teacher_cache=x", "", "--teacher_cache"),
  ("teacher_epochs=60", "teacher_from=x", "", "--teacher_from"),
  ("teacher_batch_size=9", "teacher_cache=x", "", "--teacher_cache"),
  ("teacher_learning_rate=1", "teacher_from=x", "", "--teacher_from"),
  ("teacher_learning_rate=1", "teacher_from=x", "teacher_from=x specialists=2",
   "--teacher_from"),
  ("teacher_optimizer=sgd", "teacher_cache=x", "", "--teacher_cache"),
  ("teacher_schedule=linear", "teacher_cache=x", "", "--teacher_cache"),
  ("teacher_seed=1", "teacher_from=x", "teacher_from=x generations=2",
   "--teacher_from"),
  ("teacher_augment=flip", "teacher_from=x controls=0", "teacher_from=x",
   "--teacher_from"),
  ("teacher_dtype=bfloat16", "teacher_cache=x", "", "--teacher_cache"),
  ("view_seed=1", "augment=flip", "augment=flip views=2", "--views"),
  ("views=2", "", "augment=flip", "--augment"),
  ("pool=logits", "", "teachers=2", "--teachers"),
  ("pool=logits", "teacher_from=x", "teacher_from=x,y", "--teacher_from"),
  ("teacher_weights=1,2", "", "teachers=2", "--teachers"),
  ("specialist_epochs=2", "", "specialists=2", "--specialists"),
  ("specialist_learning_rate=1", "", "specialists=2", "--specialists"),
  ("chain_learning_rate=1", "", "chain=mlp(4)", "--chain"),
  ("chain_learning_rate=1", "", "generations=2", "--generations"),
  ("label_smoothing=0.1", "controls=0", "", "--nocontrols"),
  ("smoothing_learning_rate=1", "controls=0", "", "--nocontrols"),
  ("augmented_learning_rate=1", "", "teacher_augment=flip",
   "--teacher_augment"),
  ("augmented_learning_rate=1", "teacher_augment=flip controls=0",
   "teacher_augment=flip", "--controls"),
  ("reference_learning_rate=1", "", "reference=kd", "--reference"),
  ("reference_augment=flip", "", "reference=kd", "--reference"),
  ("pruning_scope=layer", "", "sparsity=0.5", "--sparsity"),
  ("pruning_structure=channels", "", "sparsity=0.5", "--sparsity"),
  ("pruning_begin=0", "", "sparsity=0.5", "--sparsity"),
  ("pruning_end=0.5", "quantization=w8", "sparsity=0.5", "--sparsity"),
  ("pruning_every=4", "", "sparsity=0.5", "--sparsity"),
  ("best_metric=loss", "", "keep_best=1", "--keep_best"),
  ("nan_patience=3", "", "nan=skip", "--nan=skip"),
  ("resume=1", "", "workdir=x", "--workdir"),
  ("resume=0", "", "workdir=x", "--workdir"),
  ("coordinator_address=a:1", "", "multihost=1", "--multihost"),
  ("process_count=2", "", "multihost=1", "--multihost"),
  ("process_index=1", "", "multihost=1", "--multihost"),
  ("init_timeout=9", "", "multihost=1", "--multihost"),
  ("heartbeat_timeout=9", "", "multihost=1", "--multihost"),
  ("step_timeout=9", "", "multihost=1", "--multihost"),
]  # fmt: skip
SWITCHES = {"transfer_labels", "controls", "resume", "multihost"}
SWITCHES |= {"shuffled_teacher", "uniform_teacher", "noise_teacher"}
SWITCHES |= {"matched_smoothing"}


def settings(*texts):
  """Flags by name, as the launcher hands them on."""
  given = {}
  for word in " ".join(texts).replace(" + ", "+").split():
    name, _, value = word.partition("=")
    given[name] = value == "1" if name in SWITCHES else value
  return given


@pytest.mark.parametrize(
  ("typed", "beside", "mended", "said"), TABLE, ids=[f"{x[:2]}" for x in TABLE]
)
def test_flags_that_do_nothing_say_what_they_need(typed, beside, mended, said):
  (name,) = settings(typed)
  refused = settings(typed, beside)
  experiment = options.with_flags(Experiment(), refused)
  with pytest.raises(UserError) as error:
    needs.check(CONFIGS["distill"], refused, experiment)
  message = str(error.value)
  first = f"--no{name}" if refused[name] is False else f"--{name}"
  assert message.startswith(first) and said in message and "\n" not in message
  taken = settings(typed, mended)
  experiment = options.with_flags(Experiment(), taken)
  needs.check(CONFIGS["distill"], taken, experiment)


@pytest.mark.parametrize(
  ("command", "typed", "beside", "mended"),
  [
    ("cache", "cache_top_k=3", "", "cache_form=top_k"),
    ("cache", "teacher_epochs=3", "teacher_from=x", ""),
    ("cache", "teacher_augment=flip", "teacher_from=x", ""),
    ("compare", "teacher_epochs=3", "teacher_from=x", ""),
    ("compress", "temperature=3", "distillation=sp", "distillation=kd"),
    ("compress", "pruning_end=0.9", "", "sparsity=0.5"),
    ("soft_td", "regulariser_weight=3", "", "regulariser=l2"),
    ("soft_td", "project_simplex=1", "", "soft_labels_from=x"),
    ("sweep", "temperature=1,4", "distillation=sp", "distillation=kd"),
  ],
)
def test_flags_of_other_commands_say_what_they_need(
  command, typed, beside, mended
):
  refused = settings(typed, beside)
  with pytest.raises(UserError, match="it does nothing with"):
    needs.check(
      CONFIGS[command], refused, options.with_flags(Experiment(), refused)
    )
  taken = settings(typed, mended)
  needs.check(CONFIGS[command], taken, options.with_flags(Experiment(), taken))


def test_every_flag_of_the_table_exists_and_is_a_commands():
  for need in needs.NEEDS:
    for flag in need.flags.split():
      assert any(flag in flags.by_flag(CONFIGS[name]) for name in CONFIGS), flag


@pytest.mark.parametrize(
  ("given", "beside"),
  [
    # Of an experiment's file, not typed.
    ({}, {"pruning_end": "0.9", "temperature": "4", "distillation": "sp"}),
    # Takes back what a file says.
    ({"transfer_images": "none"}, {}),
    ({"views": "none"}, {}),
    # The objective of networks that learn together takes a temperature.
    ({"temperature": "2", "regime": "mutual"}, {}),
  ],
)
def test_what_a_file_says_is_not_refused(given, beside):
  experiment = options.with_flags(Experiment(), given | beside)
  needs.check(CONFIGS["distill"], given, experiment)


def test_compare_gives_the_temperature_to_its_methods():
  experiment = options.with_flags(
    Experiment(), {"distillation": "sp", "temperature": "2"}
  )
  needs.check(CONFIGS["compare"], {"temperature": "2"}, experiment)
