"""Corrects the bias of a class that the student has never seen."""

import numpy as np


def match_prior(
  logits: np.ndarray, classes: tuple[int, ...], prior: float
) -> np.ndarray:
  """Finds the bias with which a share of the images falls to some classes.

  No label is needed, only how common the classes are: the bias is the quantile
  of the images' margins (best other logit minus best of these classes) at the
  prior. Distillation teaches a student much about a class that its transfer
  set lacks, all but how often to say so.

  Args:
    logits: (..., N, C) on unlabelled images in which the classes do occur.
    classes: the classes, whose logits get the bias.
    prior: the share of images that belong to them together, in (0, 1).

  Returns:
    (..., C), to be added to the logits; 0 for other classes.

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 3, where the bias of
    the omitted class is chosen on the test set; here it needs no label.
  """
  if not 0 < prior < 1:
    raise ValueError(f"match_prior: the prior must be in (0, 1), got {prior}")
  is_omitted = np.isin(np.arange(logits.shape[-1]), classes)
  if is_omitted.all() or not is_omitted.any():
    raise ValueError(
      f"match_prior: classes {classes} leave no class on one side"
    )
  margin = np.max(logits[..., ~is_omitted], axis=-1) - np.max(
    logits[..., is_omitted], axis=-1
  )
  bias = np.quantile(margin, prior, axis=-1)
  return bias[..., None] * is_omitted
