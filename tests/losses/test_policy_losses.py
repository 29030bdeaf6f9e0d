"""Losses of drawn texts: by hand, and by enumerating all texts of a tiny model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.losses import policies
from kdjax.losses.policies import minillm, policy_gradient, reward_to_go

# Two steps of three tokens, of which 2 ends a text: logits of the first token,
# and of the second behind 0 and 1.
RNG = np.random.default_rng(0)
STUDENT, TEACHER = (
  {"first": RNG.normal(size=3), "second": RNG.normal(size=(2, 3))}
  for _ in range(2)
)
TEXTS = np.array([(2, 2), *((a, b) for a in (0, 1) for b in (0, 1, 2))])


def logits_of(model, text):
  """(2, 3) logits at which a text's tokens are drawn."""
  second = jnp.asarray(model["second"])[jnp.minimum(text[0], 1)]
  return jnp.stack([jnp.asarray(model["first"]), second])


def mask_of(text):
  return jnp.stack([jnp.bool_(True), text[0] != 2])


def log_prob(model, text):
  rows = jax.nn.log_softmax(logits_of(model, text))
  each = jnp.take_along_axis(rows, text[:, None], 1)[:, 0]
  return jnp.sum(jnp.where(mask_of(text), each, 0.0))


def log_probs(model):
  return jax.vmap(lambda text: log_prob(model, text))(jnp.asarray(TEXTS))


def sequence_kl(student):
  """KL(q || p) of whole texts, summed over all of them."""
  q = log_probs(student)
  return jnp.sum(jnp.exp(q) * (q - log_probs(TEACHER)))


def flat(tree):
  return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


@functools.cache
def expected():
  """Of every loss the mean over all texts of the gradient of one text's loss.

  "exact" is the gradient of whole texts' divergence, "all" the texts' shares.
  """

  def of_loss(loss, student, texts):
    def one(student, text):
      arrays = (logits_of(model, text) for model in (student, TEACHER))
      return jnp.sum(loss(*arrays, text, mask=mask_of(text)))

    each = jax.vmap(jax.grad(one), (None, 0))(student, texts)
    shares = jnp.exp(log_probs(student))
    return jax.tree.map(lambda x: jnp.tensordot(shares, x, 1), each)

  @jax.jit  # one program: they share what is around the losses
  def of_all(student, texts):
    found = {
      name: of_loss(loss, student, texts)
      for name, loss in (RIGHT | WRONG | {"own": OWN}).items()
    }
    found["exact"] = jax.grad(sequence_kl)(student)
    return found | {"all": jnp.exp(log_probs(student))}

  with jax.enable_x64(True):
    found = of_all(STUDENT, jnp.asarray(TEXTS))
  return {name: flat(x) for name, x in found.items()}


def test_there_are_all_texts():
  assert expected()["all"].sum() == pytest.approx(1, abs=1e-6)


