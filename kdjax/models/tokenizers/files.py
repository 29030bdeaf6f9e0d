"""Tokenizers out of the files of a Hugging Face folder, and back into one."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from kdjax.core.errors import UserError
from kdjax.models.tokenizers.tokenizer import Tokenizer

WHOLE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
# What belongs to a tokenizer: read where it is there, and written back as it is.
FILES = (
  WHOLE, CONFIG, TEMPLATE, GENERATION, "special_tokens_map.json",
  "added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
_NAMES = (
  "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
  "mask_token",
)  # fmt: skip


def tokenizer_of_folder(folder: pathlib.Path) -> Tokenizer | None:
  """Reads the tokenizer in a folder of a model.

  Args:
    folder: of Hugging Face's form. Its tokenizer.json says how texts are cut,
      tokenizer_config.json which tokens begin and end them, generation_config.json
      (or config.json) which others end them, chat_template.jinja or
      tokenizer_config.json how messages are written.

  Returns:
    The tokenizer; None where there is no tokenizer.json.

  Raises:
    UserError: for files that cannot be read.
  """
  folder = pathlib.Path(folder)
  if not (folder / WHOLE).is_file():
    return None
  files = {
    name: (folder / name).read_bytes()
    for name in FILES
    if (folder / name).is_file()
  }
  config = folder / "config.json"
  network = _json(config.read_bytes(), config) if config.is_file() else {}
  return tokenizer_of_files(files, str(folder), network=network)


def tokenizer_of_files(
  files: Mapping[str, bytes],
  where: str,
  *,
  network: Mapping[str, Any] | None = None,
) -> Tokenizer:
  """Makes a tokenizer out of its files.

  Args:
    files: by name, as a folder holds them.
    where: how messages begin.
    network: what config.json says, for ids that no other file names.

  Returns:
    The tokenizer.

  Raises:
    UserError: if tokenizers is not installed, or if a file cannot be read.
  """
  read = lambda name: _json(files.get(name, b"{}"), f"{where}/{name}")  # noqa: E731
  config, generation, network = read(CONFIG), read(GENERATION), network or {}
  backend = _backend(files[WHOLE], where)
  _add_tokens(backend, config.get("added_tokens_decoder") or {}, where)
  names = _special_names(read("special_tokens_map.json") | config)
  of_name = {name: backend.token_to_id(text) for name, text in names.items()}
  ids_of = lambda name: _ids(generation.get(name, network.get(name)))  # noqa: E731
  bos = [of_name.get("bos_token"), *ids_of("bos_token_id")]
  eos = [of_name.get("eos_token"), *ids_of("eos_token_id")]
  pad = [of_name.get("pad_token"), *ids_of("pad_token_id")]
  bos, eos, pad = (_distinct(ids) for ids in (bos, eos, pad))
  added = backend.get_added_tokens_decoder()
  special = {one for one, token in added.items() if token.special}
  prefix, suffix = _around(backend, config, bos[:1], eos[:1])
  return Tokenizer(
    backend=backend,
    prefix=prefix,
    suffix=suffix,
    bos=bos[0] if bos else None,
    eos=eos,
    pad=[*pad, *eos, 0][0],
    special=frozenset(special) | set(eos) | set(prefix),
    names=names,
    chat_template=_template(files, config, where),
    files=dict(files),
  )


def save_tokenizer(folder: pathlib.Path, tokenizer: Tokenizer) -> None:
  """Writes a tokenizer's files, byte for byte as they were read.

  Args:
    folder: is there; what it holds under these names is overwritten.
  """
  for name, data in tokenizer.files.items():
    (pathlib.Path(folder) / name).write_bytes(data)


def import_tokenizers() -> Any:
  """Imports the package tokenizers, or says how to install it."""
  try:
    import tokenizers
  except ImportError:
    raise UserError(
      "tokens need the package tokenizers; run: pip install 'kdjax[lm]'"
    ) from None
  return tokenizers


def _backend(data: bytes, where: str):
  tokenizers = import_tokenizers()
  try:
    backend = tokenizers.Tokenizer.from_buffer(data)
  except Exception as error:  # the package has no class of errors of its own
    reason = (str(error).strip().splitlines() or [""])[0]
    raise UserError(f"{where}/{WHOLE} cannot be read: {reason[:200]}") from None
  # Rows are cut and filled up where that is counted.
  backend.no_truncation()
  backend.no_padding()
  return backend


def _add_tokens(backend: Any, added: Mapping[str, Any], where: str) -> None:
  """Adds tokens that tokenizer_config.json alone knows, under their numbers."""
  flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
  for number, token in sorted(added.items(), key=lambda entry: int(entry[0])):
    text = token["content"]
    if backend.token_to_id(text) is None:
      settings = {name: token[name] for name in flags if name in token}
      make = import_tokenizers().AddedToken
      backend.add_tokens([make(text, **settings)])
    if backend.token_to_id(text) != int(number):
      raise UserError(
        f"{where}: {text!r} is token {number} in {CONFIG}, and"
        f" {backend.token_to_id(text)} in {WHOLE}"
      )


def _around(
  backend: Any,
  config: Mapping[str, Any],
  bos: tuple[int, ...],
  eos: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Finds out what stands around a text, and has the backend leave it away.

  tokenizer_config.json's word counts before that of tokenizer.json. With its own
  step the backend would also cut the spaces off the tokens' places.
  """
  whole = backend.encode("a").ids
  backend.post_processor = None
  if "add_bos_token" in config or "add_eos_token" in config:
    return (
      bos if config.get("add_bos_token") else (),
      eos if config.get("add_eos_token") else (),
    )
  inner = backend.encode("a").ids
  for start in range(len(whole) - len(inner) + 1):
    if whole[start : start + len(inner)] == inner:
      return tuple(whole[:start]), tuple(whole[start + len(inner) :])
  return (), ()


def _special_names(config: Mapping[str, Any]) -> dict[str, str]:
  """What the special tokens are called: a text, or an object with its content."""
  names = {}
  for name in _NAMES:
    token = config.get(name)
    token = token.get("content") if isinstance(token, Mapping) else token
    if isinstance(token, str):
      names[name] = token
  return names


def _template(
  files: Mapping[str, bytes], config: Mapping[str, Any], where: str
) -> str | None:
  if TEMPLATE in files:
    return files[TEMPLATE].decode("utf-8", "replace")
  template = config.get("chat_template")
  if isinstance(template, list):  # several, by name
    template = {
      one.get("name"): one.get("template")
      for one in template
      if isinstance(one, Mapping)
    }.get("default")
  if not isinstance(template, str | None):
    raise UserError(f"{where}/{CONFIG}: chat_template is no text")
  return template


def _json(data: bytes, where: Any) -> dict[str, Any]:
  try:
    read = json.loads(data)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{where} is no JSON: {error}") from None
  if not isinstance(read, dict):
    raise UserError(f"{where} is no JSON object")
  return read


def _ids(value: Any) -> list[int]:
  """An id, a list of them, or none."""
  values = value if isinstance(value, list) else [value]
  return [one for one in values if type(one) is int]


def _distinct(ids: Iterable[int | None]) -> tuple[int, ...]:
  return tuple(dict.fromkeys(one for one in ids if one is not None))
