"""One line a loss: which inputs it takes and what it promises about them.

The suites in `test_properties` and `test_devices` run over this table. A new
loss joins by being exported and entered here.
"""

import dataclasses
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import losses

CLASSES = 6


def _logits(random, n):
  # On a grid of 1/64, so that adding 2^14 to a row is exact in float32.
  both = np.round(random.normal(size=(2, n, CLASSES)) * 128) / 64
  return both[0], both[1]


def _labelled(random, n):
  # Classes 1 and 4 are those that a scenario masks out.
  return *_logits(random, n), random.choice([0, 2, 3, 5], size=n)


def _arrays(*shape, mask=None):
  def make(random, n):
    both = random.normal(size=(2, n, *shape))
    if mask is None:
      return both[0], both[1]
    keep = random.random(size=(n, mask)) < 0.7
    keep[:, 0] = True
    return both[0], both[1], keep

  return make


FAMILIES = {
  "logits": _logits,
  "labelled": _labelled,
  # No teacher: masks of one side, or of both, are nothing to it.
  "labels alone": _labelled,
  "maps": _arrays(4, 4, 3),
  "vectors": _arrays(5),
  "scores": _arrays(2, 3, 3, mask=3),
  "heads": _arrays(2, 3, 4, mask=3),
  "tokens": _arrays(3, 4, mask=3),
  "masked vectors": _arrays(5, mask=5),
}


def _call(function, *arrays, **kwargs):
  return function(*arrays, **kwargs)


def _with_mask(function, student, teacher, mask, **kwargs):
  return function(student, teacher, mask=mask, **kwargs)


@dataclasses.dataclass(frozen=True)
class Case:
  """How a loss is called, and what holds for it beyond the general contract.

  family: the inputs, one of FAMILIES: (student, teacher, [labels or mask]).
  call: makes the loss's own arguments out of these.
  kwargs: the hyper-parameters that it cannot do without.
  zero: it is 0 where student equals teacher.
  shift: it does not notice a constant added to a row.
  permute: it does not notice a permutation of the classes (the last axis).
  order: examples keep their values, a batch its value, in any batch order.
  drops: masked classes (-inf) are as good as removed.
  learns_teacher: it gives the second argument a gradient, as documented.
  weighs: it holds a weight constant, so that its gradient is not its slope.
  never: scenarios that its definition excludes.
  bad_axis: where a size that differs must be refused; None: nowhere.
  rounding: bound on its float32 rounding errors, as a share of the value.
  """

  family: str
  call: Callable = _call
  kwargs: dict = dataclasses.field(default_factory=dict)
  zero: bool = True
  shift: bool = False
  permute: bool = True
  order: bool = True
  drops: bool = False
  learns_teacher: bool = False
  weighs: bool = False
  never: tuple[str, ...] = ()
  bad_axis: int | None = -1
  rounding: float = 2e-5

  def inputs(self, seed=0, n=4):
    return FAMILIES[self.family](np.random.default_rng(seed), n)


def couples_batch(name: str) -> bool:
  return "axis_name" in inspect.signature(getattr(losses, name)).parameters


def _softmax(**changes):
  fields = {"family": "logits", "shift": True, "drops": True} | changes
  return Case(**fields)


def _relation(**changes):
  return Case(**({"family": "vectors", "bad_axis": 0} | changes))


def _map(**changes):
  return Case(**({"family": "maps"} | changes))


def _of_labels(function, student, teacher, mask=None, **kwargs):
  if mask is None:  # vectors, of two labels that all have
    student, teacher = (x.reshape(len(x), 2, -1) for x in (student, teacher))
    mask = jnp.ones(student.shape[:2], bool)
  return function(student, teacher, mask.astype(jnp.int32), **kwargs)


def _wide(x):
  """Half precision to float32, for what the adapters below compute."""
  return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def _ensemble(function, student, teacher):
  return function(student, jnp.stack([teacher, 0.5 * teacher]))


def _sparse(function, student, teacher):
  teacher = _wide(teacher)
  keep = teacher > -jnp.inf
  log_probs = jax.nn.log_softmax(jnp.where(keep, teacher, -1e6))
  stored, ids = jax.lax.top_k(jnp.where(keep, log_probs, -jnp.inf), 3)
  return function(student, stored, ids)


