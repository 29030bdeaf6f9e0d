"""One run in several processes: they come together, agree, and end together.

Only process 0 writes and prints. The others compute the same things from the
same settings, and learn from process 0 what it alone can know.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

from kdjax.core.errors import (
  InfrastructureError,
  UserError,
  of_storage,
  program,
)
from kdjax.runner.config import Cluster
from kdjax.train.devices import watchdog
from kdjax.train.devices.watchdog import TOGETHER, Verdict, Watchdog

NOBODY = (
  "--multihost: no job of SLURM, Open MPI, Kubernetes or Cloud TPU was found; give"
  " --coordinator_address, --process_count and --process_index"
)
_ending = threading.Lock()


def join(settings: Cluster, identity: Any) -> None:
  """Meets the other processes of the run; without --multihost, does nothing.

  From then on whatever ends one of them ends all; see `leave`.
  """
  if not settings.multihost:
    return
  # What jax says of every process that comes and goes, but for errors.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  import jax

  # One that is lost must not abort the others: the watchdog ends them.
  jax.config.update("jax_enable_recoverability", True)
  # It would swallow SIGTERM, which `stopping` waits for.
  jax.config.update("jax_enable_preemption_service", False)
  _linger_when_aborted()
  # Outside of a training the others find one gone that is stopped.
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  waiting = threading.Timer(settings.init_timeout, _give_up, [settings])
  waiting.daemon = True
  waiting.start()
  try:
    jax.distributed.initialize(
      settings.coordinator_address,
      settings.process_count,
      settings.process_index,
      initialization_timeout=int(settings.init_timeout) + 60,
      heartbeat_timeout_seconds=int(2 * settings.heartbeat_timeout) + 30,
    )
    guard = Watchdog(
      _Board(),
      jax.process_index(),
      jax.process_count(),
      heartbeat_timeout=settings.heartbeat_timeout,
      step_timeout=settings.step_timeout,
    )
  except ValueError as error:
    raise UserError(f"{NOBODY} ({_first_line(error)})") from error
  except RuntimeError as error:
    raise InfrastructureError(
      f"the processes cannot meet: {_first_line(error)}"
    ) from error
  finally:
    waiting.cancel()
  watchdog.install(guard)
  guard.watch(_end)
  _compare(guard, identity, settings.init_timeout)


def failed(error: Exception) -> Verdict:
  """Judges an exception that nobody expected."""
  if full := of_storage(error):
    return Verdict(full.exit_status, str(full))
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
    return Verdict(70, "out of memory; lower --batch_size")
  if verdict := _explain(error):
    _end(verdict)
  if watchdog.active() is None:
    raise error
  traceback.print_exception(error)
  return Verdict(1, "")


def leave(verdict: Verdict) -> int:
  """Says what there is to say and, of several processes, ends this one."""
  guard = watchdog.active()
  if guard is not None:
    _end(verdict._replace(process=guard.process))
  if verdict.line:
    print(f"{program()}: {verdict.line}", file=sys.stderr)
  return verdict.status


class _Board:
  """The store of jax's coordinator, which any process can write and read."""

  def __init__(self):
    # There is no public way to it; orbax and multihost_utils use this one.
    from jax._src import distributed

    self._client = distributed.global_state.client
    host, _, port = distributed.global_state.coordinator_address.rpartition(":")
    self._address = host.strip("[]"), int(port)

  def write(self, key: str, value: str) -> None:
    self._client.key_value_set(key, value, allow_overwrite=True)

  def read(self, folder: str) -> dict[str, str]:
    pairs = self._client.key_value_dir_get(folder)
    return {key.rpartition("/")[2]: value for key, value in pairs}

  def answers(self) -> bool:
    try:
      socket.create_connection(self._address, timeout=5).close()
    except OSError:
      return False
    return True

  def wait_for(self, key: str, seconds: float) -> str:
    return self._client.blocking_key_value_get(key, int(1000 * seconds))


def _compare(guard: Watchdog, identity: Any, seconds: float) -> None:
  """Refuses to train with a process that was asked for something else."""
  text = json.dumps(identity, sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()
  board = _Board()
  board.write(f"kdjax/identity/{guard.process}", digest)
  # Each with the first, and the first with each, before it touches the folder.
  others = (0,) if guard.process else range(1, guard.count)
  for other in others:
    if board.wait_for(f"kdjax/identity/{other}", seconds) != digest:
      pair = max(guard.process, other)
      raise UserError(
        f"--multihost: processes 0 and {pair} were given different settings or"
        " other --plugins"
      )


def _end(verdict: Verdict) -> None:
  """Ends this process, once those that need it have ended."""
  # The one that comes second waits here until the first one ends both.
  _ending.acquire()
  guard = watchdog.active()
  is_own = verdict.process == guard.process
  if is_own and guard.process:
    verdict = _after_the_first(guard, verdict)
  # Where the board is gone this would wait until the process is aborted.
  saying = threading.Thread(target=guard.end, args=[verdict], daemon=True)
  saying.start()
  saying.join(2)
  if verdict.line and (is_own or verdict.process is None or not guard.process):
    by = f"process {verdict.process}: " if verdict.process else ""
    print(f"{program()}: {by}{verdict.line}", file=sys.stderr)
  if guard.process == 0:
    # The board goes with process 0: all must have read it.
    deadline = time.monotonic() + 10
    while len(guard.ends) < guard.count and time.monotonic() < deadline:
      if len(guard.ends) + len(guard.silent(4 * guard.period)) >= guard.count:
        break
      time.sleep(0.1)
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
  # The interpreter's own end would wait for the others, or abort.
  os._exit(verdict.status)


def _after_the_first(guard: Watchdog, verdict: Verdict) -> Verdict:
  """Ends as process 0 does, which may still be writing; all may say the same."""
  patient = verdict.status in TOGETHER
  deadline = time.monotonic() + 2 * guard.period
  while patient or time.monotonic() < deadline:
    if first := guard.ends.get(0):
      same = patient or first.status == verdict.status
      return Verdict(first.status, "") if same else verdict
    if patient and (other := guard.judge()):
      return other
    time.sleep(guard.period / 8)
  return verdict


def _explain(error: BaseException) -> Verdict | None:
  """Says whose end an exception is due to; None where it is this process's."""
  guard = watchdog.active()
  if guard is None or not isinstance(error, RuntimeError | ValueError):
    return None
  # A lost process is silent from now on: a few beats will show it.
  deadline = time.monotonic() + 6 * guard.period
  while time.monotonic() < deadline:
    if verdict := guard.judge(4 * guard.period):
      return verdict
    time.sleep(guard.period / 4)
  return None


def _give_up(settings: Cluster) -> None:
  where = settings.coordinator_address or "the address that was found"
  print(
    f"{program()}: not all processes came to {where} within"
    f" --init_timeout={settings.init_timeout:g} seconds",
    file=sys.stderr,
    flush=True,
  )
  os._exit(InfrastructureError.exit_status)


def _linger_when_aborted() -> None:
  """Lets the watchdog speak before jax aborts a process without its coordinator.

  The handler of SIGABRT is C's sleep: called with the signal's number, it holds
  the thread that aborts for six seconds, and leaves all others alone.
  """
  import ctypes

  library = ctypes.CDLL(None)
  library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
  library.signal.restype = ctypes.c_void_p
  handler = ctypes.cast(library.sleep, ctypes.c_void_p)
  library.signal(signal.SIGABRT, handler)


def _first_line(error: BaseException) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
