"""What settings must not be beside each other: one table, one line an error.

The type and the bounds of a setting stand where it is declared. Here stand the
rules about two or more; no data are opened for them, and no network is made.
"""

import dataclasses
import itertools
from collections.abc import Collection

from kdjax import data
from kdjax.core import spec
from kdjax.core.errors import UserError
from kdjax.runner.config import AUTO, Experiment
from kdjax.runner.config.flags import by_flag
from kdjax.runner.config.options import as_flag, value_of
from kdjax.runner.pipeline import conditions
from kdjax.runner.pipeline.arms import STAND_INS
from kdjax.runner.pipeline.idle_flags import IDLE, Rule
from kdjax.runner.pipeline.kinds import is_of_texts
from kdjax.runner.pipeline.loaders import SAME
from kdjax.runner.pipeline.validate_teachers import (
  has_stages,
  is_plain,
)
from kdjax.runner.pipeline.values import Values, read_values

# Who teaches, where it is not one teacher: two of these are one too many.
_TEACHERS = {
  "teachers": conditions.several,
  "specialists": lambda one: bool(one.teaching.specialists),
  "route": lambda one: bool(one.teaching.route),
  "chain": lambda one: has_stages(one.teaching),
}
_CLASHES = (
  *(
    Rule(
      f"{one} {other}",
      lambda x, one=one, other=other: _TEACHERS[one](x) and _TEACHERS[other](x),
      f"--{one} and --{other} do not go together",
    )
    for one, other in itertools.combinations(_TEACHERS, 2)
    if (one, other) != ("teachers", "chain")
  ),
  *(
    Rule(
      f"{one} scheme",
      lambda x, one=one: _TEACHERS[one](x) and conditions.online(x),
      f"--{one} and --scheme={{distillation.regime}} do not go together",
    )
    for one in _TEACHERS
  ),
  Rule(
    "teachers teacher_from",
    lambda one: one.teaching.teachers > 1 and one.values.teacher_folders,
    "--teachers={teaching.teachers} trains teachers, but --teacher_from names"
    " trained ones; leave one of them out",
  ),
  Rule(
    "teacher_head teacher_from",
    lambda one: (
      one.teacher.teacher_head == "tuned"
      and len(one.values.teacher_folders) > 1
    ),
    "--teacher_head=tuned: one teacher is trained on the data, and --teacher_from names"
    " several",
  ),
  Rule(
    "teacher_head teacher_cache",
    lambda one: (
      one.teacher.teacher_head == "tuned" and one.teacher.teacher_cache
    ),
    "--teacher_head=tuned: with --teacher_cache no teacher is trained",
  ),
  Rule(
    "route teacher_from",
    lambda one: one.teaching.route and one.values.teacher_folders,
    "--route needs the moments of a teacher's training, which a trained one does"
    " not keep: leave --teacher_from out",
  ),
  Rule(
    "route teacher_epochs",
    lambda one: one.teaching.route > one.teacher.epochs,
    "--route={teaching.route}: the teacher is trained for"
    " --teacher_epochs={teacher.epochs} only",
  ),
  Rule(
    "teacher_head specialists",
    lambda one: (
      one.teacher.teacher_head in ("drop", "new") and one.teaching.specialists
    ),
    "--teacher_head={teacher.teacher_head}: --specialists begin with the"
    " teacher's answers, which mean nothing without its classifier",
  ),
  # What is shown.
  Rule(
    "dataset train_split",
    lambda one: data.is_drawn(one.data.dataset),
    "--dataset={data.dataset}: its images belong to no classes that could be"
    " learned; give it as --transfer_dataset={data.dataset}, beside a --dataset",
  ),
  Rule(
    "transfer_images",
    lambda one: one.data.transfer_images and one.data.transfer_dataset is None,
    "--transfer_images={data.transfer_images}: there is no --transfer_dataset;"
    " --images takes a part of the training images",
  ),
  Rule(
    "views scheme",
    lambda one: conditions.numbered(one) and conditions.online(one),
    "--scheme={distillation.regime} draws views of its own, and learns from no"
    " stored teacher: leave out --views and --teacher_cache",
  ),
  Rule(
    "views augment",
    lambda one: conditions.numbered(one) and one.values.mixes,
    "--augment={student.augment!r}: mixed images are new in every step; leave"
    " out --views and --teacher_cache",
  ),
  *(
    Rule(
      "teacher_cache",
      lambda one, there=there: one.teacher.teacher_cache and there(one),
      f"{name}: a cache has the teacher's answers to the student's views of the"
      " training images alone; leave out --teacher_cache",
    )
    for name, there in (
      ("--transfer_dataset", lambda one: one.data.transfer_dataset),
      ("--teacher_view", lambda one: one.distillation.teacher_view != SAME),
      ("--reference_augment", lambda one: one.controls.reference_augment),
      (
        "--teachers, --specialists, --route and --chain",
        lambda one: not is_plain(one, one.values),
      ),
    )
  ),
  Rule(
    "teacher_view scheme",
    lambda one: (
      one.distillation.teacher_view != SAME and conditions.online(one)
    ),
    "--teacher_view={distillation.teacher_view}: with"
    " --scheme={distillation.regime} the student has no teacher to be shown"
    " anything",
  ),
  Rule(
    "augment scheme",
    lambda one: one.values.scheme.adapt_loader and one.values.mixes,
    "--augment={student.augment}: --scheme={distillation.regime} makes batches"
    " of its own, whose examples are not mixed",
  ),
  *(
    Rule(
      name,
      lambda one, name=name: (
        getattr(one.controls, name)
        and one.distillation.teacher_view == SAME
        and one.values.mixes
      ),
      f"--{name}: it answers for single images, and {{student.augment!r}} mixes"
      " them; give the teacher a view of its own, such as --teacher_view=none",
    )
    for name in STAND_INS
  ),
  # How it is computed.
  Rule(
    "accumulate_steps gradient_metrics",
    lambda one: (
      one.computing.accumulate_steps > 1 and one.distillation.gradient_metrics
    ),
    "--accumulate_steps={computing.accumulate_steps}: --gradient_metrics need the"
    " whole batch",
  ),
  Rule(
    "accumulate_steps scheme",
    lambda one: one.computing.accumulate_steps > 1 and conditions.online(one),
    "--accumulate_steps={computing.accumulate_steps}:"
    " --scheme={distillation.regime} shows whole batches",
  ),
  Rule(
    "mesh shard",
    lambda one: one.computing.mesh and one.computing.shard != "auto",
    "--shard={computing.shard}: --mesh={computing.mesh} says what devices divide;"
    " leave one of them out",
  ),
  Rule(
    "mesh scheme",
    lambda one: one.computing.mesh and one.values.scheme.layout,
    "--mesh={computing.mesh}: --scheme={distillation.regime} lays its networks"
    " over the devices itself",
  ),
  Rule(
    "pruning_begin pruning_end",
    lambda one: (
      one.compression.sparsity
      and one.compression.pruning_begin >= one.compression.pruning_end
    ),
    "--pruning_begin={compression.pruning_begin:g}: it must be less than"
    " --pruning_end={compression.pruning_end:g}",
  ),
  Rule(
    "sparsity scheme",
    lambda one: one.compression.sparsity and one.values.scheme.averages,
    "--sparsity={compression.sparsity:g}: an average of weights over time is not"
    " sparse; measure the other one, --scheme='mean_teacher(measured=student)'",
  ),
  *(
    Rule(
      f"lora {flag}",
      lambda one, test=test: one.language.lora and test(one.compression),
      f"--{flag}={{compression.{flag}}}: with --lora={{language.lora}} the student's"
      f" own weights stay as they are; {advice}",
    )
    for flag, test, advice in (
      (
        "quantization",
        lambda one: one.quantization != "none",
        "--lora='rank(16, weights=...)' keeps them in few bits",
      ),
      ("sparsity", lambda one: one.sparsity, "leave one of them out"),
    )
  ),
  # What is swept, searched and kept.
  Rule(
    "temperature distillation",
    lambda one: (
      isinstance(one.distillation.temperature, tuple)
      and not conditions.takes_temperature(one)
    ),
    "--temperature: sweeping it changes nothing in"
    " --distillation={distillation.distillation!r}, which does not take one or"
    " has its own",
  ),
  Rule(
    "method_weight distillation",
    lambda one: (
      isinstance(one.distillation.method_weight, tuple)
      and one.values.objective.labels_alone
    ),
    "--method_weight: sweeping it changes nothing in"
    " --distillation={distillation.distillation!r}, which has no term but the"
    " labels'",
  ),
  Rule(
    "keep_best",
    lambda one: one.run.keep_best and conditions.swept(one),
    "--keep_best={run.keep_best}: epochs are kept of one setting, and this is a"
    " sweep over several",
  ),
  Rule(
    "keep_best best_metric",
    lambda one: (
      one.run.keep_best
      and (
        one.run.best_metric.startswith("test_")
        or (
          one.run.best_metric.startswith("validation_")
          and not one.data.validation
        )
      )
    ),
    "--keep_best={run.keep_best} --best_metric={run.best_metric}: the test images"
    " must not choose the epoch; hold training images out, such as"
    " --validation=0.1 with --best_metric=validation_accuracy, or choose by"
    " train_accuracy or loss",
  ),
  Rule(
    "search_smoothing search_weights",
    lambda one: len(one.search.smoothing) != len(one.search.weights),
    "--search_smoothing and --search_weights: give as many of one as of the"
    " other; every arm is to have the same number of tries",
  ),
  # Several processes.
  Rule(
    "process_index process_count",
    lambda one: (
      None not in (one.cluster.process_index, one.cluster.process_count)
      and one.cluster.process_index >= one.cluster.process_count
    ),
    "--process_index={cluster.process_index}: it counts from 0, and must be less"
    " than --process_count={cluster.process_count}",
  ),
  Rule(
    "coordinator_address",
    lambda one: conditions.no_address(one.cluster.coordinator_address),
    "--coordinator_address={cluster.coordinator_address}: it must be HOST:PORT,"
    " such as 10.0.0.1:1234",
  ),
  Rule(
    "multihost task",
    lambda one: one.cluster.multihost and is_of_texts(one.data.task),
    "--multihost: cache --task={data.task} writes one file, in one process",
  ),
  # Other commands.
  Rule(
    "probes probes_at_once",
    lambda one: one.quantify.probes % (one.quantify.probes_at_once or 1),
    "--probes_at_once={quantify.probes_at_once} does not divide"
    " --probes={quantify.probes}",
  ),
  Rule(
    "tap student teacher",
    lambda one: one.student.model == one.teacher.model == AUTO,
    "quantify compares networks of one architecture: name it, such as"
    " --student='lenet'",
  ),
  Rule(
    "tap student teacher",
    lambda one: (
      AUTO not in (one.student.model, one.teacher.model)
      and one.student.model != one.teacher.model
    ),
    "--teacher={teacher.model} and --student={student.model}: quantify compares"
    " networks of one architecture; leave --teacher out",
  ),
  Rule(
    "rounds",
    lambda one: one.distillation.distillation != "response",
    "--distillation={distillation.distillation}: soft_td has an objective of its"
    " own; --temperature, --hard_weight and --regulariser change it",
  ),
  *(
    Rule(
      f"rounds {name}",
      lambda one, name=name: isinstance(
        getattr(one.distillation, name), spec.Spec
      ),
      f"--{name}={{distillation.{name}}}: soft_td takes a number",
    )
    for name in ("temperature", "hard_weight")
  ),
  Rule(
    "images_per_class inner_steps",
    lambda one: one.synthesis.images_per_class % one.synthesis.inner_steps,
    "--inner_steps={synthesis.inner_steps} does not divide"
    " --images_per_class={synthesis.images_per_class}: every step is to have as"
    " many images of each class",
  ),
)
RULES = (*itertools.chain(*IDLE), *_CLASHES)


