"""Read or change the features of any module by path, without editing it.

`tapped` reads, `edited` changes, `describe` lists what there is; `select` and
`pick` find features among those read. The grammar is in `kdjax.taps.grammar`.
"""

from kdjax.taps.grammar import Tap, TapError, parse_tap, pick, select
from kdjax.taps.linen import COLLECTION, Row, describe, edited, tapped

__all__ = [
  "COLLECTION",
  "Row",
  "Tap",
  "TapError",
  "describe",
  "edited",
  "parse_tap",
  "pick",
  "select",
  "tapped",
]
