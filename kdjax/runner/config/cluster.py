"""One run in several processes, on as many machines as there are."""

import dataclasses

from kdjax.runner.config.field import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class Cluster:
  """One run in several processes; see docs/clusters.md."""

  decisive = True

  multihost: bool = option(
    False,
    "this process is one of several that train together; under SLURM, Open MPI,"
    " Kubernetes and on Cloud TPU they find each other",
  )
  coordinator_address: str | None = option(
    None, "HOST:PORT at which the processes meet; HOST is that of process 0"
  )
  process_count: int | None = option(
    None, "how many processes there are", within=COUNT
  )
  process_index: int | None = option(
    None, "which of them this one is, from 0", within=Interval(0)
  )
  init_timeout: float = option(
    300.0, "seconds to wait until all processes are there", within=Interval(1)
  )
  heartbeat_timeout: float = option(
    60.0,
    "seconds without a sign of life after which a process counts as lost",
    within=Interval(5),
  )
  step_timeout: float = option(
    1800.0,
    "seconds that several processes may take for the steps that run at once, at"
    " most --checkpoint_steps, compiling included",
    within=Interval(1),
  )
