"""What a run ran on."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")


def describe(devices: list[jax.Device]) -> dict[str, Any]:
  """Describes what the run ran on.

  Args:
    devices: the devices used.

  Returns:
    Versions, devices, processor count and the state of the source.
  """
  versions = {name: importlib.metadata.version(name) for name in PACKAGES}
  return versions | {
    "python": platform.python_version(),
    "platform": platform.system() + " " + platform.machine(),
    "processors": os.cpu_count(),
    "devices": [
      f"{device.platform}:{device.device_kind}" for device in devices
    ],
    "git": _git_state(),
  }


def _git_state() -> str | None:
  """Returns the commit, with "+" if files differ from it; None outside of git."""
  folder = Path(__file__).parent

  def git(*arguments):
    return subprocess.run(
      ["git", *arguments],
      cwd=folder,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    return git("rev-parse", "HEAD") + (
      "+" if git("status", "--porcelain") else ""
    )
  except (OSError, subprocess.CalledProcessError):
    return None
