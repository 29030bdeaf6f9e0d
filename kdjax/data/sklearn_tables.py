"""Real tables that scikit-learn brings along: nothing to download."""

import numpy as np

from kdjax.data.dataset import Dataset
from kdjax.data.labelled import Classes, hold_out, make_dataset
from kdjax.data.registry import register
from kdjax.data.several_labels import strata


@register("diabetes")
def diabetes() -> Dataset:
  """442 patients, 10 numbers each: progression of diabetes a year later, a number.

  The columns as they were measured; a fifth of the rows is test, by a hash.

  Returns:
    The data set, one for regression.

  Source:
    Efron et al. 2004, "Least angle regression"; scikit-learn's load_diabetes.
  """
  from sklearn import datasets

  table = datasets.load_diabetes(scaled=False)
  labels = np.float32(table.target)[:, None]
  return _dataset("diabetes", Classes(("progression",), labels), table.data)


@register("breast_cancer")
def breast_cancer() -> Dataset:
  """569 tumours, 30 numbers each: malignant or benign, two classes.

  A fifth of the rows of each class is test, by a hash.

  Returns:
    The data set, one for classification.

  Source:
    Wolberg et al. 1995, Wisconsin diagnostic; scikit-learn's load_breast_cancer.
  """
  from sklearn import datasets

  table = datasets.load_breast_cancer()
  names = tuple(map(str, table.target_names))
  classes = Classes(names, np.int32(table.target))
  return _dataset("breast_cancer", classes, table.data)


def _dataset(name: str, classes: Classes, values: np.ndarray) -> Dataset:
  values = np.float32(values)
  rows = [row.tobytes().hex() for row in values]
  is_test = hold_out(rows, strata(classes), name, "")
  return make_dataset(name, classes, values, is_test, standardise=True)
