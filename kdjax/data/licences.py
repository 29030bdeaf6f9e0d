"""Under which licence a data set is, where that is known."""

from pathlib import Path

from kdjax.data.registry import MAKERS
from kdjax.data.tfds_folder import default_data_dir
from kdjax.data.whole import INFO_FILE

_MNIST = (
  "CC BY-SA 3.0 (MNIST; copyright Yann LeCun and Corinna Cortes, derived from"
  " data of NIST)"
)
KNOWN = {
  "mnist5k": _MNIST,
  "mnist": _MNIST,
  "cluttered_digits": _MNIST,
  "digits": "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
}


def licence(name: str, data_dir: str | None = None) -> str | None:
  """Returns the licence of a data set that `load` has opened.

  Returns:
    In words, as whoever prepared the set has noted them; None where nobody did.

  Example:
    >>> licence("digits")[:9]
    'CC BY 4.0'
  """
  if name in KNOWN:
    return KNOWN[name]
  if name in MAKERS:
    return None
  import tensorflow_datasets as tfds

  from kdjax.data.tfds_source import obtain_builder

  directory = Path(name).expanduser()
  if (directory / INFO_FILE).is_file():
    builder = tfds.builder_from_directory(str(directory))
  elif directory.exists() or "(" in name:
    return None
  else:
    builder = obtain_builder(name, data_dir or default_data_dir())
  return builder.info.redistribution_info.license or None
