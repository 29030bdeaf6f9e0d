"""Settings of soft-target distillation, iterated."""

import dataclasses

from kdjax.runner.config.field import COUNT, Interval, option


@dataclasses.dataclass(frozen=True)
class SoftTD:
  """What `launch.py soft_td` makes of several sources, round after round."""

  sources: int = option(
    3,
    "soft_td: networks of the teacher's kind that are trained on the labels, for"
    " each student",
    within=COUNT,
  )
  rounds: int = option(
    4, "soft_td: how often soft labels are made anew, at most", within=COUNT
  )
  patience: int = option(
    1,
    "soft_td: rounds without a lower validation loss after which it stops",
    within=COUNT,
  )
  beta: float = option(
    0.5,
    "soft_td: how much a source counts less the further it is from the sources'"
    " mean; 0 is the plain mean",
    within=Interval(0, 1, "[]"),
  )
  pseudo_labels: str = option(
    "soft",
    "soft_td: what the sources' mixture becomes: its probabilities, or its most"
    " likely class",
    choices=("soft", "hard"),
  )
  next_sources: str = option(
    "all",
    "soft_td: who the sources of the next round are: all so far and the student,"
    " or the latest student alone",
    choices=("all", "latest"),
  )
  regulariser: str = option(
    "none",
    "soft_td: what is added to the loss: the divergence from the uniform or from"
    " the first round's soft labels, or half the squared parameters",
    choices=("none", "label_smoothing", "kd", "l2"),
  )
  regulariser_weight: float = option(
    0.1, "soft_td: the regulariser's weight lambda", within=Interval(0)
  )
  soft_labels_from: str | None = option(
    None,
    "soft_td: an .npy or .npz file of soft labels for the training set, one more"
    " source",
  )
  project_simplex: bool = option(
    False,
    "soft_td: project soft labels that are no probabilities, instead of an error",
  )
