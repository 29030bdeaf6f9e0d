"""Data sets by name that are made of others."""

from typing import Any

from kdjax.data.check import check
from kdjax.data.class_attributes import class_attributes
from kdjax.data.dataset import Dataset
from kdjax.data.load import open_data
from kdjax.data.long_tailed import long_tailed
from kdjax.data.registry import register


@register("long_tailed")
def _long_tailed(
  dataset,
  imbalance=100,
  seed=0,
  *,
  data_dir,
  splits,
  image_size,
  resident_bytes,
  background,
  masks,
  label_kind,
) -> Dataset:
  options = {
    "splits": splits,
    "image_size": image_size,
    "resident_bytes": resident_bytes,
    "background": background,
    "masks": masks,
  }
  whole = _open(dataset, data_dir, options, label_kind)
  return long_tailed(whole, imbalance, seed)


@register("class_attributes")
def _class_attributes(
  dataset,
  *,
  data_dir,
  splits,
  image_size,
  resident_bytes,
  background,
  masks,
  label_kind,
  **attributes,
) -> Dataset:
  options = {
    "splits": splits,
    "image_size": image_size,
    "resident_bytes": resident_bytes,
    "background": background,
    "masks": masks,
  }
  del label_kind  # The labels are made here, and are yes and no.
  return class_attributes(_open(dataset, data_dir, options, None), attributes)


def _open(name, data_dir, options: dict[str, Any], label_kind) -> Dataset:
  """Opens the data set that another one is made of."""
  dataset = open_data(str(name), data_dir, options, label_kind)
  check(dataset)
  return dataset
