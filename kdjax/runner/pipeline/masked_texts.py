"""Texts whose labels are their own tokens, of which some are hidden."""

from collections.abc import Callable

import jax
import numpy as np

from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.data import Dataset

# What tokenizers call the token that stands for a hidden one.
_MASKS = "[MASK]", "<mask>"


def of_texts(dataset: Dataset, make_task: Callable[..., Task]) -> Dataset:
  """Makes a data set of hidden tokens out of one of texts.

  Args:
    dataset: of tokens; its labels are not looked at.
    make_task: vocabulary=, mask_token= and special= -> the task.
  """
  where = f"--task=masked_language_model: {dataset.name}"
  if dataset.tokenizer is None:
    raise UserError(f"{where} has {dataset.noun}s; texts have tokens to hide")
  find = dataset.tokenizer.backend.token_to_id
  ids = [one for one in map(find, _MASKS) if one is not None]
  if not ids:
    raise UserError(
      f"{where}: its tokenizer has no token for hidden ones, {' or '.join(_MASKS)}"
    )
  vocabulary = dataset.tokenizer.vocabulary_size
  special = {*dataset.tokenizer.special, dataset.tokenizer.pad, *ids}
  task = make_task(
    vocabulary=vocabulary, mask_token=ids[0], special=tuple(sorted(special))
  )

  def hidden(split):
    batch = jax.device_get(jax.jit(task.batch)(split.images))
    return split._replace(
      images=batch.inputs, labels=np.array(batch.targets, np.int32)
    )

  train, test = hidden(dataset.train), hidden(dataset.test)
  return dataset._replace(
    task=task,
    classes=vocabulary,
    class_names=tuple(map(str, range(vocabulary))),
    image_shape={name: x.shape[1:] for name, x in train.images.items()},
    train=train,
    test=test,
  )
