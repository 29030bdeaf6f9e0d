"""What methods for transformers read: hidden states, projections, padding."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax import losses, taps
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.methods._features import working


def states(
  method: str, tap: str, outputs: Outputs, *, layers: slice = slice(None)
) -> tuple[jax.Array, ...]:
  """Picks the hidden states that a tap names, and checks that they are tokens.

  Returns:
    For each layer (B, T, D) float32 (float64 for float64).

  Example:
    >>> outputs = Outputs(None, {"stage_0": jnp.zeros((2, 5, 4), jnp.bfloat16)})
    >>> states("tinybert", "stage_*", outputs)[0].dtype
    dtype('float32')
  """
  feats = taps.select(outputs.feats, tap)[layers]
  for array in feats:
    if array.ndim != 3:
      raise UserError(
        f"{method} needs tokens (B, T, D), but {tap} is {array.shape}; tap the"
        " blocks of a transformer"
      )
  return tuple(map(working, feats))


def projections(
  method: str, attention: str, outputs: Outputs, parts: tuple[str, ...]
) -> tuple[tuple[jax.Array, ...], ...]:
  """Picks what stock attention layers make of their tokens.

  Returns:
    For each layer, for each part (B, heads, T, d) float32 (float64 for
    float64).

  Example:
    >>> query = jnp.zeros((2, 5, 3, 4))
    >>> outputs = Outputs(None, {"stage_0/attention/query": query})
    >>> projections("minilm", "stage_*/attention", outputs, ("query",))[0][0].shape
    (2, 3, 5, 4)
  """
  columns = []
  for part in parts:
    tap = f"{attention}/{part}"
    columns.append(taps.select(outputs.feats, tap))
    for array in columns[-1]:
      if array.ndim != 4:
        raise UserError(
          f"{method} needs {part} projections (B, T, heads, d), but {tap} is"
          f" {array.shape}; name the attention layers of a transformer"
        )
  return tuple(
    tuple(jnp.swapaxes(working(array), 1, 2) for array in layer)
    for layer in zip(*columns, strict=True)
  )


def projection_taps(
  attention: str, parts: tuple[str, ...] = ("query", "key", "value")
) -> tuple[str, ...]:
  """Returns the taps that `projections` reads.

  Example:
    >>> projection_taps("stage_*/attention", ("query", "key"))
    ('stage_*/attention/query', 'stage_*/attention/key')
  """
  return tuple(f"{attention}/{part}" for part in parts)


def check_same_tokens(method: str, student: int, teacher: int) -> None:
  """Checks that both networks have the same number of tokens.

  Example:
    >>> check_same_tokens("minilm", 17, 17)
  """
  if student != teacher:
    raise UserError(
      f"{method} matches token by token, but the student has {student} tokens"
      f" and the teacher {teacher}; give both the same patches (or words) and"
      " the same extra tokens"
    )


def check_same_heads(method: str, student: int, teacher: int) -> None:
  """Checks that both networks have the same number of attention heads.

  Example:
    >>> check_same_heads("minilm", 12, 12)
  """
  if student != teacher:
    raise UserError(
      f"{method} matches head by head, but the student has {student} heads and"
      f" the teacher {teacher}; 'minilmv2' makes heads of its own"
    )


def token_mask(
  method: str, tap: str | None, inputs: Inputs, tokens: int
) -> jax.Array | None:
  """Picks the mask of a text's padding.

  Args:
    tap: a feature of the student, (B, T), that is not 0 where a token counts,
      such as the ids where padding is 0; None for what the task knows of it.

  Returns:
    (B, T) bool, or None.

  Example:
    >>> student = Outputs(None, {"stem:in": jnp.array([[7, 4, 0]])})
    >>> inputs = Inputs(student, None, jnp.array([0]), 0)
    >>> token_mask("minilm", "stem:in", inputs, 3).tolist()
    [[True, True, False]]
  """
  if tap is None:
    tokens_mask = inputs.tokens
    if tokens_mask is None or tokens_mask.shape[1] != tokens:
      return None
    return tokens_mask
  mask = taps.pick(inputs.student.feats, tap)
  if mask.ndim != 2 or mask.shape[1] != tokens:
    raise UserError(
      f"{method}: mask_tap must name a feature (B, {tokens}), not 0 where a"
      f" token counts; {tap} is {mask.shape}"
    )
  return mask != 0


def over_tokens(
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  student: jax.Array,
  teacher: jax.Array,
  tokens: jax.Array | None,
) -> jax.Array:
  """Takes a loss of each example, of a text of each of its tokens.

  Args:
    loss: of two arrays alike, one value for each of the first axis.
    student: (B, ...) float, tokens (B, T, D) among them.
    teacher: the same shape.
    tokens: (B, T) bool, which tokens are no padding; None where all count.

  Returns:
    (B,) the values; of texts the means over the tokens that are no padding.

  Example:
    >>> states = jnp.array([[[1.0], [9.0]]])
    >>> tokens = jnp.array([[True, False]])
    >>> print(over_tokens(losses.fitnet, states, jnp.zeros_like(states), tokens))
    [1.]
  """
  if tokens is None or student.ndim != 3 or student.shape[:2] != tokens.shape:
    return loss(student, teacher)
  values = loss(*(x.reshape(-1, x.shape[-1]) for x in (student, teacher)))
  return losses.masked_mean(values.reshape(tokens.shape), tokens, axis=1)


def mask_taps(tap: str | None) -> tuple[str, ...]:
  """Returns the taps that `token_mask` reads.

  Returns:
    None or one.

  Example:
    >>> mask_taps(None), mask_taps("stem:in")
    ((), ('stem:in',))
  """
  return () if tap is None else (tap,)