RIGHT = {
  "k1": policy_gradient,
  "k3": functools.partial(policy_gradient, estimator="k3"),
  "minillm": functools.partial(minillm, normalize=False),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_expected_gradient_is_that_of_whole_texts(name):
  np.testing.assert_allclose(expected()[name], expected()["exact"], atol=1e-10)


def told(student, teacher, tokens, mask):
  """log q, log p of the tokens, and KL(q || p), as plainly as can be."""
  q, p = (jax.nn.log_softmax(x) for x in (student, teacher))
  at = [x[jnp.arange(2), tokens] for x in (q, p)]
  return *at, jnp.sum(jnp.exp(q) * (q - p), axis=-1), mask


def variant(formula):
  """A loss that is written otherwise than it should be."""

  def loss(student, teacher, tokens, *, mask):
    log_q, log_p, divergence, mask = told(student, teacher, tokens, mask)
    return jnp.where(mask, formula(log_q, log_p, divergence, mask), 0.0)

  return loss


stopped = jax.lax.stop_gradient


def to_go(x, mask):
  return reward_to_go(x, mask=mask)


def k3(log_q, log_p):
  return jnp.exp(log_p - log_q) - 1 - (log_p - log_q)


WRONG = {
  "no future": functools.partial(policy_gradient, discount=0.0),
  "half the future": functools.partial(policy_gradient, discount=0.5),
  "the other sign": variant(
    lambda q, p, kl, mask: stopped(to_go(p - q, mask)) * q
  ),
  "an advantage that is no constant": variant(
    lambda q, p, kl, mask: to_go(q - p, mask) * q
  ),
  "k3 as an advantage alone": variant(
    lambda q, p, kl, mask: stopped(to_go(k3(q, p), mask)) * q
  ),
  "k3's own gradient alone": variant(lambda q, p, kl, mask: k3(q, p)),
  "the single step alone": variant(lambda q, p, kl, mask: kl),
  "the own token twice": variant(
    lambda q, p, kl, mask: kl + stopped(to_go(q - p, mask)) * q
  ),
  "tokens behind the end": functools.partial(
    lambda student, teacher, tokens, mask: policy_gradient(
      student, teacher, tokens
    )
  ),
}


OWN = variant(lambda q, p, kl, mask: kl)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_told_apart(name):
  assert np.abs(expected()[name] - expected()["exact"]).max() > 1e-2


def test_without_discount_each_token_has_its_own_divergence():
  found, own = expected()["no future"], expected()["own"]
  np.testing.assert_allclose(found, own, atol=1e-10)


def softmax(x):
  return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("normalize", [True, False])
def test_minillm_is_its_equation(share, normalize):
  """Equation 7 with NumPy, for a text of four tokens and padding."""
  rng = np.random.default_rng(3)
  student, teacher = rng.normal(size=(2, 6, 5))
  tokens, mask = np.array([4, 0, 3, 3, 1, 1]), np.arange(6) < 4
  q, p = softmax(student), softmax(teacher)
  want, values = np.zeros_like(student), np.zeros(6)
  for t in range(4):
    y = tokens[t]
    weight = q[t, y] / (share * p[t, y] + (1 - share) * q[t, y])
    kl = np.sum(q[t] * np.log(q[t] / p[t]))
    later = [np.log(p[k, tokens[k]] / q[k, tokens[k]]) for k in range(t + 1, 4)]
    reward = sum(later) / (max(len(later), 1) if normalize else 1)
    # The derivatives of KL(q || p) and of log q[y] in the logits.
    single = q[t] * (np.log(q[t] / p[t]) - kl)
    want[t] = weight * (single - reward * (np.eye(5)[y] - q[t]))
    values[t] = weight * kl
  # What stands where nothing was drawn is nobody's business.
  student[4:] = np.nan

  def loss(student):
    found = minillm(
      student, jnp.asarray(teacher), jnp.asarray(tokens),
      mask=jnp.asarray(mask), teacher_share=share, normalize=normalize,
    )  # fmt: skip
    return found.sum(), found

  with jax.enable_x64(True):
    gradient, found = jax.jit(jax.grad(loss, has_aux=True))(student)
  np.testing.assert_allclose(found, values, atol=1e-10)
  np.testing.assert_allclose(gradient, want, atol=1e-10)


def test_weights_make_up_for_the_teachers_share():
  """Texts of one token: the mean over draws from the mixture is the exact one."""
  first = [np.float32(model["first"]) for model in (STUDENT, TEACHER)]
  q, p = map(softmax, first)

  def loss(student, token, share):
    arrays = student[None], jnp.asarray(first[1])[None], token[None]
    return minillm(*arrays, teacher_share=share)[0]

  def divergence(student):
    q = jax.nn.softmax(student)
    return jnp.sum(q * (jnp.log(q) - jnp.log(p)))

  want = jax.jit(jax.grad(divergence))(first[0])

  @jax.jit
  def mean(share):
    drawn = share * p + (1 - share) * q
    each = jax.vmap(jax.grad(loss), (None, 0, None))
    return drawn @ each(first[0], jnp.arange(3), share)

  for share in (0.2, 0.8):
    found = mean(share)
    np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize(
  ("rewards", "mask", "discount", "want"),
  [
    ([1.5, 1, 2, 2], [1, 1, 0, 0], 1.0, [2.5, 1, 0, 0]),
    ([1, 1, 1, 1], [1, 1, 1, 1], 1.0, [4, 3, 2, 1]),
    # (1 - g^(n - t)) / (1 - g)
    ([1, 1, 1, 1], [1, 1, 1, 1], 0.5, [1.875, 1.75, 1.5, 1]),
    ([9, 1, 2, 9], [0, 1, 1, 0], 0.5, [0, 2, 2, 0]),
    ([1, 2], [1, 1], 0.0, [1, 2]),
    ([[1, 2], [3, 4]], [[1, 1], [0, 1]], 1.0, [[3, 2], [0, 4]]),
  ],
)
def test_reward_to_go(rewards, mask, discount, want):
  found = jax.jit(functools.partial(reward_to_go, discount=discount))(
    np.float32(rewards), mask=np.array(mask) > 0
  )
  np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("name", RIGHT)
def test_teachers_are_constants_and_large_logits_finite(name):
  tokens = np.array([[0, 2], [1, 1]])
  student = 1e4 * RNG.integers(-1, 2, (2, 2, 3)).astype(np.float32)
  # Drawn where the student has nearly all of its mass.
  student[..., 0] += tokens == 0

  def loss(*sides):
    return RIGHT[name](*sides, np.argmax(student, -1)).sum()

  of_student, of_teacher = jax.jit(jax.grad(loss, (0, 1)))(student, -student)
  assert jnp.isfinite(of_student).all() and not of_teacher.any()


@pytest.mark.parametrize(
  ("call", "said"),
  [
    (lambda s, t: minillm(s, t[:1], t), "minillm"),
    (lambda s, t: minillm(s, s, t[:1]), "tokens must have the shape"),
    (lambda s, t: minillm(s, s, t, mask=t[:1] > 0), "mask must have"),
    (lambda s, t: minillm(s, s, t, teacher_share=2.0), "teacher_share"),
    (lambda s, t: policy_gradient(s, s, t, estimator="k2"), "k1, k3"),
    (lambda s, t: policy_gradient(s, s, t, discount=1.5), "discount"),
  ],
)
def test_refuses(call, said):
  with pytest.raises(ValueError, match=said):
    jax.eval_shape(call, np.zeros((2, 3)), np.zeros(2, int))


def test_the_module_is_the_packages():
  import kdjax

  assert kdjax.losses.policies is policies
