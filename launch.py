"""The runner from a clone: `python launch.py` is what an installation calls `kdjax`."""

import sys

from kdjax.runner.main import main

if __name__ == "__main__":
  sys.exit(main(sys.argv))
