"""What a teacher cache says of itself, and whether that is what a run needs."""

import json
from pathlib import Path
from typing import Any

from kdjax.core.errors import StorageError, UserError
from kdjax.data.whole import first_line

FORMAT, VERSION = "kdjax teacher cache", 1
MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any]:
  """Reads what a cache says of itself."""
  path = folder / MANIFEST
  if not path.is_file():
    shards = any(folder.glob("shard-*")) if folder.is_dir() else False
    why = "it was not written to the end" if shards else "no manifest.json"
    raise UserError(f"there is no teacher cache in {folder}: {why}")
  try:
    manifest = json.loads(path.read_text())
    if manifest["format"] != FORMAT or manifest["version"] != VERSION:
      raise UserError(
        f"{path} is a {manifest['format']!r} of version {manifest['version']};"
        f" this program reads {FORMAT!r} of version {VERSION}"
      )
    _check_manifest(manifest)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise StorageError(f"{path} is damaged: {first_line(error)}") from error
  return manifest


def refuse_other(
  manifest: dict[str, Any],
  *,
  fingerprint: str,
  classes: int,
  views: dict[str, Any],
  digest: str | None = None,
  validation: float = 0.0,
) -> None:
  """Refuses a cache that was made for something else.

  Args:
    views: what the student is shown, as in the manifest.
    digest: of the teacher that the answers should come from; None for any.
    validation: share of the training images that are held out.
  """
  of = manifest["teacher"]
  pairs = [
    ("it was made from other training images", manifest["data"]["fingerprint"],
     fingerprint),
    ("its number of classes is another", manifest["classes"], classes),
    *(
      (f"--{flag} is another", manifest["views"][name], views[name])
      for flag, name in (
        ("augment", "view"), ("crop_size", "crop_size"), ("views", "count"),
        ("view_seed", "seed"),
      )
    ),
  ]  # fmt: skip
  if digest is not None:
    pairs.append(("it is of another teacher", of.get("digest"), digest))
  if validation and "validation" in of:
    pairs.append(
      (
        "its teacher may have seen what --validation holds out",
        of["validation"],
        validation,
      )
    )
  for problem, cached, expected in pairs:
    if cached != expected:
      raise UserError(
        f"--teacher_cache: {problem}: the cache has {_short(cached)}, this run"
        f" {_short(expected)}"
      )


def write_json(path: Path, value: Any) -> None:
  """Writes a file that is there whole or not at all."""
  partial = path.with_suffix(".partial_json")
  partial.write_text(json.dumps(value, indent=2) + "\n")
  partial.replace(path)


def _check_manifest(manifest: dict[str, Any]) -> None:
  """Raises KeyError, TypeError or ValueError for one that says too little."""
  views, data = manifest["views"], manifest["data"]
  numbers = [manifest["classes"], data["examples"], views["count"]]
  numbers += [shard["records"] for shard in manifest["shards"]]
  if not all(type(number) is int and number > 0 for number in numbers):
    raise ValueError("its counts must be whole numbers > 0")
  texts = [data["fingerprint"], views["view"], manifest["teacher"]["model"]]
  texts += [shard["sha256"] for shard in manifest["shards"]]
  texts += [shard["file"] for shard in manifest["shards"]]
  if not all(isinstance(text, str) for text in texts):
    raise TypeError("its names and hashes must be texts")
  for shard in manifest["shards"]:
    if Path(shard["file"]).name != shard["file"]:
      raise ValueError(f"{shard['file']!r} is not in the cache's folder")
  views["seed"], views["crop_size"]  # noqa: B018  (both must be there)


def _short(value: Any) -> str:
  text = str(value)
  return f"{text[:12]}..." if len(text) == 64 else repr(value)
