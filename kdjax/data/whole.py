"""Whether a data set that TFDS has prepared is whole, and what to do if not."""

import os
from pathlib import Path
from typing import Any

from kdjax.core.errors import UserError

INFO_FILE = "dataset_info.json"


def refuse_half_prepared(directory: Path) -> None:
  """Checks that a data set's directory was finished."""
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
  """
  from array_record.python import array_record_module

  for instruction in builder.info.splits[split].file_instructions:
    path, expected_rows = instruction.filename, instruction.examples_in_shard
    try:
      reader = array_record_module.ArrayRecordReader(os.fspath(path))
      rows = reader.num_records()
      reader.close()
    except (OSError, RuntimeError, ValueError) as error:
      raise UserError(
        f"{where}: cannot read {path} ({first_line(error)});"
        f" {how_to_prepare(builder)}"
      ) from error
    if rows != expected_rows:
      raise UserError(
        f"{where}: {path} holds {rows} rows, but {INFO_FILE} promises"
        f" {expected_rows}; {how_to_prepare(builder)}"
      )


def how_to_prepare(builder: Any) -> str:
  """Says how to prepare a damaged data set anew."""
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

  Returns:
    Its type and the first line of its message, cut at 200 characters.
  """
  text = str(error).strip().splitlines()
  return f"{type(error).__name__}: {text[0][:200]}" if text else repr(error)
