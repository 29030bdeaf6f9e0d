"""Where and how a run happens."""

import dataclasses

from kdjax.runner.config.field import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class Accelerator:
  """On which kind of device."""

  accelerator: str = option(
    "auto", "device to run on", choices=("auto", "cpu", "gpu", "tpu")
  )


@dataclasses.dataclass(frozen=True)
class Machine(Accelerator):
  """How the machine is used."""

  host_devices: int = option(
    1, "split the CPU into this many devices", within=Interval(1, 256, "[]")
  )
  compilation_cache: str | None = option(
    None,
    "folder that keeps compiled programs from one start to the next, or none;"
    " JAX_COMPILATION_CACHE_DIR or ~/.cache/kdjax by default",
    none_is_a_text=True,
  )


@dataclasses.dataclass(frozen=True)
class Workdir:
  """Where a run writes."""

  workdir: str | None = option(
    None, "folder for all that the run writes; runs/NAME-DATE-TIME by default"
  )


@dataclasses.dataclass(frozen=True)
class Place(Machine, Workdir):
  """Where a run happens."""


@dataclasses.dataclass(frozen=True)
class Profiling:
  """Whether a run says where its time went."""

  profile: bool = option(
    False,
    "print where the time went: imports, data, tracing, compiling, steps,"
    " evaluation, report; also in WORKDIR/profile.json",
  )


@dataclasses.dataclass(frozen=True)
class JobPlace(Place, Profiling):
  """Where a job happens."""


@dataclasses.dataclass(frozen=True)
class ResumablePlace(JobPlace):
  """Where a run happens that goes on after it was stopped."""

  resume: bool = option(
    True, "go on with the unfinished run of the same settings in --workdir"
  )


@dataclasses.dataclass(frozen=True)
class Checkpoints:
  """How often a training is kept."""

  checkpoint_minutes: float = option(
    5.0,
    "minutes from one checkpoint to the next; SIGTERM and Ctrl-C always save",
    within=Interval(0),
  )
  checkpoint_steps: int = option(
    256,
    "the most steps from one look at the clock, and at signals, to the next",
    within=COUNT,
  )


@dataclasses.dataclass(frozen=True)
class Intervals(Checkpoints):
  """How often a training is looked at."""

  evaluate_every: int = option(
    1,
    "epochs from one measurement of the test accuracy to the next; the last"
    " epoch is always measured",
    within=COUNT,
  )


@dataclasses.dataclass(frozen=True)
class Latency:
  """Whether trained networks are timed."""

  latency: bool = option(
    True,
    "time a forward pass of the trained networks, for at most some seconds"
    " each; --nolatency leaves it out of the results",
  )


@dataclasses.dataclass(frozen=True)
class Run(Latency, Intervals, ResumablePlace):
  """Where and how the run happens."""

  decisive = True

  keep_best: int = option(
    0,
    "keep the student of so many epochs, the best by --best_metric, in best/",
    within=Interval(0),
  )
  best_metric: str = option(
    "validation_accuracy",
    "what tells the best epochs: validation_accuracy (on what --validation holds"
    " out; the test set never chooses), or a number of metrics.jsonl such as"
    " loss, the lower the better but for accuracies",
  )
  nan: str = option(
    "stop",
    "at a step whose loss or gradient is not finite: stop, skip the step, or"
    " rewind by a portion and leave its data out",
    choices=("stop", "skip", "rewind"),
  )
  nan_patience: int = option(
    10,
    "stop after so many bad steps in a row (skip), or bad portions (rewind)",
    within=COUNT,
  )
