"""What the small sentence embedders begin with."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import kdjax
from experiments import minilm_student
from kdjax.core import storage
from kdjax.models import make_model


def test_word_vectors_begin_as_the_teachers_on_their_main_directions(
  tmp_path, monkeypatch
):
  random, width = np.random.default_rng(0), 4
  rows = {"tokens": 30, "positions": 6, "segments": 2}
  stem = {
    name: {"embedding": random.normal(size=(count, 16))}
    for name, count in rows.items()
  }
  spec = (
    f"bert(vocabulary=30, width={width}, depth=1, heads=2, positions=6,"
    " pool='mean')"
  )
  monkeypatch.setattr(minilm_student, "WIDTH", width)
  monkeypatch.setattr(minilm_student, "STUDENT", spec)
  teacher = SimpleNamespace(variables={"params": {"stem": stem}})
  monkeypatch.setattr(kdjax.pretrained, "load", lambda _: teacher)
  minilm_student.write_beginning(tmp_path / "begun")
  note = storage.read_note(tmp_path / "begun")
  saved = storage.load_variables(tmp_path / "begun", note)["params"]
  params = jax.tree.map(lambda x: x[0], saved)
  tokens = np.zeros((1, 6), np.int32)
  network = make_model(note["model"], classes=16)
  drawn = jax.eval_shape(network.init, jax.random.key(0), tokens)["params"]
  for name in ("stem", "head"):
    shapes = [jax.tree.map(np.shape, tree[name]) for tree in (params, drawn)]
    assert shapes[0] == shapes[1], name
  begun = params["stem"]["tokens"]["embedding"] @ params["head"]["kernel"] / 0.1
  left, sizes, right = np.linalg.svd(stem["tokens"]["embedding"], False)
  best = left[:, :width] * sizes[:width] @ right[:width]
  assert begun == pytest.approx(best, abs=1e-4)
