"""How networks compute, and how closely a run is watched."""

import dataclasses

from kdjax.runner.config.field import COUNT, option

FORMATS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Precision:
  """What networks compute in, and whether they fit."""

  decisive = True

  compute_dtype: str = option(
    "float32",
    "what networks compute in while they train, and when they are measured;"
    " parameters, statistics, logits, losses and gradients stay float32",
    choices=FORMATS,
  )
  teacher_dtype: str = option(
    "float32",
    "what a teacher is kept and computes in while students ask it",
    choices=FORMATS,
  )
  remat: bool = option(
    False,
    "forget what is inside a stage's blocks, and compute it again for the"
    " gradient: less memory, a third more work",
  )
  preflight: bool = option(
    True,
    "say before each training what memory a step takes, and refuse what cannot"
    " fit",
  )


@dataclasses.dataclass(frozen=True)
class Portions:
  """How much is computed at once."""

  decisive = True

  accumulate_steps: int = option(
    1,
    "cut every batch into so many pieces, and sum their gradients before the"
    " step: less memory, the same step; batch normalisation sees a piece",
    within=COUNT,
  )
  members_at_once: int | None = option(
    None,
    "networks that train side by side on a device; the others of a sweep, and"
    " further seeds, wait their turn. As many as memory allows by default",
    within=COUNT,
  )


@dataclasses.dataclass(frozen=True)
class Partitioned:
  """How networks that are larger than a device are cut."""

  decisive = True

  mesh: str | None = option(
    None,
    "axes of the devices and their sizes, such as data=2,model=4, one of which may"
    " be -1: batches are cut over data, networks as --shard_rules say, so that"
    " they may be larger than a device",
  )
  shard_rules: str | None = option(
    None,
    "how arrays of student, optimiser, method and teacher are cut over --mesh:"
    " fsdp, transformer, or PATTERN=axis,axis;... by path, '-' for an axis that is"
    " not cut; where nothing matches, every device has all",
  )


@dataclasses.dataclass(frozen=True)
class Computing(Partitioned, Portions, Precision):
  """Precision, memory, and what is measured while networks train."""

  decisive = True

  shard: str = option(
    "auto",
    "what several devices divide among them: batch, or members, so that each"
    " trains networks of its own; auto: members where the seeds divide evenly",
    choices=("auto", "batch", "members"),
  )
  profile_steps: str | None = option(
    None,
    "START:STOP, steps of the student's training whose trace goes to"
    " WORKDIR/profile, rounded out to whole portions (--checkpoint_steps)",
  )
