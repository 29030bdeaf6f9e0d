"""Runs that are killed between two portions of a training."""

from contextlib import contextmanager

from kdjax.runner.pipeline import fit


@contextmanager
def killed_at(monkeypatch, number):
  """Ctrl-C after an epoch, before anything of it is written."""
  log_epoch = fit._log_epoch

  def killed(setup, train_spec, log, epoch, *rest):
    if epoch.number == number:
      raise KeyboardInterrupt
    return log_epoch(setup, train_spec, log, epoch, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(fit, "_log_epoch", killed)
    yield
