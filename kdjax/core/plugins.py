"""The user's own files: imported, they register networks, data sets, methods, ..."""

import difflib
import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from kdjax.core.errors import KdjaxError, UserError

# sha256 by file, of all that was imported in this process.
_DIGESTS: dict[str, str] = {}


def load(text: str) -> list[ModuleType]:
  """Imports Python files and modules, so that they can register themselves.

  Args:
    text: such as "mine.py" or "mine.py,package.module". A file can import those
      beside it, where no installed module has their names.

  Returns:
    The modules that are named; `digests` has their files.

  Raises:
    UserError: for a file or module that is not there or cannot be imported;
      names the line.
  """
  names = [name.strip() for name in text.split(",")]
  if not all(names):
    raise UserError(
      f"--plugins={text}: give FILE.py or a module, several with commas"
    )
  modules = []
  for name in names:
    folder = _prepare_file(name) if name.endswith(".py") else None
    module = Path(name).stem if folder else name
    before = set(sys.modules)
    try:
      importlib.import_module(module)
    # A program that is not meant to be imported may end itself.
    except (Exception, SystemExit) as error:
      raise UserError(f"--plugins={name}: {_cause(error, name)}") from error
    if getattr(sys.modules[module], "__file__", None) is None:
      raise UserError(f"--plugins={name}: no Python file has this name")
    for one in {module, *(sys.modules.keys() - before)}:
      _keep_digest(one, module, folder)
    modules.append(sys.modules[module])
  return modules


def digests() -> dict[str, str]:
  """Returns the sha256 of each file that was imported, by name.

  Of the modules that a plugin imports itself, those count that stand in its
  folder or belong to its package.

  Example:
    >>> digests()
    {}
  """
  return dict(_DIGESTS)


def _prepare_file(name: str) -> Path:
  """Lets a file be imported by its name, also in processes that are spawned."""
  path = Path(name).expanduser().resolve()
  if not path.is_file():
    # Without the endings, which all share.
    files = [file.stem for file in path.parent.glob("*.py")]
    near = difflib.get_close_matches(path.stem, files, n=1)
    hint = f"; did you mean {near[0] + '.py'!r}?" if near else ""
    raise UserError(f"--plugins={name}: there is no such file{hint}")
  if str(path.parent) not in sys.path:
    # Last: nothing in the folder can stand for a module that is installed.
    sys.path.append(str(path.parent))
  importlib.invalidate_caches()
  try:
    origin = importlib.util.find_spec(path.stem).origin
  except (AttributeError, ImportError, ValueError):  # no module by such a name
    origin = None
  if origin is None or Path(origin).resolve() != path:
    raise UserError(
      f"--plugins={name}: {path.stem!r} is a module already, or no name of one;"
      " give the file another name"
    )
  return path.parent


def _keep_digest(name: str, plugin: str, folder: Path | None) -> None:
  """Notes a module that came with a plugin, if it is the user's own."""
  file = Path(getattr(sys.modules[name], "__file__", None) or "")
  top = name.partition(".")[0]
  beside = folder and file.is_relative_to(folder) and top != "kdjax"
  beside = beside and "site-packages" not in file.parts
  if not file.is_file() or not (beside or top == plugin.partition(".")[0]):
    return
  end = "/__init__" * (file.stem == "__init__") + file.suffix
  digest = hashlib.sha256(file.read_bytes()).hexdigest()
  # What was imported before is not imported anew.
  _DIGESTS.setdefault(name.replace(".", "/") + end, digest)


def _cause(error: BaseException, name: str) -> str:
  """Says in one line where a plugin failed, and why."""
  text = (str(error).splitlines() or [""])[0]
  if isinstance(error, SyntaxError):
    file, line, text = error.filename, error.lineno, error.msg
  else:
    frames = [
      (frame.filename, frame.lineno)
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    file, line = frames[0] if frames else (None, None)
  if isinstance(error, SystemExit):
    text = "it ends the program; what does so belongs below __main__"
  elif not isinstance(
    error, ImportError | SyntaxError | ValueError | KdjaxError
  ):
    text = f"{type(error).__name__}: {text}"
  elif line is None and Path(f"{name}.py").is_file():
    text += f"; did you mean --plugins={name}.py?"
  if line is None:
    return text
  place = "" if Path(file).name == Path(name).name else f"{file}, "
  return f"{place}line {line}: {text}"
