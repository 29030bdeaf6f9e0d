"""The command line as a program: how it ends when nobody reads what it says."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  ("words", "errors"),
  [
    (["--help"], subprocess.PIPE),
    (["--help"], subprocess.STDOUT),
    *(
      pytest.param(["list", "experiments"], errors, marks=pytest.mark.slow)
      for errors in (subprocess.PIPE, subprocess.STDOUT)
    ),
  ],
)
def test_an_unread_pipe_ends_a_command_as_sigpipe_ends_other_tools(
  words, errors
):
  process = subprocess.Popen(
    [sys.executable, "launch.py", *words],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=errors,
  )
  # As `head` does that has read enough.
  process.stdout.close()
  said = process.stderr.read() if process.stderr else b""
  if process.stderr:
    process.stderr.close()
  assert (process.wait(60), said) == (141, b"")
