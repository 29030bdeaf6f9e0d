"""What settings must not be beside each other."""

import pytest

from kdjax.core.errors import UserError
from kdjax.runner.cli import CONFIGS
from kdjax.runner.config import Experiment, flags, options
from kdjax.runner.pipeline import rules

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
  ("shard_rules=fsdp", "", "mesh=data=1", "--mesh"),
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
SWITCHES |= {"matched_smoothing", "gradient_metrics"}


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
    rules.check(CONFIGS["distill"], experiment, refused)
  message = str(error.value)
  first = f"--no{name}" if refused[name] is False else f"--{name}"
  assert message.startswith(first) and said in message and "\n" not in message
  taken = settings(typed, mended)
  experiment = options.with_flags(Experiment(), taken)
  rules.check(CONFIGS["distill"], experiment, taken)


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
    rules.check(
      CONFIGS[command], options.with_flags(Experiment(), refused), refused
    )
  taken = settings(typed, mended)
  rules.check(CONFIGS[command], options.with_flags(Experiment(), taken), taken)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.flags)
def test_every_rule_is_about_flags_of_a_command(rule):
  about = set(rule.flags.split())
  assert any(about <= flags.by_flag(CONFIGS[name]).keys() for name in CONFIGS)
  assert rule.message.format(typed="", **vars(Experiment()))


def test_no_rule_is_broken_by_the_defaults():
  """But that `quantify` has to be told a network."""
  for name, config in CONFIGS.items():
    if name != "quantify":
      rules.check(config, Experiment())


@pytest.mark.parametrize(
  ("given", "beside"),
  [
    # Of an experiment's file, not typed.
    ({}, {"pruning_end": "0.9", "temperature": "4", "distillation": "sp"}),
    # Takes back what a file says.
    ({"transfer_images": "none"}, {}),
    ({"views": "none"}, {}),
    # The objective of networks that learn together takes a temperature.
    ({"temperature": "2", "scheme": "mutual"}, {}),
  ],
)
def test_what_a_file_says_is_not_refused(given, beside):
  experiment = options.with_flags(Experiment(), given | beside)
  rules.check(CONFIGS["distill"], experiment, given)


def test_compare_gives_the_temperature_to_its_methods():
  experiment = options.with_flags(
    Experiment(), {"distillation": "sp", "temperature": "2"}
  )
  rules.check(CONFIGS["compare"], experiment, {"temperature": "2"})


# By hand: a command, its flags, and what the line says.
CLASHES = [
  ("distill", "teachers=2 teacher_from=a,b", "leave one of them out"),
  ("distill", "teachers=2 route=2", "--teachers and --route do not go"),
  ("distill", "specialists=2 chain=mlp(4)", "--specialists and --chain do not"),
  ("distill", "chain=mlp(8) route=2", "--route and --chain do not go together"),
  ("distill", "route=2 scheme=mutual", "--route and --scheme=mutual do not"),
  ("distill", "teachers=2 scheme=mutual", "--teachers and --scheme=mutual do"),
  ("distill", "route=2 teacher_from=x", "leave --teacher_from out"),
  ("distill", "route=4 teacher_epochs=3", "--route=4: .* --teacher_epochs=3"),
  ("distill", "teacher_from=x teacher_head=drop specialists=2",
   "--teacher_head=drop: --specialists begin"),
  ("compare", "dataset=noise_images(9)", "belong to no classes"),
  ("distill", "transfer_images=9", "there is no --transfer_dataset"),
  ("distill", "scheme=mutual views=2 augment=flip", "draws views of its own"),
  ("distill", "scheme=mutual teacher_cache=x", "learns from no stored teacher"),
  ("compare", "views=2 augment=mixup", "'mixup': mixed images are new"),
  ("distill", "teacher_cache=x transfer_dataset=digits",
   "--transfer_dataset: a cache has"),
  ("distill", "teacher_cache=x teacher_view=none", "--teacher_view: a cache"),
  ("distill", "teacher_cache=x chain=mlp(4)", "and --chain: a cache has"),
  ("distill", "scheme=mutual teacher_view=none", "no teacher to be shown"),
  ("distill", "scheme=mean_teacher(views=2) augment=mixup", "not mixed"),
  ("distill", "scheme=codistillation augment=cutmix", "not mixed"),
  ("distill", "noise_teacher=1 augment=mixup", "'mixup' mixes them"),
  ("distill", "accumulate_steps=2 gradient_metrics=1", "need the whole batch"),
  ("distill", "accumulate_steps=2 scheme=mutual", "shows whole batches"),
  ("compress", "sparsity=0.5 pruning_begin=0.5", "--pruning_begin=0.5: it must"),
  ("distill", "sparsity=0.5 scheme=mean_teacher", "--sparsity=0.5: an average"),
  ("sweep", "method_weight=1,2 distillation=hard", "--method_weight: sweeping"),
  ("sweep", "keep_best=1 best_metric=loss temperature=1,4", "is a sweep"),
  ("distill", "keep_best=1", "test images must not choose"),
  ("distill", "keep_best=1 best_metric=test_accuracy validation=0.1",
   "test images must not choose"),
  ("compare", "search_smoothing=0.1", "the same number of tries"),
  ("distill", "multihost=1 process_count=2 process_index=2",
   "--process_index=2: it counts from 0"),
  ("distill", "multihost=1 coordinator_address=here", "HOST:PORT"),
  ("quantify", "student=lenet probes_at_once=5", "does not divide --probes=32"),
  ("quantify", "", "name it, such as"),
  ("quantify", "student=lenet teacher=mlp", "leave --teacher out"),
  ("soft_td", "temperature=linear(8,1,9)", "soft_td takes a number"),
  ("synthesise", "inner_steps=2", "does not divide --images_per_class=3"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "typed", "said"), CLASHES)
def test_settings_that_do_not_go_together(command, typed, said):
  experiment = options.with_flags(Experiment(), settings(typed))
  with pytest.raises(UserError, match=said) as error:
    rules.check(CONFIGS[command], experiment)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("command", "typed"),
  [
    ("distill", "teachers=2 chain=mlp(4)"),
    ("distill", "keep_best=1 best_metric=loss"),
    ("distill", "keep_best=1 validation=0.1"),
    ("distill", "best_metric=test_accuracy"),
    ("distill", "accumulate_steps=2"),
    ("distill", "noise_teacher=1 augment=mixup teacher_view=none"),
    # Another command's settings, of an experiment's file.
    ("distill", "search_smoothing=0.1 inner_steps=2"),
    ("soft_td", "temperature=2"),
    ("quantify", "student=lenet teacher=lenet probes_at_once=8"),
  ],
)
def test_settings_that_go_together(command, typed):
  experiment = options.with_flags(Experiment(), settings(typed))
  rules.check(CONFIGS[command], experiment)
