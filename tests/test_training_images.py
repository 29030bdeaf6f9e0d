"""Transfer sets, mixing and views of one's own, from the launcher to results."""

import json

import numpy as np
import pytest

import launch

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = (
  "--dataset=digits", "--teacher=mlp(16)", "--student=mlp(8)", "--epochs=2",
  "--teacher_epochs=1", "--seeds=2", "--batch_size=64",
  "--teacher_batch_size=64", "--distillation=kd:1", "--reference=kd:1",
)  # fmt: skip
IMAGES = {
  "other images": ("--transfer_dataset=photo_patches(90)",),
  "streamed": (
    "--transfer_dataset=photo_patches(90)",
    "--resident_megabytes=0",
  ),
  "function matching": (
    "--augment=shift(1) + mixup",
    "--reference_augment=none",
    "--distillation=kd:0.5 + ce:0.5",
  ),
  "different views": (
    "--augment=shift(1) + cutmix",
    "--teacher_view=none",
    "--shuffled_teacher",
  ),
}


@pytest.fixture
def distil(tmp_path):
  """distil(name, *arguments) -> what results.json says."""

  def distil(name, *arguments):
    workdir = tmp_path / name
    given = [*TINY, *arguments, f"--workdir={workdir}"]
    assert launch.main(["launch.py", *given]) == 0
    return json.loads((workdir / "results.json").read_text())

  return distil


@pytest.mark.slow
@pytest.mark.parametrize("name", [x for x in IMAGES if x != "streamed"])
def test_kinds_of_training_images_run(distil, name, bare_runs):
  found = distil("run", *IMAGES[name])
  assert {"label_smoothing", "reference"} <= set(found["controls"])
  assert np.isfinite(found["student"]["negative_log_likelihood"]).all()
  assert all(one["pairs"] == 2 for one in found["comparisons"])


@pytest.mark.slow
def test_streamed_transfer_sets_teach_the_same(distil, bare_runs):
  """Stored answers of resident images, live ones of streamed images."""
  one, other = (distil(name, *IMAGES[name]) for name in list(IMAGES)[:2])
  for arm in ("student", "baseline"):
    np.testing.assert_allclose(
      one[arm]["negative_log_likelihood"],
      other[arm]["negative_log_likelihood"],
      rtol=1e-4,
    )
