"""The figures of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax import evaluate
from kdjax.evaluate.scores import log_softmax
from kdjax.runner.jobs.soft_td.build import Parts, examples_of
from kdjax.runner.jobs.soft_td.rounds import Round, make_soft_labels, stopping
from kdjax.runner.pipeline import measure as results
from kdjax.runner.pipeline import predict

CONTROLS = ("reference", "one_round", "label_smoothing")


def best_students(rounds: Sequence[Round], patience: int) -> Any:
  """Takes every chain's student of its best round.

  Args:
    rounds: that were done.
    patience: as in `stopping`.

  Returns:
    Variables with a leading axis (M,).
  """
  best, _ = stopping([one.taught.validation_loss for one in rounds], patience)
  chain = np.arange(len(best))
  return jax.tree.map(
    lambda *leaves: np.stack([np.asarray(x) for x in leaves])[best, chain],
    *(one.taught.networks for one in rounds),
  )


def measure(
  parts: Parts,
  sources: Any,
  networks: Mapping[str, Any],
  rounds: Sequence[Round],
) -> dict[str, Any]:
  """Scores sources, students and controls on the test images.

  Args:
    parts: of the run.
    sources: variables with a leading axis (M * S,), chain after chain.
    networks: variables by arm, with a leading axis (M,).
    rounds: that were done.

  Returns:
    JSON values.
  """
  test = parts.prepared.dataset.test
  prepared = parts.prepared._replace(scored=test)
  taught = predict.predict(prepared.teacher, sources, test.images)
  logits = {
    arm: predict.predict(prepared.student, members, test.images)
    for arm, members in networks.items()
  }
  found = results.figures(prepared, sources, networks, taught, logits)
  mixed = _mixed(parts, taught)
  for arm, values in logits.items():
    # Every chain has sources of its own to agree with.
    found[arm]["agreement"] = [
      float(evaluate.agreement(one, own))
      for one, own in zip(values, mixed, strict=True)
    ]
  found["controls"] = {arm: found.pop(arm) for arm in CONTROLS}
  found["comparisons"] = results.comparisons(found)
  found["rounds"] = round_rows(parts, rounds)
  found["soft_td"] = _summary(parts, rounds) | {
    "mixture_accuracy": evaluate.accuracy(mixed, test.labels).tolist()
  }
  return found


def round_rows(parts: Parts, rounds: Sequence[Round]) -> list[dict[str, Any]]:
  """Lists what every round gave, one number a chain.

  Args:
    parts: of the run.
    rounds: that were done.

  Returns:
    JSON values. "counts" says which chains had not stopped before;
    "target_accuracy" is over all examples of the transfer set, the labels of
    which the run itself does not look at.
  """
  patience = parts.experiment.soft_td.patience
  _, last = stopping([one.taught.validation_loss for one in rounds], patience)
  shown = parts.transfer
  labels = parts.prepared.dataset.train.labels[shown]
  rows = []
  for place, (soft_labels, taught) in enumerate(rounds):
    effective = soft_labels.effective[:, shown]
    targets = soft_labels.log_targets[:, shown]
    rows.append(
      {
        "round": place + 1,
        "sources": soft_labels.sources,
        "counts": ((last < 0) | (last >= place)).tolist(),
        "effective_sample_size": effective.mean(axis=1).tolist(),
        "least_effective_sample_size": effective.min(axis=1).tolist(),
        "target_accuracy": evaluate.accuracy(targets, labels).tolist(),
        "validation_loss": taught.validation_loss.tolist(),
      }
      | {name: values.tolist() for name, values in taught.scores.items()}
    )
  return rows


def _summary(parts: Parts, rounds: Sequence[Round]) -> dict[str, Any]:
  chosen = parts.experiment
  losses = [one.taught.validation_loss for one in rounds]
  best, last = stopping(losses, chosen.soft_td.patience)
  feeds = parts.prepared.student.feeds
  return {
    "best_round": (best + 1).tolist(),
    "last_round": np.where(last < 0, len(rounds), last + 1).tolist(),
    "epochs_of_controls": len(rounds) * chosen.student.epochs,
    "labelled": len(examples_of(feeds[parts.labelled])),
    "transfer": len(parts.transfer),
    "validation": len(parts.prepared.scored.labels),
  }


def _mixed(parts: Parts, taught: np.ndarray) -> np.ndarray:
  """What the pre-trained sources of each chain say together of the test images."""
  chosen = parts.experiment.soft_td
  by_chain = log_softmax(taught).reshape(
    parts.chains, chosen.sources, *taught.shape[1:]
  )
  mixed = make_soft_labels(
    np.moveaxis(by_chain, 1, 0), beta=chosen.beta, kind="soft"
  )
  return mixed.log_targets
