"""Rounds: which is the best, when they stop, who the next sources are."""

import numpy as np
import pytest

from kdjax.runner.jobs.soft_td import rounds, targets


@pytest.mark.parametrize(
  ("losses", "patience", "best", "last"),
  [
    ([1.0], 1, 0, -1),
    ([3.0, 2.0, 1.0], 1, 2, -1),
    ([3.0, 2.0, 2.5], 1, 1, 2),
    # Equal is not better.
    ([3.0, 3.0], 1, 0, 1),
    # What comes after the stop does not count.
    ([3.0, 4.0, 1.0], 1, 0, 1),
    ([3.0, 4.0, 1.0], 2, 2, -1),
    ([3.0, 4.0, 5.0, 1.0], 2, 0, 2),
    ([3.0, 4.0, 2.0, 2.5, 2.5, 1.0], 2, 2, 4),
    ([3.0, np.nan], 1, 0, 1),
  ],
  ids=str,
)
def test_stopping(losses, patience, best, last):
  found = rounds.stopping([np.array([x]) for x in losses], patience)
  assert [x.tolist() for x in found] == [[best], [last]]


def test_chains_stop_alone():
  losses = np.array([[3.0, 3.0], [4.0, 2.0], [1.0, 2.5]])
  best, last = rounds.stopping(losses)
  assert (best.tolist(), last.tolist()) == ([0, 1], [1, 2])


def one_source(chance):
  return np.log(np.array([[[[chance, 1 - chance]]]]))


class Recorder:
  """Teaches by halving the way to (0.5, 0.5), with the losses that it is told."""

  def __init__(self, losses):
    self.losses, self.seen = losses, []

  def __call__(self, number, soft_labels):
    self.seen.append((number, soft_labels.sources, soft_labels.log_targets))
    answers = np.log((np.exp(soft_labels.log_targets) + 0.5) / 2)
    return rounds.RoundResult(
      number, np.array([self.losses[number - 1]]), answers, {}
    )


@pytest.mark.parametrize(
  ("losses", "most", "done"),
  [
    ([3.0, 2.0, 1.0, 0.5], 3, 3),
    ([3.0, 2.0, 2.5, 0.5], 4, 3),
    ([3.0, 4.0], 4, 2),
    ([3.0], 1, 1),
  ],
)
def test_iterate_stops(losses, most, done):
  teach = Recorder(losses)
  found = rounds.iterate(one_source(0.9), teach, rounds=most)
  assert [one.students.networks for one in found] == list(range(1, done + 1))
  assert len(teach.seen) == done


@pytest.mark.parametrize(
  ("who", "sources", "chances"),
  [
    # The student of 0.9 says 0.7; together 0.8, whose student says 0.65.
    ("all", [1, 2, 3], [0.9, 0.8, 0.75]),
    ("latest", [1, 1, 1], [0.9, 0.7, 0.6]),
  ],
)
def test_students_become_sources(who, sources, chances):
  teach = Recorder([3.0, 2.0, 1.0])
  rounds.iterate(one_source(0.9), teach, rounds=3, next_sources=who)
  assert [count for _, count, _ in teach.seen] == sources
  found = [np.exp(log_targets)[0, 0, 0] for _, _, log_targets in teach.seen]
  np.testing.assert_allclose(found, chances)


def test_unknown_successors():
  with pytest.raises(ValueError, match="all, latest"):
    rounds.successors(np.zeros((1, 1, 1, 2)), np.zeros((1, 1, 2)), "last")


def test_one_source_is_its_own_mixture():
  source = targets.to_log(np.array([[[[0.2, 0.8], [1.0, 0.0]]]]))
  found = rounds.make_soft_labels(source, beta=1.0, kind="soft")
  np.testing.assert_allclose(found.log_targets, source[0])
  np.testing.assert_allclose(found.effective, 1.0)


def test_mixtures_are_checked():
  """A source that is no distribution is not passed on."""
  with pytest.raises(ValueError, match="example 0 sums to 1.2"):
    rounds.make_soft_labels(np.log([[[[0.6, 0.6]]]]), beta=0.0, kind="soft")
