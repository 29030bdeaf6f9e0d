"""Data sets that TFDS has prepared on disk: where they are, whether whole."""

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kdjax.errors import StorageError, UserError

INFO_FILE = "dataset_info.json"


def default_data_dir() -> str:
  """Returns where TFDS keeps data sets: $TFDS_DATA_DIR or its own default."""
  return os.environ.get(
    "TFDS_DATA_DIR", os.path.join(Path.home(), "tensorflow_datasets")
  )


def prepared(data_dir: str | None = None) -> tuple[str, ...]:
  """Lists the data sets that are prepared in a directory.

  Args:
    data_dir: default `default_data_dir()`.

  Returns:
    Names as `load` takes them, `name:version` or `name/config:version`, sorted.
  """
  root = Path(data_dir or default_data_dir()).expanduser()
  found = []
  for depth in ("*/*", "*/*/*"):
    for info in root.glob(f"{depth}/{INFO_FILE}"):
      *names, version = info.parent.relative_to(root).parts
      if version[:1].isdigit():
        found.append(f"{'/'.join(names)}:{version}")
  return tuple(sorted(found))


def prepare_embedded(builder_class: Any, data_dir: str) -> Path:
  """Prepares a data set that needs no download, unless it is there.

  TFDS renames a temporary directory at the end, under a name drawn from the
  global random generator: two processes with one seed would write into the
  same files. So each call prepares in a directory of its own, and the first to
  finish wins.

  Args:
    builder_class: a TFDS builder class without configurations.
    data_dir: as in `load`.

  Returns:
    The directory that holds the prepared data.

  Raises:
    UserError: if a half prepared directory is in the way.
    StorageError: if the directory cannot be written.
  """
  root = Path(data_dir).expanduser()
  name, version = builder_class.name, str(builder_class.VERSION)
  target = root / name / version
  if target.exists():
    refuse_half_prepared(target)
    return target
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=f"incomplete.{name}.", dir=root))
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
      builder_class(data_dir=str(own)).download_and_prepare(
        file_format="array_record"
      )
    with contextlib.suppress(OSError):  # another process was faster
      (own / name / version).rename(target)
  except OSError as error:
    raise StorageError(f"cannot prepare {name} in {root}: {error}") from error
  finally:
    shutil.rmtree(own, ignore_errors=True)
  refuse_half_prepared(target)
  return target


def refuse_half_prepared(directory: Path) -> None:
  """Checks that a data set's directory was finished.

  Args:
    directory: the version directory, `.../name/version`.

  Raises:
    UserError: if its description is missing; says what to remove.
  """
  if not (directory / INFO_FILE).is_file():
    raise UserError(
      f"{directory} is half prepared: it has no {INFO_FILE}; remove it"
      f" (rm -r {directory}) and run again"
    )


def verify_rows(builder: Any, split: str, where: str) -> None:
  """Counts the rows in the files that a split is read from.

  TFDS trusts its own description: a file that was cut short or swapped would
  otherwise show as a crash much later, or as fewer examples.

  Args:
    builder: a TFDS builder whose data is prepared as array_record.
    split: a split or a slice of one.
    where: name for messages.

  Raises:
    UserError: with the promised and the found number of rows.
  """
  from array_record.python import array_record_module

  for instruction in builder.info.splits[split].file_instructions:
    path, promised = instruction.filename, instruction.examples_in_shard
    try:
      reader = array_record_module.ArrayRecordReader(os.fspath(path))
      found = reader.num_records()
      reader.close()
    except (OSError, RuntimeError, ValueError) as error:
      raise UserError(
        f"{where}: cannot read {path} ({first_line(error)});"
        f" {how_to_prepare(builder)}"
      ) from error
    if found != promised:
      raise UserError(
        f"{where}: {path} holds {found} rows, but {INFO_FILE} promises"
        f" {promised}; {how_to_prepare(builder)}"
      )


def how_to_prepare(builder: Any) -> str:
  """Says how to prepare a damaged data set anew.

  Args:
    builder: a TFDS builder.

  Returns:
    A clause with the command.
  """
  remove = f"prepare it anew: rm -r {builder.data_path}"
  if not builder.name or builder.name in ("mnist5k", "digits"):
    return f"{remove} and run again"
  config = f"/{builder.builder_config.name}" if builder.builder_config else ""
  return (
    f"{remove}; tfds build {builder.name}{config}"
    f" --file_format=array_record --data_dir={builder.data_dir_root}"
  )


def first_line(error: BaseException) -> str:
  """Puts an error into one short line.

  Args:
    error: any exception.

  Returns:
    Its type and the first line of its message, cut at 200 characters.
  """
  text = str(error).strip().splitlines()
  return f"{type(error).__name__}: {text[0][:200]}" if text else repr(error)
