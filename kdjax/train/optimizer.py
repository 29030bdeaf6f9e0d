"""Optimisers and learning-rate schedules by name."""

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core import checks, spec
from kdjax.core.errors import UserError

LARGEST = float(np.finfo(np.float32).max)
_SHARE = ("a share in [0, 1)", lambda value: 0 <= value < 1)
_POSITIVE = ("> 0", lambda value: value >= np.finfo(np.float32).tiny)
_NOT_NEGATIVE = (">= 0", lambda value: value >= 0)
# What the arguments of optimisers and schedules may be; all others are switches.
RANGES = {
  "b1": _SHARE,
  "b2": _SHARE,
  "clip": _POSITIVE,
  "decay": _SHARE,
  "end": ("a share in [0, 1]", lambda value: 0 <= value <= 1),
  "eps": _POSITIVE,
  "eps_root": _NOT_NEGATIVE,
  "factor": _POSITIVE,
  "initial_scale": _NOT_NEGATIVE,
  "momentum": _SHARE,
  "warmup": _SHARE,
  "weight_decay": _NOT_NEGATIVE,
}
FORMATS = ("float32", "bfloat16", "float16")
# What linen calls the parameters that the literature spares from decay.
SPARED = {"bias", "scale"}


def make_optimizer(
  optimizer: str,
  schedule: str,
  steps: int,
  last: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
  """Builds the optimiser; its peak learning rate is part of its state.

  So networks with different rates train side by side in one program.

  Args:
    optimizer: a spec, such as "adam" or "sgd(momentum=0.9, weight_decay=5e-4)".
      Besides what optax's maker takes: `clip`, the length to which longer
      gradients are shortened, and for those with `weight_decay`
      `decay_norms=False`, which spares biases and the scales of normalisations.
      The decay of `sgd` is PyTorch's: weight_decay * w is added to the
      gradient, before the momentum; that of the others is decoupled.
    schedule: how the rate falls from its peak: "constant", "linear",
      "cosine(end=0.01)", where the share `end` is left, or
      "milestones((0.5, 0.75), 0.1)", a factor at each of these shares of the
      training; each with an optional warm-up share, "cosine(warmup=0.1)".
    steps: length of the training.
    last: what has the last word on every update, such as pruning; or None.

  Returns:
    The transformation; set the rate with `with_learning_rate`.

  Raises:
    UserError: for unknown names or arguments.

  Example:
    >>> optimizer = make_optimizer("adam", "cosine", 100)
    >>> state = with_learning_rate(optimizer.init(jnp.zeros(3)), 0.01)
  """
  return read_optimizer(optimizer, schedule)(steps, last)


def read_optimizer(
  optimizer: str, schedule: str
) -> Callable[..., optax.GradientTransformation]:
  """Reads an optimiser that trainings of several lengths take.

  Args:
    optimizer: as `make_optimizer` takes it; so is the schedule.

  Returns:
    (steps, last=None) -> what `make_optimizer` builds.
  """
  rule_spec, fall = spec.parse(optimizer), spec.parse(schedule)
  if rule_spec.args:
    raise UserError(
      f"optimizer {rule_spec}: name the arguments, such as momentum=0.9"
    )
  clip, rule = spec.build("optimizer", rule_spec, MAKERS)

  def build(steps, last=None):
    shape = spec.build("schedule", fall, SHAPES, steps=steps)
    links = {
      "clip": clip,
      "rule": rule,
      "schedule": optax.scale_by_schedule(shape),
    }
    if last is not None:
      links["last"] = last
    return optax.named_chain(*links.items())

  return build


def with_learning_rate(optimizer_state: Any, learning_rate: jax.Array) -> Any:
  """Sets the peak learning rate of a fresh optimiser's state.

  Args:
    optimizer_state: as `make_optimizer(...).init` returns it.
  """
  rule = optimizer_state["rule"]
  rates = {"learning_rate": jnp.asarray(learning_rate, jnp.float32)}
  rule = rule._replace(hyperparams=rule.hyperparams | rates)
  return optimizer_state | {"rule": rule}


def with_l2(
  optimizer: optax.GradientTransformation, weight: float
) -> optax.GradientTransformation:
  """Adds the gradient of lambda / 2 ||w||^2 to what an optimiser is given.

  That is the regulariser as a term of the loss: what adaptive optimisers make
  of it is not weight decay.

  Args:
    weight: lambda >= 0.
  """

  def update(gradients, state, params):
    decayed_gradients = jax.tree.map(
      lambda g, w: g + weight * w, gradients, params
    )
    return optimizer.update(decayed_gradients, state, params)

  return optax.GradientTransformation(optimizer.init, update)


def _sgd(
  learning_rate: float,
  momentum: float | None = None,
  nesterov: bool = False,
  weight_decay: float = 0.0,
  mask: Callable | None = None,
) -> optax.GradientTransformation:
  """d = g + weight_decay w;  m <- momentum m + d;  w <- w - rate m."""
  rule = optax.sgd(learning_rate, momentum, nesterov)
  if not weight_decay:
    return rule
  return optax.chain(optax.add_decayed_weights(weight_decay, mask), rule)


OPTIMIZERS = {
  "adam": optax.adam,
  "adamw": optax.adamw,
  "lamb": optax.lamb,
  "lion": optax.lion,
  "nadam": optax.nadam,
  "rmsprop": optax.rmsprop,
  "sgd": _sgd,
}


def _constant(*, warmup: float = 0.0, steps: int) -> optax.Schedule:
  """The peak rate all the time, behind a warm-up share."""
  return _after_rise(warmup, steps, lambda rest: optax.constant_schedule(1.0))


def _cosine(
  *, warmup: float = 0.0, end: float = 0.0, steps: int
) -> optax.Schedule:
  """Half a cosine from the peak to this share of it, behind a warm-up share."""
  _check_argument("end", end)
  return _after_rise(
    warmup, steps, lambda rest: optax.cosine_decay_schedule(1.0, rest, end)
  )


def _linear(*, warmup: float = 0.0, steps: int) -> optax.Schedule:
  """From the peak straight to 0, behind a warm-up share."""
  return _after_rise(
    warmup, steps, lambda rest: optax.linear_schedule(1.0, 0.0, rest)
  )


def _milestones(
  shares: float | tuple[float, ...],
  factor: float = 0.1,
  *,
  warmup: float = 0.0,
  steps: int,
) -> optax.Schedule:
  """The peak times the factor at each of these shares of the whole training."""
  shares = shares if isinstance(shares, tuple) else (shares,)
  numbers = all(type(share) in (int, float) for share in shares)
  rising = itertools.pairwise([0, *shares, 1])
  if not shares or not numbers or not all(x < y for x, y in rising):
    raise ValueError(f"shares must rise between 0 and 1, got {shares}")
  _check_argument("factor", factor)
  ends = np.array([round(share * steps) for share in shares])

  def fall(rest):
    return lambda step: factor ** jnp.sum(step + steps - rest >= ends)

  return _after_rise(warmup, steps, fall)


SHAPES = {
  "constant": _constant,
  "cosine": _cosine,
  "linear": _linear,
  "milestones": _milestones,
}


def _after_rise(
  warmup: float, steps: int, fall: Callable[[int], optax.Schedule]
) -> optax.Schedule:
  """Lets the rate rise, and then fall over the rest of the training."""
  _check_argument("warmup", warmup)
  rise = round(warmup * steps)
  # The first step already moves: a rise from 1/n to 1, not from 0.
  return optax.join_schedules(
    [lambda step: (step + 1) / (rise + 1), fall(max(steps - rise, 1))], [rise]
  )


def _with_rate(maker: Callable) -> Callable:
  """Returns a maker of (clipping, rule with the rate alone in its state)."""
  parameters = dict(inspect.signature(maker).parameters)
  others = set(parameters) - {"learning_rate"}

  @functools.wraps(maker)
  def make(**settings):
    for name, value in settings.items():
      _check_argument(name, value)
    clip, decay_norms = (
      settings.pop("clip", None),
      settings.pop("decay_norms", True),
    )
    if not decay_norms:
      if "mask" not in others:
        raise ValueError("decay_norms is for optimisers with weight_decay")
      settings["mask"] = _decayed
    if (
      settings.get("nesterov")
      and "momentum" in parameters
      and not settings.get("momentum")
    ):
      raise ValueError("nesterov=True needs a momentum, such as momentum=0.9")
    rule = optax.inject_hyperparams(maker, static_args=tuple(others))
    shorten = optax.clip_by_global_norm(clip) if clip else optax.identity()
    return shorten, rule(learning_rate=0.0, **settings)

  # The run gives the rate, and `decay_norms` says what is decayed.
  names = [name for name in parameters if name not in ("learning_rate", "mask")]
  defaults = {name: parameters[name].default for name in names}
  defaults |= {"clip": None, "decay_norms": True}
  make.__signature__ = inspect.Signature(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    for name, default in defaults.items()
  )
  return make


def _check_argument(name: str, value: Any) -> None:
  """Refuses what makes an update that is not finite, or is no update."""
  if name == "mu_dtype":
    if value not in (None, *FORMATS):
      raise ValueError(f"{name}={value!r} is none of {', '.join(FORMATS)}")
  elif name not in RANGES:
    if not isinstance(value, bool):
      raise ValueError(f"{name} is True or False, got {value!r}")
  elif value is not None or name not in ("clip", "momentum"):
    words, is_allowed = RANGES[name]
    # Optimisers compute in float32, where 1e-40 is 0 and 0.999999999 is 1.
    checks.number(
      name,
      value,
      words,
      lambda value: abs(value) <= LARGEST and is_allowed(np.float32(value)),
    )


MAKERS = {name: _with_rate(maker) for name, maker in OPTIMIZERS.items()}


def _decayed(params: Any) -> Any:
  """True for parameters that are neither biases nor scales."""

  def decayed(path, _):
    return not path or getattr(path[-1], "key", None) not in SPARED

  return jax.tree_util.tree_map_with_path(decayed, params)