def _dino(function, student, teacher):
  center = jnp.zeros(student.shape[-1], teacher.dtype)
  return function(jnp.stack([student, student]), teacher[None], center)


def _two_maps(function, student, teacher):
  both = [(x, jnp.roll(x, 1, axis=1)) for x in (student, teacher)]
  return function(*both)


def _vid(function, student, teacher):
  return function(student, teacher, jnp.ones(3, student.dtype))


def _ofd(function, student, teacher):
  return function(student, teacher, jnp.full(3, -0.5, student.dtype))


def _crd(function, student, teacher, **kwargs):
  def unit(x):
    x = _wide(x)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x / jnp.sqrt(square + 1e-6).astype(x.dtype)

  bank = np.random.default_rng(1).normal(size=(12, student.shape[-1]))
  bank = unit(jnp.asarray(bank, _wide(student).dtype))
  indices = jnp.arange(5)[None, :] + jnp.arange(len(student))[:, None]
  return function(unit(student), unit(teacher), bank, -bank, indices, **kwargs)


def _seed(function, student, teacher, **kwargs):
  queue = np.random.default_rng(1).normal(size=(12, student.shape[-1]))
  queue = jnp.asarray(queue, _wide(student).dtype)
  return function(student, teacher, queue, **kwargs)


def _mgd(function, student, teacher):
  mask = jnp.asarray(np.arange(3) < 2, student.dtype).reshape(1, 1, 1, 3)
  return function(student, teacher, mask, generate=lambda x: jnp.tanh(_wide(x)))


def _srrl(function, student, teacher):
  pooled = (jnp.mean(_wide(x), axis=(1, 2)) for x in (student, teacher))
  return function(student, teacher, *pooled)


def _vitkd(function, student, teacher, mask):
  return function(student[:, None], teacher[:, None], student, teacher, mask)


def _probabilities(function, student, teacher, mask):
  del mask
  return function(*(jax.nn.softmax(_wide(x)) for x in (student, teacher)))


def _qkv(function, student, teacher, mask, **kwargs):
  sides = ((x, jnp.flip(x, axis=-1), x) for x in (student, teacher))
  return function(*sides, mask=mask, **kwargs)


def _bounded(function, student, teacher):
  return function(student, teacher, jnp.zeros_like(student))


def _gaussians(function, student, teacher, mask):
  del mask
  return function(student, teacher)


def _likelihood(function, student, teacher, mask):
  del mask
  return function(student, teacher[..., 2:])


def _tinybert(function, student, teacher, mask):
  del mask
  sides = (((x[:, None, :, :3],), (x,)) for x in (student, teacher))
  return function(*sides)


def _crd_update(function, student, teacher):
  return function(teacher, student, jnp.arange(len(student)))


def _center_update(function, student, teacher):
  return function(student[0], jnp.stack([student, teacher]))


def _first(function, student, teacher, *others, **kwargs):
  del teacher
  return function(student, *others, **kwargs)


_SAME = ("equal", "agreeing at large", "constant", "zeros")
# Helpers leave classes at -inf where they are.
_MASKED = (
  *("dead classes", "masked by the student", "masked by the teacher"),
  *("dead row of the student", "dead row of the teacher"),
  "no class in common",
)
_HELPER = {"zero": False, "permute": False, "bad_axis": None}
_POOL = Case("maps", _first, {"size": (2, 3)}, **_HELPER)


def _adjusted(function, student, teacher, labels):
  del teacher
  return function(student, labels, jnp.arange(1.0, student.shape[-1] + 1))


def _with_prior(function, student, teacher):
  del teacher
  return function(student, jnp.arange(1.0, student.shape[-1] + 1))


