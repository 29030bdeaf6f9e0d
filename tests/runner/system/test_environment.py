"""What results.json says of the source: its commit, and nobody else's."""

import subprocess

from kdjax.runner.system.environment import git_state


def test_the_commit_is_that_of_the_file(tmp_path):
  def git(*words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
      ["git", *who, *words],
      cwd=tmp_path,
      check=True,
      capture_output=True,
      text=True,
    )
    return done.stdout.strip()

  mine, installed = tmp_path / "mine.py", tmp_path / "env" / "kdjax.py"
  installed.parent.mkdir()
  mine.write_text("")
  installed.write_text("")
  assert git_state(mine) is None
  git("init", "--quiet")
  (tmp_path / ".gitignore").write_text("env\n")
  git("add", ".")
  git("commit", "--quiet", "--message=first")
  commit = git("rev-parse", "HEAD")
  assert git_state(mine) == commit
  assert git_state(installed) is None
  mine.write_text("changed")
  assert git_state(mine) == f"{commit}+"
