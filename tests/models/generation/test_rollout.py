"""Texts that a network writes, as the rows that language_model trains on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax.models.generation.mixture import mixture, speculative
from kdjax.models.generation.rollout import rollout

# Token t is followed by t + 1, and 4 ends a text.
COUNTS_UP = {"params": {"logits": 50.0 * jnp.eye(6)[(jnp.arange(6) + 1) % 6]}}
EVEN = {"params": {"logits": jnp.zeros((6, 6))}}
PROMPTS = {
  "tokens": jnp.array([[0, 1, 2], [5, 9, 9], [9, 9, 9]]) % 6,
  "mask": jnp.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
}
KEY = jax.random.key(0)


def logits(variables, inputs, *, train, rngs):
  return variables["params"]["logits"][inputs]


NETWORK = kdjax.from_apply(logits)


# As in a training's step; what is compiled once serves several tests.
COMPILED = jax.jit(
  functools.partial(rollout, NETWORK),
  static_argnames=("max_new_tokens", "eos", "sampling"),
)


def write(variables=EVEN, prompts=PROMPTS, **settings):
  settings = {"key": KEY, "step": 3, "ids": jnp.arange(3)} | settings
  settings = {"max_new_tokens": 4, "eos": (4,)} | settings
  return jax.tree.map(np.asarray, COMPILED(variables, prompts, **settings))


def test_texts_stand_right_behind_their_prompts():
  rows = write(COUNTS_UP, sampling="greedy")
  # By hand.
  assert rows["tokens"].tolist() == [
    [0, 1, 2, 3, 4, 0, 0],
    [5, 0, 1, 2, 3, 0, 0],
    [0, 0, 0, 0, 0, 0, 0],
  ]
  assert rows["mask"].sum(1).tolist() == [5, 5, 0]
  assert rows["counts"].astype(int).tolist() == [
    [0, 0, 0, 1, 1, 0, 0],
    [0, 1, 1, 1, 1, 0, 0],
    [0] * 7,
  ]


def test_the_task_learns_what_was_written_and_no_more():
  task = kdjax.tasks.language_model(6)
  batch = task.batch(write(COUNTS_UP, sampling="greedy"))
  assert batch.targets.tolist() == [
    [-1, -1, 3, 4, -1, -1],
    [0, 1, 2, 3, -1, -1],
    [-1] * 6,
  ]


@pytest.mark.parametrize("change", [{"step": 4}, {"ids": jnp.array([3, 1, 2])}])
def test_other_steps_and_prompts_have_other_texts(change):
  settings = {"max_new_tokens": 24, "eos": ()}
  one, other = write(**settings), write(**settings | change)
  assert not np.array_equal(one["tokens"][0], other["tokens"][0])
  again = write(**settings)
  assert np.array_equal(one["tokens"], again["tokens"])


def test_parts_of_a_batch_are_as_in_the_whole_under_jit_and_pmap():
  whole = write()
  settings = {"key": KEY, "step": 3, "max_new_tokens": 4, "eos": (4,)}

  def run(prompts, ids):
    return rollout(NETWORK, EVEN, prompts, ids=ids, **settings)

  cut = jax.tree.map(lambda x: np.asarray(x)[:, None], PROMPTS)
  for place in (jax.pmap, lambda one: jax.jit(jax.vmap(one))):
    parts = place(run)(cut, np.arange(3)[:, None])
    for name, rows in whole.items():
      assert np.array_equal(np.asarray(parts[name])[:, 0], rows), (place, name)


def test_no_gradient_goes_through_a_text():
  def total(variables):
    return rollout(
      NETWORK, variables, PROMPTS, key=KEY, step=0, ids=jnp.arange(3),
      max_new_tokens=2,
    )["tokens"].sum().astype(float)  # fmt: skip

  gradient = jax.jit(jax.grad(total))(EVEN)["params"]["logits"]
  assert not np.any(gradient)


def test_a_teacher_has_its_share_of_every_token():
  """Of many first tokens, those of the mixture: a chi-square test."""
  own = jnp.log(jnp.array([0.7, 0.2, 0.1, 0, 0, 0]) + 1e-30)
  other = jnp.log(jnp.array([0.1, 0.1, 0.1, 0.7, 0, 0]) + 1e-30)
  own, other = (
    {"params": {"logits": jnp.tile(row, (6, 1))}} for row in (own, other)
  )
  count, share = 4000, 0.3
  prompts = {
    "tokens": jnp.zeros((count, 1), int), "mask": jnp.ones((count, 1))
  }  # fmt: skip
  rows = jax.jit(
    lambda own, other: rollout(
      NETWORK, own, prompts, key=KEY, step=0, ids=jnp.arange(count),
      max_new_tokens=1, vocabulary=4, teacher=(NETWORK, other, mixture(share)),
    )
  )(own, other)  # fmt: skip
  drawn = np.bincount(np.asarray(rows["tokens"])[:, 1], minlength=4)
  want = (
    count * (0.7 * np.array([7, 2, 1, 0]) + 0.3 * np.array([1, 1, 1, 7])) / 10
  )
  # The 99.9 % point of three degrees of freedom.
  assert ((drawn - want) ** 2 / want).sum() < 16.3


def test_a_teacher_draws_in_the_place_of_what_it_does_not_accept():
  """All outcomes of drawing, looking and drawing again, summed by hand."""
  first = np.array([[0.5, 0.2, 0.2, 0.1], [0.0, 1.0, 0.0, 0.0]])
  second = np.array([[0.1, 0.15, 0.35, 0.4], [0.7, 0.1, 0.1, 0.1]])
  for top_k, accepted in ((1, [[3], [0]]), (2, [[2, 3], [0, 1, 2, 3]])):
    want = np.zeros((2, 4))
    for row in range(2):
      for token in range(4):
        if token in accepted[row]:
          want[row, token] += first[row, token]
        else:
          want[row] += first[row, token] * second[row]
    combine = jax.jit(speculative(top_k))
    got = np.exp(combine(jnp.log(first), jnp.log(second)))
    np.testing.assert_allclose(got, want, atol=1e-6)
  # Where all are accepted the texts are the student's.
  np.testing.assert_allclose(
    np.exp(speculative(4)(jnp.log(first), jnp.log(second))), first, atol=1e-6
  )


@pytest.mark.slow
def test_a_teachers_cache_is_its_own(tmp_path):
  """With nearly all of the share the text is the teacher's, with none the student's."""
  from small_tokenizers import characters
  from tiny_language_models import tiny_folder

  nets = [
    kdjax.pretrained.load(
      tiny_folder(tmp_path / str(seed), characters(), seed=seed, scale=4.0)
    )
    for seed in (0, 1)
  ]
  prompts = {"tokens": jnp.array([[3, 4, 5], [6, 0, 0]])}
  prompts["mask"] = jnp.array([[1, 1, 1], [1, 0, 0]])

  def text(pair, share=None):
    (network, own, *_), (other, others, *_) = pair
    teacher = None if share is None else (other, others, mixture(share))
    return rollout(
      network, own, prompts, key=KEY, step=0, ids=jnp.arange(2),
      max_new_tokens=8, sampling="greedy", teacher=teacher,
    )["tokens"]  # fmt: skip

  alone = [text(pair) for pair in (nets, nets[::-1])]
  assert not np.array_equal(*alone)
  for share, want in ((1e-6, alone[0]), (1 - 1e-6, alone[1])):
    np.testing.assert_array_equal(text(nets, share), want)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
  """A network with a cache, eight prompts for it, and what it makes of them."""
  from small_tokenizers import characters
  from tiny_language_models import tiny_folder

  folder = tmp_path_factory.mktemp("decoder")
  settings = {"num_attention_heads": 4, "vocab_size": 64, "scale": 2.0}
  network, variables, *_ = kdjax.pretrained.load(
    tiny_folder(folder, characters(), **settings)
  )
  draw = np.random.default_rng(0)
  prompts = {
    "tokens": draw.integers(0, 40, (8, 5)).astype(np.int32),
    "mask": np.arange(5) < draw.integers(1, 6, (8, 1)),
  }
  write = functools.partial(
    rollout, network, key=KEY, step=3, max_new_tokens=9, eos=(4,)
  )
  program = jax.jit(
    lambda variables, rows, ids: write(variables, rows, ids=ids)
  )
  return program, variables, prompts


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 5, 8])
def test_a_decoder_s_texts_are_those_of_any_batch(decoder, size):
  program, variables, prompts = decoder
  whole = program(variables, prompts, np.arange(8))
  for start in range(0, 8, size):
    # Rows behind the last are empty, and the others in another order.
    chosen = np.arange(start, start + size)[::-1]
    rows = {name: x[chosen % 8] for name, x in prompts.items()}
    rows["mask"] = rows["mask"] & (chosen < 8)[:, None]
    part = program(variables, rows, chosen)
    for name, x in whole.items():
      there = chosen < 8
      np.testing.assert_array_equal(
        np.asarray(part[name])[there], np.asarray(x)[chosen[there]]
      )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("mesh", "rules"),
  [
    ("data=1", None), ("data=2", None), ("data=8", None),
    ("data=2,model=4", "transformer"), ("data=2,fsdp=4", "fsdp"),
  ],
)  # fmt: skip
def test_a_decoder_s_texts_are_those_of_any_devices(decoder, mesh, rules):
  from kdjax.runner.pipeline.partition import placed, read_partition

  program, variables, prompts = decoder
  whole = program(variables, prompts, np.arange(8))
  count = int(np.prod([int(x.split("=")[1]) for x in mesh.split(",")]))
  partition = read_partition(mesh, rules, jax.devices()[:count])
  rows = jax.sharding.NamedSharding(partition.mesh, partition.batch)
  there = program(
    placed(variables, partition, stacked=0),
    jax.device_put(prompts, rows),
    jax.device_put(np.arange(8), rows),
  )
  jax.tree.map(np.testing.assert_array_equal, whole, there)
