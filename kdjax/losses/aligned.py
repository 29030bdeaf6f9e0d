"""Losses of two networks that read the same text by different tokenizers.

Groups of tokens that stand for the same bytes are compared: see `Alignment`, and
`kdjax.data.text.align`, which finds them. No array of all positions' logits is
made: they are computed in chunks of slots, and again for the gradient.

  >>> from kdjax.losses import aligned
  >>> student = aligned.Side(jnp.zeros((3, 4)), jnp.array([0, 1, 2]))
  >>> teacher = aligned.Side(jnp.zeros((2, 5)), jnp.array([4, 0]))
  >>> # The first two tokens of the student's are the teacher's first one.
  >>> alignment = aligned.Alignment(
  ...   jnp.array([0, 1, 2]), jnp.array([0, -1, 1]), jnp.array([0, 0, 2])
  ... )
  >>> both = aligned.log_probabilities(student, teacher, alignment)
  >>> [[round(float(jnp.exp(y)), 4) for y in x] for x in both]
  [[0.0625, 1.0, 0.25], [0.2, 1.0, 0.2]]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import _math, divergences, vocabulary

# Bytes that a chunk's logits of both sides may take.
CHUNK_BYTES = 2**26
# log(1 - p) is taken of no p nearer to one than exp of this.
_NEAREST_TO_ONE = -1e-7


class Side(NamedTuple):
  """What one network answers to texts, by its own tokenizer.

  Attributes:
    rows: (..., R, V) float, logits of the next token at R positions; or with a
      head (..., R, D), the states that it reads.
    tokens: (..., R) int, the token that follows in the text.
    head: (D, V) float: logits are rows @ head (+ bias); None for rows that are
      logits.
    bias: (V,) float, or None.
  """

  rows: jax.Array
  tokens: jax.Array
  head: jax.Array | None = None
  bias: jax.Array | None = None

  @property
  def classes(self) -> int:
    """V, how many tokens the network has logits for."""
    return (self.rows if self.head is None else self.head).shape[-1]


class Alignment(NamedTuple):
  """Which positions of two networks stand for the same bytes.

  A group is the shortest stretch of text between two places where both tokenizers
  begin a token. It has as many slots, one behind the other, as the side with more
  tokens has of them: the i-th tokens of both sides share the i-th slot.

  Attributes:
    student: (..., S) int, in 0 to R - 1, the student's position that is about the
      slot's token; -1 where the slot has none of the student's.
    teacher: (..., S) int, likewise.
    group: (..., S) int, the slot in which the slot's group begins; -1 for a slot
      of no group.
  """

  student: jax.Array
  teacher: jax.Array
  group: jax.Array


class SharedIds(NamedTuple):
  """Tokens that both sides have, the same bytes for each.

  Attributes:
    student: (K,) int, different ids of the student's.
    teacher: (K,) int, those of the same tokens in the teacher's numbering.
  """

  student: Any
  teacher: Any


def divergence(
  student: Side,
  teacher: Side,
  alignment: Alignment,
  *,
  shared_ids: tuple[Any, Any],
  measure: Callable[..., jax.Array] = divergences.forward_kl,
  chunk_size: int | None = None,
) -> jax.Array:
  """A divergence of two networks with different tokenizers, group by group.

  Where a group is one token on both sides, the distributions of that token are
  compared over the K tokens that both have, and one class for all others:
    loss = D(p, q),  p = (p_1, ..., p_K, 1 - sum p),  q likewise
  Where it is more, the two probabilities that the text goes on with the group's
  bytes in its tokens are, by the chain rule:
    loss = D((P, 1 - P), (Q, 1 - Q)),  P = prod p(token | text before), Q likewise
  With one tokenizer on both sides it is D itself at every position.

  A student that has no tokens but shared ones has no class for others, and the
  teacher's probabilities are those among the shared ones.

  Args:
    student: what the student answers.
    teacher: what the teacher does; a constant.
    alignment: of the same leading axes; a constant.
    shared_ids: the tokens that both have, as `SharedIds` or another pair.
    measure: (student's logits (..., C), teacher's (..., C)) -> (...), such as a
      divergence of `kdjax.losses`; the C classes are those above.
    chunk_size: slots whose logits are held at a time, static; None for as many as
      64 MiB hold.

  Returns:
    (..., S) float32 (float64 for float64), in the divergence's unit: that of each
    group in its first slot, and 0 in all others, with zero gradient.

  Raises:
    ValueError: at trace time, if shapes do not fit.

  Example:
    >>> student = Side(jnp.zeros((2, 2)), jnp.array([0, 1]))
    >>> teacher = Side(jnp.array([[1.0, 0.0, -jnp.inf]]), jnp.array([0]))
    >>> two_of_one = Alignment(*map(jnp.array, ([0, 1], [0, -1], [0, 0])))
    >>> ids = SharedIds(jnp.array([0, 1]), jnp.array([0, 1]))
    >>> print(divergence(student, teacher, two_of_one, shared_ids=ids).round(4))
    [0.5086 0.    ]

  Source:
    The chain rule over groups: as in TRL's GOLD. Groups as two outcomes: Minixhofer,
    Vulić, Ponti 2025 (approximate likelihood matching), arXiv:2503.20083.
  """
  alignment = _checked("divergence", student, teacher, alignment)
  student_ids, teacher_ids = shared_ids
  if len(student_ids) != len(teacher_ids):
    raise ValueError(
      "aligned.divergence: shared_ids must name as many tokens of both sides, got"
      f" {len(student_ids)} and {len(teacher_ids)}"
    )
  has_others = len(student_ids) < student.classes
  merge_student, merge_teacher = (
    _merged_by(jnp.asarray(ids), side.classes, has_others)
    for ids, side in zip(shared_ids, (student, teacher), strict=True)
  )

  def of_slot(student_logits, teacher_logits, student_token, teacher_token):
    log_q, log_p = map(_math.log_softmax, (student_logits, teacher_logits))
    value = measure(merge_student(log_q), merge_teacher(log_p))
    return value, log_q[student_token], log_p[teacher_token]

  values, *log_probs = _over_slots(
    of_slot, student, teacher, alignment, chunk_size
  )
  sizes = _sums(jnp.ones_like(values), alignment.group)
  several = measure(
    *(
      _two_outcomes(_of_groups(x, places, alignment.group))
      for x, places in zip(log_probs, alignment[:2], strict=True)
    )
  )
  return _in_first_slots(jnp.where(sizes == 1, values, several), alignment)


def uld(
  student: Side,
  teacher: Side,
  alignment: Alignment,
  *,
  measure: Callable[..., jax.Array] = vocabulary.uld,
  chunk_size: int | None = None,
) -> jax.Array:
  """`kdjax.losses.uld` where both networks have read the same bytes.

  loss = sum_i |p_(i) - q_(i)| of the distributions of each group's first token, in
  falling order, the shorter one padded with zeros.

  The published loss pairs the t-th tokens of two answers, whatever text they stand
  behind; here it is the positions before each group. With one tokenizer on both
  sides these are the same.

  Args:
    student: what the student answers.
    teacher: what the teacher does; a constant.
    alignment: of the same leading axes; a constant.
    measure: (student's logits (V,), teacher's (V',)) -> (), such as `uld` at other
      temperatures.
    chunk_size: slots whose logits are held at a time, static; None for as many as
      64 MiB hold.

  Returns:
    (..., S) float32 (float64 for float64), between 0 and 2, no unit: that of each
    group in its first slot, and 0 in all others, with zero gradient.

  Raises:
    ValueError: at trace time, if shapes do not fit.

  Example:
    >>> student = Side(jnp.zeros((1, 2)), jnp.array([0]))
    >>> teacher = Side(jnp.zeros((1, 4)), jnp.array([0]))
    >>> print(uld(student, teacher, Alignment(*3 * [jnp.array([0])])))
    [1.]

  Source:
    Boizard et al. 2024, arXiv:2402.12030.
  """
  alignment = _checked("uld", student, teacher, alignment)
  values = _over_slots(
    lambda student_logits, teacher_logits, *_: measure(
      student_logits, teacher_logits
    ),
    student,
    teacher,
    alignment,
    chunk_size,
  )
  return _in_first_slots(values, alignment)


def log_probabilities(
  student: Side,
  teacher: Side,
  alignment: Alignment,
  *,
  chunk_size: int | None = None,
) -> tuple[jax.Array, jax.Array]:
  """How probable both networks find each group's tokens, by the chain rule.

  Args:
    student: what the student answers.
    teacher: what the teacher does; a constant.
    alignment: of the same leading axes; a constant.
    chunk_size: slots whose logits are held at a time, static; None for as many as
      64 MiB hold.

  Returns:
    (..., S) each, the student's and the teacher's, nats <= 0: in the first slot of
    a group the sum of its tokens' log-probabilities, 0 in all others.

  Raises:
    ValueError: at trace time, if shapes do not fit.

  Example:
    >>> one = Side(jnp.zeros((2, 2)), jnp.array([0, 1]))
    >>> alignment = Alignment(*map(jnp.array, ([0, 1], [0, 1], [0, 0])))
    >>> print(log_probabilities(one, one, alignment)[0].round(4))
    [-1.3863  0.    ]

  Source:
    The chain rule.
  """
  alignment = _checked("log_probabilities", student, teacher, alignment)
  log_probs = _over_slots(
    lambda student_logits, teacher_logits, student_token, teacher_token: (
      _math.log_softmax(student_logits)[student_token],
      _math.log_softmax(teacher_logits)[teacher_token],
    ),
    student,
    teacher,
    alignment,
    chunk_size,
  )
  return tuple(
    _of_groups(x, places, alignment.group)
    for x, places in zip(log_probs, alignment[:2], strict=True)
  )


def _over_slots(function, student, teacher, alignment, chunk_size):
  """Applies a function to each slot's logits and tokens of both sides.

  Args:
    function: of (V,), (V',), () and () -> a tree of ().

  Returns:
    The tree, of (..., S); anything in a slot that lacks what is read.
  """
  teacher = jax.lax.stop_gradient(teacher)
  shape = alignment.group.shape
  slots = [
    _picked(side, places)
    for side, places in zip((student, teacher), alignment[:2], strict=True)
  ]
  dtype = jnp.result_type(jnp.float32, *(side.rows for side in slots))

  # Its logits are not kept for the gradient, but made again.
  @jax.checkpoint
  def of_slot(rows):
    logits = []
    for side, row in zip(slots, rows[:2], strict=True):
      if side.head is not None:
        row = jnp.matmul(row, side.head, preferred_element_type=dtype)
        row = row if side.bias is None else row + side.bias
      logits.append(row.astype(dtype))
    return function(*logits, *rows[2:])

  count = slots[0].tokens.size
  row_bytes = jnp.dtype(dtype).itemsize * (student.classes + teacher.classes)
  size = chunk_size or max(CHUNK_BYTES // row_bytes, 1)
  values = jax.lax.map(
    of_slot,
    (*(side.rows for side in slots), *(side.tokens for side in slots)),
    batch_size=max(min(size, count), 1),
  )
  return jax.tree.map(lambda x: x.reshape(shape), values)


def _picked(side: Side, places: jax.Array) -> Side:
  """A side's rows and tokens slot by slot, zeros where it has none."""
  positions, width = side.rows.shape[-2:]
  places = places.reshape(-1, places.shape[-1])
  has_row = places >= 0
  first = positions * jnp.arange(len(places), dtype=places.dtype)[:, None]
  flat = jnp.where(has_row, first + places, 0).reshape(-1)
  has_row = has_row.reshape(-1)
  # What stands where nothing is compared, nan too, has no part in a gradient.
  rows = jnp.where(has_row[:, None], side.rows.reshape(-1, width)[flat], 0)
  tokens = jnp.where(has_row, side.tokens.reshape(-1)[flat], 0)
  return side._replace(rows=rows, tokens=jnp.maximum(tokens, 0))


def _merged_by(ids, classes, has_others):
  """(V,) log-probabilities -> those of the ids, and of all others together."""
  is_shared = jnp.zeros(classes, bool).at[ids].set(True)

  def merged(log_probs):
    if not has_others:
      return log_probs[ids]
    others = _math.log_sum(_math.without(log_probs, is_shared))
    # A teacher without others still tells the student to have none.
    least = jnp.log(-jnp.expm1(jnp.asarray(_NEAREST_TO_ONE, log_probs.dtype)))
    return jnp.append(log_probs[ids], jnp.maximum(others, least))

  return merged


def _two_outcomes(log_probability):
  """The log-probabilities of an event and of its opposite, (..., 2)."""
  inside = jnp.minimum(log_probability, _NEAREST_TO_ONE)
  return jnp.stack([inside, jnp.log(-jnp.expm1(inside))], axis=-1)


def _of_groups(values, places, group):
  return _sums(jnp.where(places >= 0, values, 0), group)


def _sums(values, group):
  """Adds up each group's values in its first slot, 0 in all others."""
  slots = values.shape[-1]
  places = jnp.where(group >= 0, group, slots).reshape(-1, slots)

  def one(values, places):
    return jnp.zeros(slots, values.dtype).at[places].add(values, mode="drop")

  sums = jax.vmap(one)(values.reshape(-1, slots), places)
  return sums.reshape(values.shape)


def _in_first_slots(values, alignment):
  group = alignment.group
  slots = jax.lax.broadcasted_iota(group.dtype, group.shape, group.ndim - 1)
  return jnp.where(group == slots, values, 0)


def _checked(name, student, teacher, alignment):
  """Returns the alignment as arrays; a ValueError unless all shapes fit."""
  for who, side in (("student", student), ("teacher", teacher)):
    width = side.rows.shape[-1] if side.head is None else len(side.head)
    if side.rows.shape != (*side.tokens.shape, width):
      raise ValueError(
        f"aligned.{name}: the {who}'s rows must be (..., R, V), or (..., R, D) with"
        f" a head (D, V), and its tokens (..., R), got {side.rows.shape},"
        f" {side.tokens.shape}"
        + ("" if side.head is None else f" and a head {side.head.shape}")
      )
    if side.tokens.shape[:-1] != alignment.group.shape[:-1]:
      raise ValueError(
        f"aligned.{name}: the {who}'s tokens and the alignment must have the same"
        f" leading shape, got {side.tokens.shape} and {alignment.group.shape}"
      )
  if len({x.shape for x in alignment}) > 1:
    raise ValueError(
      f"aligned.{name}: the alignment's arrays must have one shape, got"
      f" {', '.join(str(x.shape) for x in alignment)}"
    )
  return Alignment(*(jnp.asarray(x, jnp.int32) for x in alignment))
