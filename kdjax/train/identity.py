"""By what a training is known to be the one that a folder of checkpoints holds."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.errors import UserError
from kdjax.train.devices.mapped import arrays_of
from kdjax.train.objective import Objective

# Where functions of a program lie in memory.
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def key_numbers(key: jax.Array) -> list[int]:
  """Returns what a PRNG key is made of, as JSON.

  Example:
    >>> key_numbers(jax.random.key(7))
    [0, 7]
  """
  if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.key_data(key)
  return np.asarray(key).tolist()


def program_digest(function: Callable, *arguments: Any) -> str:
  """Returns the sha256 of what a function computes, numbers in it included.

  Args:
    function: pure.
    *arguments: for their shapes and types; nothing is computed.

  Returns:
    64 hexadecimal digits. Other releases of jax may give others.

  Example:
    >>> digests = {program_digest(lambda x: a * x, jnp.ones(2)) for a in (2, 3, 3)}
    >>> len(digests)
    2
  """
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), arguments
  )
  traced = jax.make_jaxpr(function)(*shapes)
  whole = hashlib.sha256(_ADDRESS.sub("", str(traced)).encode())
  for constant in traced.consts:
    if not jnp.issubdtype(jnp.result_type(constant), jax.dtypes.prng_key):
      whole.update(np.asarray(constant).tobytes())
  return whole.hexdigest()


def identity_of(
  objective: Objective, optimizer: optax.GradientTransformation, *, text: bool
) -> Callable[[Any, Any, Any], dict[str, str]]:
  """Makes what tells two optimisers apart, and two methods that no text names.

  Args:
    text: whether a text names the method.

  Returns:
    (state, teacher, batch) -> JSON values by name; "libraries" are what the others
    depend on.
  """

  def identity(state, teacher, batch):
    digests = {
      "libraries": f"jax {jax.__version__}, optax {optax.__version__}",
      "optimizer": program_digest(
        lambda params, opt: (
          optimizer.init(params),
          optimizer.update(params, opt, params),
        ),
        state.params,
        state.opt_state,
      ),
    }
    if not text:
      digests["method"] = program_digest(
        lambda *inputs: objective.loss(*inputs[:-1], step=0, key=inputs[-1]),
        state.params,
        state.state,
        teacher,
        arrays_of(batch),
        state.key,
      )
    return digests

  return identity


def check_same(
  folder: Any, saved: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
  """Refuses a checkpoint of a training that differs in a setting.

  Args:
    saved: JSON values by name, of the checkpoint; what it lacks is not compared.
    own: likewise, of this training.

  Raises:
    UserError: names the first that differs, and both values.

  Example:
    >>> check_same("runs/mine", {"method": "kd"}, {"method": "dkd"})
    Traceback (most recent call last):
    kdjax.core.errors.UserError: checkpoints: runs/mine holds another training: \
its method is 'kd', this one's 'dkd'; go on with what it was begun with, or give \
another folder
  """
  for name in own:
    if name in saved and saved[name] != own[name]:
      raise UserError(
        f"checkpoints: {folder} holds another training: its {name} is"
        f" {_short(saved[name])}, this one's {_short(own[name])}; go on with what"
        " it was begun with, or give another folder"
      )


def _short(value: Any) -> str:
  """Writes a setting, of a digest its beginning."""
  if isinstance(value, str) and _DIGEST.fullmatch(value):
    return f"of digest {value[:8]}"
  return repr(value)
