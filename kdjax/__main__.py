"""`python -m kdjax`, and the command `kdjax` of an installation."""

import sys


def main() -> int:
  """Runs the command line; returns the exit status."""
  try:
    from kdjax.runner.main import main as run
  except ModuleNotFoundError as error:  # `pip install .` is the losses alone
    reason = f"{error.name} is not installed; pip install 'kdjax[run]'"
    print(
      f"kdjax: the runner needs more than the losses: {reason}", file=sys.stderr
    )
    return 2
  return run(sys.argv)


if __name__ == "__main__":
  sys.exit(main())
