"""What jax must be told before it wakes; imports nothing that wakes it."""

import hashlib
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

from kdjax.core.errors import UserError, program

CACHE = "JAX_COMPILATION_CACHE_DIR"
_ORDER = "--xla_cpu_scheduler_type"


def prepare_environment(accelerator: str, host_devices: int) -> None:
  """Sets the environment that jax reads when it is first used.

  Whether a GPU or TPU is there, jax alone knows: `devices.choose` checks it.
  """
  if host_devices > 1 and accelerator not in ("auto", "cpu"):
    raise UserError(
      f"--host_devices={host_devices} splits the CPU; it does not go with"
      f" --accelerator={accelerator}"
    )
  if accelerator == "cpu" or host_devices > 1:
    os.environ["JAX_PLATFORMS"] = "cpu"
  if host_devices > 1:
    _add_flag(f"--xla_force_host_platform_device_count={host_devices}")
    # Fewer threads than devices dead-lock in the collectives' rendezvous.
    os.environ.setdefault("NPROC", str(max(32, 4 * host_devices)))


def order_for_memory(remat: bool) -> None:
  """Lets processors order programs for memory where `--remat` asks for less.

  In XLA's own order, which is for concurrency, what is computed again is there long
  before it is needed. Other devices have no such choice.
  """
  if remat and _ORDER not in os.environ.get("XLA_FLAGS", ""):
    _add_flag(f"{_ORDER}=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED")


def _add_flag(flag: str) -> None:
  flags = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()


def keep_programs(cache: str | None) -> None:
  """Lets jax keep compiled programs from one start to the next.

  What it keeps is the machine's code: the default folder has a part for every
  kind of processor, for homes that several machines share.

  Args:
    cache: a folder; "none" for none; None for what the environment says, and
      else kdjax's folder below the user's cache.
  """
  if cache == "none":
    os.environ.pop(CACHE, None)
    return
  if cache is not None:
    folder = Path(cache).expanduser()
  elif os.environ.get(CACHE):
    return
  else:
    folder = _user_cache() / "kdjax" / "jax" / _processor()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    os.environ.pop(CACHE, None)
    print(
      f"{program()}: {folder} cannot be written ({error.strerror or error}):"
      " programs are compiled anew at every start; --compilation_cache=DIR keeps"
      " them elsewhere, --compilation_cache=none does without",
      file=sys.stderr,
    )
    return
  os.environ[CACHE] = str(folder.absolute())
  # A run has dozens of programs that take tenths of a second.
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
  # Whoever reads what another process has half written compiles it anew.
  warnings.filterwarnings(
    "ignore", "Error (reading|writing) persistent compilation cache entry"
  )


def _user_cache() -> Path:
  # What is not absolute does not count, says the XDG specification.
  folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
  return folder if folder.is_absolute() else Path("~").expanduser() / ".cache"


def _processor() -> str:
  """A name for what programs can be compiled for."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  kinds = ("model name", "flags", "Features")
  features = sorted({line for line in lines if line.startswith(kinds)})
  code = hashlib.sha256("\n".join([platform.platform(), *features]).encode())
  return f"{platform.machine()}-{code.hexdigest()[:12]}"
