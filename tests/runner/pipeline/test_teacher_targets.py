"""A teacher's vectors are the targets of examples that have none, of a subset too."""

import numpy as np
import pytest

from kdjax.core import storage
from kdjax.models import make_model
from kdjax.runner.config import Data, Experiment, Student, Teacher
from kdjax.runner.pipeline import build, teachers
from kdjax.runner.pipeline.teacher_targets import has_targets, with_targets

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.mark.parametrize(
  ("validation", "images"), [(0.0, None), (0.25, None), (0.25, 20)]
)
def test_of_all_splits_and_loaders(tmp_path, validation, images):
  x = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
  np.savez(tmp_path / "bare.npz", x=x)
  kernel = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
  head = {"kernel": kernel, "bias": np.zeros(3, np.float32)}
  note = {"model": "mlp()", "classes": 3, "class_names": ["0", "1", "2"]}
  note |= {"image_shape": [1, 5, 1], "validation": validation}
  storage.save_network(tmp_path / "teacher", {"params": {"head": head}}, note)
  make_model("mlp()", classes=3)
  setup = build.prepare(
    Experiment(
      data=Data(
        dataset=str(tmp_path / "bare.npz"),
        task="embedding(3)",
        validation=validation,
        images=images,
      ),
      teacher=Teacher(teacher_from=str(tmp_path / "teacher")),
      student=Student(model="mlp(2)", batch_size=8, epochs=1),
    )
  )
  assert not has_targets(setup.dataset)
  network = {"params": {"head": {k: v[None] for k, v in head.items()}}}
  pool = teachers.TeacherPool(
    (teachers.TrainedNetworks(setup.teacher, network),)
  )
  filled = with_targets(setup, pool)
  assert has_targets(filled.dataset)
  for split in (
    filled.dataset.train, filled.dataset.test, filled.train_split,
    filled.score_split,
  ):  # fmt: skip
    expected = split.images.reshape(len(split.images), 5) @ kernel
    np.testing.assert_allclose(split.labels, expected, rtol=1e-4, atol=1e-5)
  for loader in filled.student.loaders.values():
    np.testing.assert_array_equal(loader.targets, filled.train_split.labels)
  assert with_targets(filled, pool) is filled
