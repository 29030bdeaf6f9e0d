"""A narrow two-layer student of a BERT sentence embedder: network, losses, step."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

from kdjax import losses
from kdjax.models.bert import PADDING, Bert, unit
from kdjax.models.bert_sizes import bert
from kdjax.taps import tapped

QKV = tuple(f"attention/{name}" for name in ("query", "key", "value"))


class Settings(NamedTuple):
  """Sizes of the student and its training.

  Attributes:
    heads: of the student and of the relations.
    layers: the teacher's blocks that the student's two are matched with.
    rate: peak learning rate of AdamW.
  """

  width: int = 192
  heads: int = 12
  tokens: int = 20
  layers: tuple[str, str] = ("stage_2", "stage_5")
  steps: int = 200
  batch: int = 64
  rate: float = 3e-3


class TeacherAnswers(NamedTuple):
  """What the teacher says of sentences.

  Attributes:
    embeddings: (N, D) of unit length.
    matched: "hidden" -> states (N, T, D) of its two blocks; "relations" ->
      (q, k, v) of the last one, each (N, T, D), the heads concatenated.
  """

  embeddings: np.ndarray
  matched: dict[str, tuple[np.ndarray, ...]]


def observed(apply_fn: Callable, layers: tuple[str, str]) -> Callable:
  """Makes `apply` also return what is matched inside the network.

  Returns:
    A function (variables, tokens) -> (output, as `TeacherAnswers.matched`).
  """
  last = [f"{layers[1]}/{name}" for name in QKV]
  apply = tapped(apply_fn, [*layers, *last])

  def watch(variables, tokens):
    output, states = apply(variables, tokens)
    joined = (states[tap].reshape(*tokens.shape, -1) for tap in last)
    hidden = tuple(states[layer] for layer in layers)
    return output, {"hidden": hidden, "relations": tuple(joined)}

  return watch


def teach(
  teacher: Bert, variables: Any, tokens: np.ndarray, layers
) -> TeacherAnswers:
  """Asks the frozen teacher about every sentence, once.

  Args:
    tokens: (N, T) int32.
  """
  watch = observed(teacher.apply, layers)

  @jax.jit
  def answer(variables, tokens):
    embeddings, matched = watch(variables, tokens)
    return TeacherAnswers(embeddings, jax.tree.map(jnp.float16, matched))

  parts = np.split(tokens, range(256, len(tokens), 256))
  answers = [jax.device_get(answer(variables, part)) for part in parts]
  return jax.tree.map(lambda *rows: np.concatenate(rows), *answers)


def make_student(
  words: np.ndarray, seed: int, settings: Settings
) -> TrainState:
  """Makes a student whose word vectors start as the teacher's.

  They keep the main directions of the teacher's, as many as the student is
  wide; the head, whose output is the embedding, starts as the way back.

  Args:
    words: (vocabulary, D) the teacher's word vectors.
  """
  vocabulary, size = words.shape
  student = bert(
    classes=size,
    vocabulary=vocabulary,
    width=settings.width,
    depth=2,
    heads=settings.heads,
    mlp=4 * settings.width,
    positions=settings.tokens,
    pool="mean",
    dropout=0.0,
  )
  keys = jax.random.split(jax.random.key(seed), 3)
  shape = (1, settings.tokens)
  params = student.init(keys[0], jnp.ones(shape, jnp.int32))["params"]
  back = np.linalg.svd(words, full_matrices=False)[2][: settings.width]
  params["stem"]["tokens"]["embedding"] = jnp.asarray(words @ back.T)
  params["head"]["kernel"] = 0.1 * jnp.asarray(back)
  shape = (settings.width, size)
  projections = [0.02 * jax.random.normal(key, shape) for key in keys[1:]]
  rate = optax.warmup_cosine_decay_schedule(
    0.0, settings.rate, settings.steps // 10, settings.steps
  )
  return TrainState.create(
    apply_fn=student.apply,
    params={"student": params, "projections": projections},
    tx=optax.adamw(rate, weight_decay=0.01),
  )


def loss_of(params, apply_fn, tokens, answers, weights, heads) -> jax.Array:
  """Returns the loss of a batch: the embedding's, and what the arm adds.

  Args:
    tokens: (B, T) int32.
    weights: by what is matched, "hidden" or "relations"; others are not.
  """
  watch = observed(apply_fn, ("stage_0", "stage_1"))
  output, ours = watch({"params": params["student"]}, tokens)
  loss = losses.fitnet(unit(output), answers.embeddings, reduce="sum")
  real = tokens != PADDING
  if "hidden" in weights:
    projected = tuple(map(jnp.matmul, ours["hidden"], params["projections"]))
    # Zero on both sides where there is no token to match.
    states = jax.tree.map(
      lambda x: jnp.where(real[..., None], x, 0),
      [projected, answers.matched["hidden"]],
    )
    hints = (((), layers) for layers in states)
    loss += weights["hidden"] * losses.tinybert(*hints)
  if "relations" in weights:
    loss += weights["relations"] * losses.minilmv2(
      ours["relations"],
      answers.matched["relations"],
      relation_heads=heads,
      mask=real,
    )
  return jnp.mean(loss)


def make_step(weights: Mapping[str, float], heads: int) -> Callable:
  """Makes the compiled step of one arm.

  Args:
    weights: as `loss_of` takes them.
    heads: relation heads.

  Returns:
    A function (state, tokens, answers) -> state.
  """

  @jax.jit
  def step(state, tokens, answers):
    slopes = jax.grad(loss_of)(
      state.params, state.apply_fn, tokens, answers, weights, heads
    )
    return state.apply_gradients(grads=slopes)

  return step


def distil(
  step: Callable,
  state: TrainState,
  tokens: np.ndarray,
  answers: TeacherAnswers,
  seed: int,
  settings: Settings,
) -> TrainState:
  """Trains a student; equal seeds see equal batches, whatever the arm.

  Args:
    tokens: (N, T) int32.
  """
  rng = np.random.default_rng(seed)
  passes = -(-settings.steps * settings.batch // len(tokens))
  order = np.concatenate([rng.permutation(len(tokens)) for _ in range(passes)])
  for i in range(settings.steps):
    rows = order[i * settings.batch : (i + 1) * settings.batch]
    batch = jax.tree.map(operator.itemgetter(rows), answers)
    state = step(state, tokens[rows], batch)
  return state
