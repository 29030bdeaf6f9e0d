"""Where and how a run happens."""

import dataclasses

from kdjax.config.option import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class Run:
  """Where and how the run happens."""

  workdir: str | None = option(
    None, "folder for all that the run writes; runs/NAME-DATE-TIME by default"
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
