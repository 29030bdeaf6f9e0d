"""What a run ran on."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from kdjax import __version__

# All that requirements.txt asks for, but for the tests' own.
PACKAGES = (
  "jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint", "chex",
  "absl-py", "scipy", "tensorflow-datasets", "array_record",
  "importlib_resources", "grain", "pillow", "mlxtend", "scikit-learn",
  "safetensors", "qwix", "onnx", "onnx-ir", "onnxruntime", "rich",
  "matplotlib", "jinja2", "tensorboardX", "gguf", "pyarrow", "tokenizers",
)  # fmt: skip


def describe(devices: list[jax.Device]) -> dict[str, Any]:
  """Says what ran: versions, devices, processors and the state of the source.

  Args:
    devices: those that were computed on.
  """
  return {name: _version(name) for name in PACKAGES} | {
    "python": platform.python_version(),
    "platform": platform.system() + " " + platform.machine(),
    "processor": _processor(),
    "processors": os.cpu_count(),
    "devices": [
      f"{device.platform}:{device.device_kind}" for device in devices
    ],
    "kdjax": __version__,
    "git": git_state(Path(__file__)),
  }


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _processor() -> str | None:
  """The processor's model; float sums depend on its vector units."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor() or None
  names = [line.partition(":")[2] for line in lines if "model name" in line]
  return names[0].strip() if names else platform.processor() or None


def git_state(file: Path) -> str | None:
  """Returns a file's commit, with "+" if files differ; None outside of git.

  An installation may lie in the folder of a repository that is not ours.
  """

  def git(*arguments):
    return subprocess.run(
      ["git", *arguments],
      cwd=file.parent,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    git("ls-files", "--error-unmatch", file.name)
    return git("rev-parse", "HEAD") + (
      "+" if git("status", "--porcelain") else ""
    )
  except (OSError, subprocess.CalledProcessError):
    return None
