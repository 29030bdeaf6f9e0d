"""Where and how a run happens."""

import dataclasses

from kdjax.config.option import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class Run:
  """Where and how the run happens."""

  workdir: str | None = option(
    None, "folder for all that the run writes; runs/NAME-DATE-TIME by default"
  )
  resume: bool = option(
    True, "go on with the unfinished run of the same settings in --workdir"
  )
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
  evaluate_every: int = option(
    1,
    "epochs from one measurement of the test accuracy to the next; the last"
    " epoch is always measured",
    within=COUNT,
  )
  accelerator: str = option(
    "auto", "device to run on", choices=("auto", "cpu", "gpu", "tpu")
  )
  host_devices: int = option(
    1, "split the CPU into this many devices", within=Interval(1, 256, "[]")
  )
