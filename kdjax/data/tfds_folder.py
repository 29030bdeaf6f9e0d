"""Data sets that TFDS has prepared on disk: where they are, making ours."""

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kdjax.core.errors import StorageError
from kdjax.data.whole import INFO_FILE, refuse_half_prepared


def default_data_dir() -> str:
  """Returns where TFDS keeps data sets: $TFDS_DATA_DIR or its own default."""
  return os.environ.get(
    "TFDS_DATA_DIR", os.path.join(Path.home(), "tensorflow_datasets")
  )


def prepared_names(data_dir: str | None = None) -> tuple[str, ...]:
  """Lists the data sets that are prepared in a directory.

  Returns:
    Names as `load` takes them, `name:version` or `name/config:version`, sorted.
  """
  root = Path(data_dir or default_data_dir()).expanduser()
  datasets = []
  for depth in ("*/*", "*/*/*"):
    for info in root.glob(f"{depth}/{INFO_FILE}"):
      *names, version = info.parent.relative_to(root).parts
      if version[:1].isdigit():
        datasets.append(f"{'/'.join(names)}:{version}")
  return tuple(sorted(datasets))


def prepare_embedded(builder_class: Any, data_dir: str) -> Path:
  """Prepares a data set that needs no download, unless it is there.

  TFDS renames a temporary directory at the end, under a name drawn from the
  global random generator: two processes with one seed would write into the
  same files. So each call prepares in a directory of its own, and the first to
  finish wins.

  Returns:
    The directory that holds the prepared data.
  """
  root = Path(data_dir).expanduser()
  name, version = builder_class.name, str(builder_class.VERSION)
  target = root / name / version
  if target.exists():
    refuse_half_prepared(target)
    return target
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"incomplete.{name}.", dir=root))
  except OSError as error:
    raise StorageError(
      f"cannot prepare {name} in {root}: {error.strerror}; --data_dir=DIR"
      " chooses another directory"
    ) from error
  try:
    # Two seconds of TFDS's messages and progress bars would say nothing.
    with (
      contextlib.redirect_stdout(io.StringIO()),
      contextlib.redirect_stderr(io.StringIO()),
    ):
      builder_class(data_dir=str(folder)).download_and_prepare(
        file_format="array_record"
      )
    with contextlib.suppress(OSError):  # another process was faster
      (folder / name / version).rename(target)
  except OSError as error:
    raise StorageError(f"cannot prepare {name} in {root}: {error}") from error
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  refuse_half_prepared(target)
  return target
