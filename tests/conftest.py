"""Eight CPU devices, strict ranks and a compilation cache, before jax wakes."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parent.parent

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
# Fewer threads than devices dead-lock in the collectives' rendezvous.
os.environ["NPROC"] = "32"

import jax  # noqa: E402  (the environment above must come first)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
