"""What `pip install .` gives: the package, its data, and losses that stand alone."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
CHECK = """
import sys
import kdjax.losses
heavy = {"flax", "optax", "tensorflow_datasets", "orbax", "matplotlib", "absl"}
assert not heavy & {name.split(".")[0] for name in sys.modules}
print(kdjax.__file__)
"""


@pytest.mark.slow
def test_installed_losses_stand_alone(tmp_path):
  target = tmp_path / "site"
  subprocess.run(
    [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target",
     target, "."],
    cwd=ROOT,
    check=True,
  )  # fmt: skip
  done = subprocess.run(
    [sys.executable, "-c", CHECK],
    cwd=tmp_path,
    env={"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.startswith(str(target))
  assert (target / "kdjax/runner/report/page.html.jinja").exists()
  assert (target / "kdjax/runner/report/page.css").exists()
  assert not (target / "tests").exists()
