"""The folder that holds all that one run writes."""

import datetime
import os
from pathlib import Path

from kdjax.errors import UserError

LOCK = "run.lock"


def claim(given: str | None, name: str) -> Path:
  """Makes the folder of a run, and makes sure that no other run has it.

  Args:
    given: `--workdir`; None for a new folder below runs/.
    name: the experiment's name.

  Returns:
    The folder: new, or empty before.

  Raises:
    UserError: if it holds anything already, or cannot be written.
  """
  stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
  folder = (
    Path(given).expanduser() if given else Path("runs") / f"{name}-{stamp}"
  )
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
      raise UserError(
        f"--workdir={folder} holds files already; nothing was overwritten. Give a"
        " new folder, or remove this one"
      )
    # Of two runs that start at once, one creates the file and one fails.
    with open(folder / LOCK, "x") as lock:
      lock.write(f"{os.getpid()}\n")
  except FileExistsError:
    raise UserError(f"--workdir={folder} is in use or no folder") from None
  except OSError as error:
    raise UserError(
      f"--workdir={folder} cannot be written: {error.strerror or error}"
    ) from None
  return folder
