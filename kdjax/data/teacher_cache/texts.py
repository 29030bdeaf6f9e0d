"""What a record of a cache holds of a text: hidden states, or the largest classes.

A record is a sequence of T tokens. Its hidden states, with the matrix that stands
beside the records, are all of the teacher's logits: they serve every divergence at
every temperature. The largest classes are fewer bytes, and serve `topk_kd`.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.core.factored import (
  Factored,
  by_row,
  of_top_classes,
  over_rows,
)
from kdjax.core.method import Outputs
from kdjax.core.teacher import Teacher, show_stored
from kdjax.data.teacher_cache.records import KEY, TAP, tap_shapes
from kdjax.data.whole import first_line

# A NumPy file knows no bfloat16: its bits stand there.
_CODES = {"float16": "<f2", "float32": "<f4", "bfloat16": "<u2"}
_TOP = ("indices", "log_probabilities", "tail")


def keep(answers: Any, top_k: int | None) -> dict[str, jax.Array]:
  """Reduces a teacher's answers to what is stored; pure, for use inside jit.

  Args:
    answers: (B, T, V) logits, or Factored.
    top_k: k, 1 to V - 1; None for the hidden states.

  Returns:
    By field, arrays (B, T, ...): "hidden"; or "indices", "log_probabilities" and
    "tail".

  Raises:
    UserError: for hidden states of answers that are no product, and another k.
  """
  if top_k is None:
    if not isinstance(answers, Factored):
      raise UserError(
        "teacher: its logits are no product of hidden states and a matrix, as"
        " where they are bounded; store the top_k of them"
      )
    return {"hidden": answers.hidden}
  *leading, size = answers.shape
  if not 1 <= top_k < size:
    raise UserError(
      f"top-{top_k} of {size} classes: keep 1 to {size - 1} of them"
    )

  def largest(logits):
    log_probs, ids = jax.lax.top_k(jax.nn.log_softmax(logits), top_k)
    # Of the others' own sum: 1 minus the largest may round to 0.
    rest = jax.nn.logsumexp(logits.at[ids].set(-jnp.inf))
    return ids, log_probs, rest - jax.nn.logsumexp(logits)

  rows = over_rows(lambda x: x.reshape(-1, x.shape[-1]), answers)
  return {
    name: x.reshape(*leading, *x.shape[1:])
    for name, x in zip(_TOP, by_row(largest, rows), strict=True)
  }


def text_type(
  answers: Mapping[str, tuple[int, ...]],
  taps: Mapping[str, tuple[int, ...]],
  dtype: str,
) -> np.dtype:
  """Says what a record of a text holds.

  Args:
    answers: by field, the shape of one sequence's, as `keep` makes them.
    taps: shape of each kept feature of one sequence, by tap.
    dtype: of hidden states, log-probabilities and features, "float32",
      "float16" or "bfloat16".
  """
  if dtype not in _CODES:
    raise UserError(
      f"a cache of texts holds {', '.join(_CODES)}; got {dtype!r}"
    )
  others = {"indices": "<i4", "tail": "<f4"}
  fields = [
    (name, others.get(name, _CODES[dtype]), tuple(shape))
    for name, shape in answers.items()
  ]
  feats = [(TAP + tap, _CODES[dtype], tuple(x)) for tap, x in taps.items()]
  return np.dtype([*KEY, *fields, *feats])


def is_text(kind: np.dtype) -> bool:
  """Says whether records are of texts."""
  names = kind.names or ()
  return (
    "hidden" in names or "indices" in names and len(kind["indices"].shape) > 1
  )


def fields_of_text(fields: Iterable[Any]) -> np.dtype | None:
  """Reads a manifest's fields; None where they are of no text."""
  try:
    kind = np.dtype(
      [(name, text, tuple(shape)) for name, text, shape in fields]
    )
    if not is_text(kind):
      return None
    names = ("hidden",) if "hidden" in kind.names else _TOP
    codes = {code: name for name, code in _CODES.items()}
    expected = text_type(
      {name: kind[name].shape for name in names},
      tap_shapes(kind),
      codes[kind[names[len(names) // 2]].base.str],
    )
  except (IndexError, KeyError, TypeError, ValueError):
    return None
  return kind if kind == expected else None


def text_records(
  kind: np.dtype,
  examples: np.ndarray,
  answers: Mapping[str, np.ndarray],
  feats: Mapping[str, np.ndarray],
) -> np.ndarray:
  """Packs what a teacher makes of some texts; (B,) records."""
  records = np.zeros(len(examples), kind)
  records["example"] = examples
  named = {**answers, **{TAP + tap: x for tap, x in feats.items()}}
  for name in kind.names[len(KEY) :]:
    values = np.asarray(named[name])
    with np.errstate(over="ignore", invalid="ignore"):
      numbers = _stored(values, kind[name].base)
    if not np.isfinite(_read(numbers)).all():
      raise UserError(
        f"the teacher's {name} leave the finite numbers of its type at example"
        f" {examples[0]} or soon after; float32 holds more"
      )
    records[name] = numbers
  return records


def answers_of_text(
  records: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Unpacks records: answers by field, and features by tap, (B, T, ...)."""
  values = {
    name: _read(records[name]) for name in records.dtype.names[len(KEY) :]
  }
  feats = {
    name.removeprefix(TAP): values.pop(name).astype(np.float32)
    for name in [*values]
    if name.startswith(TAP)
  }
  return values, feats


def text_teacher(
  answers: Mapping[str, np.ndarray],
  feats: Mapping[str, np.ndarray],
  classes: int,
  head: Mapping[str, np.ndarray],
) -> Teacher:
  """Makes a teacher of what is stored of N texts, found by a batch's `index`.

  Args:
    answers: (N, T, ...) arrays as `answers_of_text` returns them.
    classes: V.
    head: "kernel" (D, V) and perhaps "bias" (V,), of hidden states; else empty.
  """
  rows = len(next(iter(answers.values())))
  table = Outputs(dict(answers), dict(feats))
  arrays = jax.tree.map(jnp.asarray, (table, dict(head)))
  return Teacher(arrays, _shower(classes), _head, (rows,))


def write_head(folder: Path, kernel: Any, bias: Any) -> dict[str, Any]:
  """Writes the matrix beside the records; returns what the manifest says of it."""
  noted = {}
  for name, array in (("kernel", kernel), ("bias", bias)):
    if array is None:
      continue
    array = np.asarray(array)
    bits = _stored(array, np.dtype(_CODES[array.dtype.name]))
    file = f"{name}.npy"
    try:
      np.save(folder / file, bits, allow_pickle=False)
    except OSError as error:
      raise StorageError(f"cannot write {folder / file}: {error}") from error
    digest = hashlib.sha256(bits.tobytes()).hexdigest()
    noted[name] = {"file": file, "sha256": digest}
  return noted


def read_head(
  folder: Path, manifest: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Reads the matrix that stands beside the records."""
  head = {}
  for name, note in manifest.get("head", {}).items():
    path = folder / f"{name}.npy"
    try:
      bits = np.load(path, allow_pickle=False)
      if hashlib.sha256(bits.tobytes()).hexdigest() != note["sha256"]:
        raise ValueError("its sha256 is not the one noted")
    except (OSError, ValueError, EOFError) as error:
      raise StorageError(f"{path} is damaged: {first_line(error)}") from error
    head[name] = _read(bits)
  return head


# The same classes make the same function: programs are compiled once for it.
@functools.cache
def _shower(classes: int) -> Callable:
  def show(arrays, batch, step, taps) -> Outputs:
    table, head = arrays
    outputs = show_stored(table, batch, step, taps)
    records = outputs.answers
    if "hidden" in records:
      hidden = records["hidden"].astype(jnp.float32)
      answers = Factored(hidden, head["kernel"], head.get("bias"))
    else:
      answers = of_top_classes(*(records[name] for name in _TOP), classes)
    return outputs._replace(answers=answers)

  return show


def _head(arrays) -> dict[str, jax.Array] | None:
  _, head = arrays
  if not head:
    return None
  return {"bias": jnp.zeros(head["kernel"].shape[-1:]), **head}


def _stored(values: np.ndarray, base: np.dtype) -> np.ndarray:
  if base.str == _CODES["bfloat16"]:
    return values.astype(ml_dtypes.bfloat16).view(np.uint16)
  return values.astype(base)


def _read(values: np.ndarray) -> np.ndarray:
  if values.dtype.str == _CODES["bfloat16"]:
    return values.view(ml_dtypes.bfloat16)
  return values