def check(
  config: type, experiment: Experiment, typed_flags: Collection[str] = ()
) -> Values:
  """Refuses settings that break a rule, and texts that cannot be read.

  Args:
    config: the command's class.

  Returns:
    What the texts mean.

  Raises:
    UserError: names the setting and what it clashes with.

  Example:
    >>> from kdjax.runner.config.commands import DistillConfig
    >>> check(DistillConfig, Experiment(), ["pruning_end"])
    Traceback (most recent call last):
      ...
    kdjax.core.errors.UserError: --pruning_end=0.5: it does nothing without --sparsity
  """
  command_options = by_flag(config)
  if "controls" not in command_options:
    # It trains no baseline with the teacher's views.
    controls = dataclasses.replace(experiment.controls, controls=False)
    experiment = dataclasses.replace(experiment, controls=controls)
  values = read_values(experiment)
  case = conditions.Case(**vars(experiment), values=values)
  for rule in RULES:
    if not command_options.keys() >= set(rule.flags.split()):
      continue
    flag_text = ""
    if rule.typed:
      value = value_of(experiment, command_options[rule.typed])
      # None takes back what a file says.
      if rule.typed not in typed_flags or value is None:
        continue
      flag_text = as_flag(command_options[rule.typed], value)
    if rule.broken(case):
      raise UserError(rule.message.format(typed=flag_text, **vars(experiment)))
  return values
