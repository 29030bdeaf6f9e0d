"""Batches that show the classes alike, or less unlike than they are."""

import functools

import numpy as np

from kdjax.core.errors import UserError, unknown_name
from kdjax.data.plan import Plan, check_steps, cut_pass, steps_per_pass

# A class of n examples is shown in proportion to n to the power.
POWERS = {"instance": 1.0, "balanced": 0.0, "square_root": 0.5}


def class_batches(
  examples: np.ndarray,
  labels: np.ndarray,
  batch_size: int,
  *,
  sampling: str,
  seed: int,
  start: int,
  stop: int,
  drop_remainder: bool = False,
) -> Plan:
  """Plans the steps start..stop-1 of the stream, as `batches`, by class.

  A pass shows N examples, as one over the set would: of each class its share of
  them, to within one, spread evenly over the pass, so that every batch has nearly
  its share too. Within a class all examples are shown before one comes again, from
  pass to pass as well. A pass of rare classes shows their examples several times,
  and not all of those of common ones.

  Args:
    examples: (N,) integer example ids, N >= 1.
    labels: (N,) int >= 0, the class of each.
    batch_size: examples a batch, >= 1.
    sampling: "instance", classes as they are; "balanced", all alike;
      "square_root", in proportion to the root of their size.
    seed: >= 0; another seed, another order.
    start: first global step, >= 0.
    stop: one past the last global step, >= start.
    drop_remainder: leave out the last batch of a pass where it is not full.

  Returns:
    A Plan of stop - start steps: a function of (examples, labels, batch size,
    sampling, seed, step), whatever the chunks in which they are asked for.

  Raises:
    UserError: for another sampling, or an example without a class.

  Source:
    Kang et al. 2020, arXiv:1910.09217, section 3: class-balanced and square-root
    sampling.

  Example:
    >>> labels = np.array([0] * 6 + [1] * 2)
    >>> plan = class_batches(
    ...   np.arange(8), labels, 4, sampling="balanced", seed=0, start=0, stop=2
    ... )
    >>> labels[plan.indices].mean(1).tolist()
    [0.5, 0.5]
  """
  if sampling not in POWERS:
    raise unknown_name("sampling of classes", sampling, POWERS)
  examples, labels = np.asarray(examples), np.asarray(labels)
  if (labels < 0).any():
    unknown = int((labels < 0).sum())
    raise UserError(
      f"sampling={sampling!r}: of {unknown} of {len(labels)} examples the class is"
      " not known"
    )
  check_steps(seed, start, stop)
  size = steps_per_pass(len(examples), batch_size, drop_remainder)
  members = [examples[labels == label] for label in np.unique(labels)]
  shown = shares([len(x) for x in members], sampling)
  order = functools.partial(_order, members, shown, seed)
  return cut_pass(order, batch_size, size, start, stop)


def shares(counts, sampling: str) -> np.ndarray:
  """Says how many examples of each class a pass shows.

  Args:
    counts: (C,) how many there are, each >= 1.
    sampling: as of `class_batches`.

  Returns:
    (C,) int64 with the sum of the counts, each within one of its share; what is
    left over goes to those that miss most of theirs.

  Example:
    >>> shares([90, 9, 1], "balanced").tolist()
    [34, 33, 33]
  """
  counts = np.asarray(counts)
  exact = counts.sum() * shown_shares(counts, sampling)
  whole = np.floor(exact + 1e-9).astype(np.int64)
  missing = np.argsort(whole - exact, kind="stable")
  whole[missing[: counts.sum() - whole.sum()]] += 1
  return whole


def shown_shares(counts, sampling: str) -> np.ndarray:
  """Says how large each class's share of what is shown is.

  Args:
    counts: (C,) how many examples there are, > 0.
    sampling: as of `class_batches`.

  Returns:
    (C,) float64, their sum 1.

  Example:
    >>> shown_shares([1, 3], "instance").tolist()
    [0.25, 0.75]
  """
  parts = np.asarray(counts, float) ** POWERS[sampling]
  return parts / parts.sum()


def _order(members, shown, seed: int, number: int) -> np.ndarray:
  """The examples of one pass, in their order."""
  generator = np.random.default_rng((seed, number, 1))
  ids, places = [], []
  for label, (own, count) in enumerate(zip(members, shown, strict=True)):
    if count:
      ids.append(_draws(own, (seed, label, 2), number * count, count))
      # One in each of as many equal parts of the pass, somewhere.
      places.append((np.arange(count) + generator.random(count)) / count)
  return np.concatenate(ids)[np.argsort(np.concatenate(places), kind="stable")]


def _draws(own: np.ndarray, key, first: int, count: int) -> np.ndarray:
  """Draws first..first+count-1 of a class: permutations, one behind another."""
  rounds = range(first // len(own), -(-(first + count) // len(own)))
  orders = [
    np.random.default_rng((*key, number)).permutation(own) for number in rounds
  ]
  begin = first - rounds[0] * len(own)
  return np.concatenate(orders)[begin : begin + count]
