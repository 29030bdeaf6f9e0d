"""`launch.py lm --teacher_from=A/,B/`: several teachers answer as one."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from small_tokenizers import characters
from tiny_language_models import documents, run_lm, tiny_folder, write_rows

from kdjax import pretrained
from kdjax.core.pooling import pool_logits
from kdjax.models.generation.generate import generate
from kdjax.models.pooled import pooled, pooled_variables
from kdjax.models.tokenizers import tokenizer_of_files

run = functools.partial(run_lm, teachers=("0", "1"), seeds=1)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
  folder = tmp_path_factory.mktemp("places")
  for seed in (0, 1):
    tiny_folder(folder / str(seed), characters(), seed=seed, scale=4.0)
  rows = [{"prompt": x[:6], "completion": x[6:20]} for x in documents(16)]
  write_rows(folder / "rows.jsonl", rows)
  return folder


@pytest.mark.slow
def test_several_networks_answer_and_write_as_one(places):
  members = [pretrained.load(places / str(seed)) for seed in (0, 1)]
  variables = pooled_variables([one.variables for one in members])
  ids = jnp.array([[3, 4, 5, 6], [7, 8, 9, 3]])
  logits = [one.network.apply(one.variables, ids)[0] for one in members]
  classes, weights = logits[0].shape[-1] - 2, (3, 1)
  network = pooled([x.network for x in members], classes, weights=weights)
  want = pool_logits(
    jnp.stack([x[..., :classes] for x in logits]), weights=weights
  )
  got = jax.jit(lambda v: network.apply(v, ids)[0])(variables)
  np.testing.assert_allclose(got, want, atol=1e-5)
  # With a cache as without one.
  (text,) = generate(network, variables, [[3, 4, 5, 6]], max_new_tokens=3)
  tokens = [3, 4, 5, 6]
  for token in text:
    logits = network.apply(variables, jnp.array([tokens]))[0]
    assert token == int(jnp.argmax(logits[0, -1]))
    tokens.append(int(token))


@pytest.mark.slow
@pytest.mark.parametrize(
  "flags",
  [
    ("--pool=confidence", "--teacher_weights=2,1"),
    ("--policy=speculative(3)", "--max_new_tokens=4", "--completions=1"),
    pytest.param(
      ("--distillation=minilm:1 + ce:1",), marks=pytest.mark.exhaustive
    ),
    pytest.param(
      ("--policy=teacher", "--max_new_tokens=4", "--distillation=hard"),
      marks=pytest.mark.exhaustive,
    ),
  ],
)
def test_run(places, tmp_path, bare_runs, flags):
  assert run(places, tmp_path, *flags) == 0
  teacher = json.loads((tmp_path / "results.json").read_text())["teacher"]
  alone = teacher["members_test_nats_per_token"]
  assert [*alone] == [str(places / "0"), str(places / "1")]
  (both,) = teacher["test_nats_per_token"]
  if teacher["pool"] == "probabilities":
    # -log of a mean is no more than the mean of -log.
    assert both <= np.mean([*alone.values()])
  assert both not in alone.values()


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--teacher_weights=1,2,3"], ("--teacher_weights", "3 weights for 2")),
    (["--pool=mean"], ("--pool", "probabilities")),
  ],
)
def test_refused(places, tmp_path, capsys, quick_runs, flags, said):
  assert run(places, tmp_path / "run", *flags) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert all(text in line for text in said), line
  assert not (tmp_path / "run").exists()


def test_refuses_teachers_with_other_tokens(places, tmp_path, capsys):
  files = dict(characters().files)
  backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
  backend.add_tokens(["the cat"])
  files["tokenizer.json"] = backend.to_str().encode()
  other = tokenizer_of_files(files, "other")
  tiny_folder(tmp_path / "other", other, seed=2)
  flag = f"--teacher_from={places / '0'},{tmp_path / 'other'}"
  assert run(places, tmp_path / "run", flag) == 2
  assert "has another tokenizer" in capsys.readouterr().err.splitlines()[-1]
