"""The extremes and the symmetries that every loss is run through."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from loss_cases import CASES

from kdjax import losses

DEAD = (1, 4)  # the classes that are masked out
NO_LABELS = (-100, -1, 6, 2**31 - 1)  # none of the classes, which are six
ROW = 2  # the row that shows no class, or none that the other side shows
FAR = 1e4
# Powers of two: the sums with logits on a grid of 1/64 are exact in float32.
OFFSETS = np.array([2.0**14, -(2.0**14), 4096.0, -64.0])[:, None]


def scenarios(name):
  """Returns {scenario: inputs}, all of one shape."""
  case = CASES[name]
  student, teacher, *others = case.inputs()
  found = {
    "plain": (student, teacher, *others),
    "reversed": tuple(x[::-1] for x in (student, teacher, *others)),
    "equal": (student, student, *others),
    "large": tuple(np.sign(x) * FAR for x in (student, teacher)) + (*others,),
    "agreeing at large": (student * FAR, student * FAR, *others),
    "constant": (
      np.full_like(student, 0.3),
      np.full_like(teacher, 0.3),
      *others,
    ),
    "constant student": (np.zeros_like(student), teacher, *others),
    "zeros": (np.zeros_like(student), np.zeros_like(teacher), *others),
    "duplicates": tuple(
      np.repeat(x[:1], len(x), axis=0) for x in (student, teacher, *others)
    ),
  }
  if others and others[0].dtype == bool:
    found["empty mask"] = (student, teacher, np.zeros_like(others[0]))
  if case.family in ("logits", "labelled"):
    classes = np.random.default_rng(2).permutation(student.shape[-1])
    moved = [np.argsort(classes)[x] for x in others]
    found["permuted"] = (student[:, classes], teacher[:, classes], *moved)
    found["shifted"] = (student + OFFSETS, teacher - OFFSETS, *others)
    dead = [x.copy() for x in (student, teacher)]
    for x in dead:
      x[:, DEAD] = -np.inf
    found["dead classes"] = (*dead, *others)
    if others:
      found["no labels"] = (student, teacher, np.array(NO_LABELS))
    found["masked by the student"] = (dead[0], teacher, *others)
    found["masked by the teacher"] = (student, dead[1], *others)
    for side, name in enumerate(("student", "teacher")):
      rows = [student.copy(), teacher.copy()]
      rows[side][ROW] = -np.inf
      found[f"dead row of the {name}"] = (*rows, *others)
    apart = [student.copy(), teacher.copy()]
    apart[0][ROW, ::2] = apart[1][ROW, 1::2] = -np.inf
    found["no class in common"] = (*apart, *others)
  elif case.permute:
    order = np.random.default_rng(2).permutation(student.shape[-1])
    both = (student[..., order], teacher[..., order])
    found["permuted"] = (*both, *others)
  return {key: x for key, x in found.items() if key not in case.never}


def typed(inputs, dtype):
  """Returns jax arrays: floats of a dtype, class ids int32, masks bool."""
  return tuple(
    jnp.asarray(x, dtype if x.dtype == np.float64 else None)
    if x.dtype != np.int64
    else jnp.asarray(x, jnp.int32)
    for x in inputs
  )


def caller(name):
  case = CASES[name]
  function = getattr(losses, name)
  return lambda *inputs: case.call(function, *inputs, **case.kwargs)


@functools.cache
def results(name):
  """Returns {scenario: (output, gradients of student and teacher)}, float32."""
  found = scenarios(name)
  call = caller(name)

  def one(student, teacher, *others):
    out, pull = jax.vjp(lambda s, t: call(s, t, *others), student, teacher)
    return out, pull(jnp.ones_like(out))

  stacked = [np.stack(x) for x in zip(*found.values(), strict=True)]
  with jax.numpy_dtype_promotion("strict"):
    out, grads = jax.jit(jax.vmap(one))(*typed(stacked, jnp.float32))
  out, grads = jax.tree.map(np.asarray, (out, grads))
  assert out.dtype == np.float32
  return {key: (out[i], [g[i] for g in grads]) for i, key in enumerate(found)}
