"""Similarity to a queue of the teacher's embeddings: a student that queries its index."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Inputs, Method
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features as features
from kdjax.methods._modules import regress_pairs, regressors, remembering
from kdjax.methods.registry import register


@register("seed", objective="seed:1", reads=KINDS)
def seed(
  *,
  queue: int = 512,
  temperature: float = 0.2,
  teacher_temperature: float = 0.01,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Similarity distribution over a queue of the teacher's embeddings.

  loss = KL(p || q),  p = softmax(cos(t, [t; queue]) / teacher_temperature)
                      q = softmax(cos(s, [t; queue]) / temperature)

  with s and t an example's embedding by student and teacher. All others are the
  teacher's, so that the student learns to search in an index of the teacher's
  embeddings (asymmetric retrieval).

  Matched: the penultimate features, or the answers where these are embeddings;
  maps and tokens are averaged over their positions first. Learned: a linear map
  with a bias from the student's to the teacher's width, where these differ.
  Remembered: the teacher's last embeddings. Default taps: `head:in`. Cost: queue *
  width numbers to remember, and two products of B * queue * width.

  A batch's embeddings enter the queue first, in the place of the oldest; an
  example's own, of now or of an earlier epoch, are left out, where the published
  queue of 65536 is small beside the training set. Published: no labels.

  Args:
    queue: K, how many embeddings are remembered; of a larger batch its last.
    temperature: of the student, > 0, no unit.
    teacher_temperature: likewise.
    student_tap: names the student's features, (B, D), (B, T, D) or
      (B, H, W, D).
    teacher_tap: names the teacher's.

  Returns:
    The method; it couples the batch.

  Raises:
    ValueError: for a queue that is no whole number >= 1, or a temperature <= 0.
    UserError: where the method is applied, if features have fewer than two
      dimensions.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.array([[0.0, 1.0], [1.0, 0.0]])})
    >>> teacher = Outputs(None, {"head:in": jnp.eye(2)})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> method = seed(queue=4, temperature=1.0, teacher_temperature=1.0)
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> print(f"{method.apply(params, state, inputs)[0]:.4f}")
    0.4621

  Source:
    Fang, Wang, Wang, Zhang, Yang, Liu 2021 (SEED), arXiv:2101.04731; temperatures
    of section 4.1; `kdjax.losses.seed`.
  """
  for name, value in (
    ("temperature", temperature),
    ("teacher_temperature", teacher_temperature),
  ):
    check_value(name, value, lambda value: value > 0)
  if isinstance(queue, bool) or not isinstance(queue, int) or queue < 1:
    raise ValueError(f"queue must be a whole number >= 1: {queue!r}")

  def pairs_of(inputs):
    return features.pair_vectors("seed", inputs, student_tap, teacher_tap)

  def loss(call, inputs, state):
    ((student, teacher),) = regress_pairs(call, pairs_of(inputs))
    state, places = _entered(state, teacher, inputs)
    values = losses.seed(
      student,
      teacher,
      state["queue"],
      temperature=temperature,
      teacher_temperature=teacher_temperature,
      mask=_others(state, places, inputs),
    )
    return values, state

  return remembering(
    lambda inputs: regressors(pairs_of(inputs), always=False),
    lambda rng, inputs: _empty(queue, pairs_of(inputs)[0][1].shape[-1]),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def _empty(size: int, width: int) -> dict[str, jax.Array]:
  """Begins with nothing."""
  return {
    "queue": jnp.zeros((size, width)),
    "filled": jnp.zeros(size, bool),
    "index": jnp.full(size, -1, jnp.int32),
    "next": jnp.int32(0),
  }


def _entered(state: dict, teacher: jax.Array, inputs: Inputs):
  """Puts a batch in the place of the oldest; returns its places too.

  Padding, and what more than K there is, have the place K, and enter nowhere.
  """
  size, count = len(state["filled"]), len(teacher)
  counts = jnp.ones(count, bool) if inputs.mask is None else inputs.mask != 0
  before, total = jnp.cumsum(counts) - 1, jnp.sum(counts)
  enters = counts & (before >= total - size)
  places = jnp.where(enters, (state["next"] + before) % size, size)
  index = jnp.full(count, -1) if inputs.index is None else inputs.index
  rows = {"queue": teacher, "filled": counts, "index": index}
  entered = {
    name: state[name].at[places].set(x.astype(state[name].dtype), mode="drop")
    for name, x in rows.items()
  }
  return entered | {"next": (state["next"] + total) % size}, places


def _others(state: dict, places: jax.Array, inputs: Inputs) -> jax.Array:
  """(B, K) which embeddings of the queue are not of the example itself."""
  own = jnp.arange(len(state["filled"]))[None] == places[:, None]
  if inputs.index is not None:
    own |= state["index"][None] == inputs.index[:, None]
  return state["filled"][None] & ~own