CASES = {
  # Response
  "kd": _softmax(),
  "soft_cross_entropy": _softmax(zero=False),
  "forward_kl": _softmax(),
  "reverse_kl": _softmax(),
  "symmetric_kl": _softmax(),
  "generalized_jsd": _softmax(),
  "jensen_shannon": _softmax(),
  "skew_kl": _softmax(),
  "skew_reverse_kl": _softmax(),
  "tvd": _softmax(),
  "adaptive_kl": _softmax(weighs=True),
  "logit_mse": Case("logits", drops=True),
  "cosine_distance": Case("vectors"),
  "hard_distillation": _softmax(zero=False),
  "dkd": _softmax(family="labelled"),
  "nkd": _softmax(family="labelled", zero=False),
  "wsld": _softmax(family="labelled", zero=False, weighs=True),
  "ofa": _softmax(family="labelled", zero=False),
  "logit_adjusted_cross_entropy": Case(
    "labels alone", _adjusted, zero=False, permute=False, bad_axis=None
  ),
  "dist": _softmax(rounding=1e-3),
  "mlkd": _softmax(),
  "class_correlation": _softmax(),
  "batch_correlation": _softmax(),
  "ttm": _softmax(zero=False),
  "topk_kd": _softmax(kwargs={"k": 3}),
  "sparse_kd": _softmax(call=_sparse, bad_axis=None),
  "ensemble_kd": _softmax(call=_ensemble, zero=False),
  "uld": _softmax(bad_axis=0),
  "binary_kd": Case("logits", drops=True),
  # Numbers
  "teacher_bounded": Case("vectors", _bounded),
  "gaussian_kl": Case("tokens", _gaussians, permute=False),
  "gaussian_nll": Case("tokens", _likelihood, zero=False, permute=False),
  "dino": _softmax(call=_dino, zero=False),
  # Feature
  "fitnet": _map(),
  "simkd": _map(),
  "attention_transfer": _map(bad_axis=0),
  "nst": _map(bad_axis=0),
  "factor_transfer": Case("vectors"),
  "fsp": _map(call=_two_maps),
  "kdsvd": _map(call=_two_maps, permute=False, rounding=1e-3),
  "vid": _map(call=_vid, zero=False),
  "ab": _map(zero=False),
  "ofd": _map(call=_ofd, zero=False),
  "review_kd": _map(),
  "crd": Case(
    "vectors",
    _crd,
    {"z_student": 20.0, "z_teacher": 30.0},
    zero=False,
    permute=False,
    order=False,
    learns_teacher=True,
  ),
  "seed": Case(
    "vectors",
    _seed,
    {"temperature": 0.5, "teacher_temperature": 0.5},
    permute=False,
    order=False,
  ),
  "cwd": _map(),
  "pairwise": _map(bad_axis=0),
  "mgd": _map(call=_mgd, zero=False, permute=False),
  "srrl": _map(call=_srrl),
  "cat_kd": _map(),
  "vitkd": Case("tokens", _vitkd),
  "srd": Case("vectors", zero=False, never=_SAME),
  "vkd": Case("vectors", zero=False),
  "patient_kd": Case("vectors"),
  # Relational
  "pkt": _relation(),
  "similarity_preserving": _relation(),
  "correlation_congruence": _relation(learns_teacher=True),
  "rkd_distance": _relation(),
  "rkd_angle": _relation(),
  "rkd": _relation(),
  "relation_mse": _relation(),
  "class_aware_embedding": Case("tokens", _of_labels, bad_axis=1),
  "instance_aware_embedding": Case("tokens", _of_labels, bad_axis=1),
  # Attention
  "attention_mse": Case("scores", _with_mask, permute=False),
  "attention_kl": Case("scores", _with_mask, permute=False),
  "attention_inner": Case("scores", _probabilities, zero=False),
  "minilm": Case("heads", _qkv, permute=False, bad_axis=1),
  "minilmv2": Case("tokens", _qkv, {"relation_heads": 2}, permute=False),
  "tinybert": Case("tokens", _tinybert, permute=False),
  # Helpers
  "standardize_logits": Case("logits", _first, never=_MASKED, **_HELPER),
  "add_log_prior": Case("vectors", _with_prior, **_HELPER),
  "masked_mean": Case("masked vectors", _first, **_HELPER),
  "adaptive_avg_pool": _POOL,
  "adaptive_max_pool": _POOL,
  "ofd_margin": Case("vectors", weighs=True, **_HELPER),
  "crd_update": Case("vectors", _crd_update, weighs=True, **_HELPER),
  "dino_center_update": Case(
    "vectors", _center_update, order=False, weighs=True, **_HELPER
  ),
}
