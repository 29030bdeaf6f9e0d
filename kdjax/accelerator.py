"""What jax must be told before it wakes; imports nothing that wakes it."""

import os

from kdjax.errors import UserError


def prepare_environment(accelerator: str, host_devices: int) -> None:
  """Sets the environment that jax reads when it is first used.

  Whether a GPU or TPU is there, jax alone knows: `devices.choose` checks it.

  Args:
    accelerator: "auto", "cpu", "gpu" or "tpu".
    host_devices: how many devices the CPU is to be split into.

  Raises:
    UserError: if the CPU is to be split for another accelerator.
  """
  if host_devices > 1 and accelerator not in ("auto", "cpu"):
    raise UserError(
      f"--host_devices={host_devices} splits the CPU; it does not go with"
      f" --accelerator={accelerator}"
    )
  if accelerator == "cpu" or host_devices > 1:
    os.environ["JAX_PLATFORMS"] = "cpu"
  if host_devices > 1:
    force = f"--xla_force_host_platform_device_count={host_devices}"
    os.environ["XLA_FLAGS"] = (
      f"{os.environ.get('XLA_FLAGS', '')} {force}".strip()
    )
    # Fewer threads than devices dead-lock in the collectives' rendezvous.
    os.environ.setdefault("NPROC", str(max(32, 4 * host_devices)))
