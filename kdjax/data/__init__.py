"""Data sets, and which example is in which batch.

load.py        name -> checked Dataset; `available`
derived.py     data sets made of others: a long tail, attributes of classes
dataset.py     Dataset, Split; images in memory or read when asked for
check.py       refuses labels out of range, NaN pixels, wrong shapes
class_sampling.py  the same with classes alike
plan.py        step number -> example ids: shuffle, pad, resume, a process's share
subsets.py     few labels, omitted classes, validation splits
transfer.py    other images behind the training set's, in its shape
views_by_number.py  so many views of each image, the same for everyone
stream.py      planned batches from disk, read ahead by threads
workers.py     or by processes
fingerprint.py one number for the training images
tfds_source.py whatever TFDS has prepared, without TensorFlow
licences.py    under which licence a set is
tfds_folder.py where prepared sets are; prepares the embedded ones
batch_iterator.py  batches of what a user has: arrays, iterables, loaders of grain,
               torch, tf.data, Hugging Face; batch_sources.py, batch_entries.py
targets.py     how labels are read: classes, yes and no (several_labels.py), or numbers
               (number_labels.py), out of the columns of tables, and of arrays
text_set.py    texts and pairs of them out of tables, as tokens
whole.py       damaged or half prepared sets, and the way out
listing.py     which files of a folder are which class; naming.py, its name
images/        sources of images, decoding, views
text/          rows of text, divided by document, packed into sequences of tokens
teacher_cache/ a teacher's outputs on disk

>>> import numpy as np
>>> from kdjax import data
>>> plan = data.batches(np.arange(10), 4, seed=0, start=0, stop=3)
>>> plan.indices.shape, float(plan.weights.sum())
((3, 4), 10.0)
"""

from kdjax.core.class_weights import balanced_class_weights, count_classes
from kdjax.core.preprocessing import middle, plain_view, to_float
from kdjax.data import derived as derived
from kdjax.data import sklearn_tables as sklearn_tables
from kdjax.data.batch_iterator import BatchIterator, open_batches
from kdjax.data.check import check
from kdjax.data.class_sampling import class_batches, shares, shown_shares
from kdjax.data.dataset import (
  Dataset,
  Split,
  is_of_maps,
  resident,
  select,
  shown,
  summary,
)
from kdjax.data.fingerprint import fingerprint
from kdjax.data.images import rotated_digits as rotated_digits
from kdjax.data.images.augment import VIEWS as PLAIN_VIEWS
from kdjax.data.images.augment import ViewFunction, make_view
from kdjax.data.images.mixing import BLENDS, split_mixing
from kdjax.data.images.target_views import make_target_view
from kdjax.data.licences import licence
from kdjax.data.load import available, is_drawn, load
from kdjax.data.plan import Plan, batches, steps_per_pass
from kdjax.data.registry import register
from kdjax.data.stream import Reader, open_reader, stream
from kdjax.data.subsets import split_validation, stratified, without_classes
from kdjax.data.targets import target_statistics
from kdjax.data.tfds_folder import default_data_dir, prepared_names
from kdjax.data.transfer import open_transfer
from kdjax.data.views_by_number import view_by_number, view_numbers

# What `--augment` takes; those that mix images stand last.
VIEWS = PLAIN_VIEWS | BLENDS

__all__ = [
  "VIEWS",
  "BatchIterator",
  "Dataset",
  "Plan",
  "Reader",
  "Split",
  "ViewFunction",
  "available",
  "balanced_class_weights",
  "batches",
  "check",
  "class_batches",
  "count_classes",
  "default_data_dir",
  "fingerprint",
  "is_drawn",
  "is_of_maps",
  "licence",
  "load",
  "make_target_view",
  "make_view",
  "middle",
  "view_by_number",
  "open_batches",
  "open_reader",
  "open_transfer",
  "plain_view",
  "prepared_names",
  "register",
  "resident",
  "select",
  "shares",
  "shown_shares",
  "shown",
  "split_mixing",
  "target_statistics",
  "split_validation",
  "steps_per_pass",
  "stratified",
  "stream",
  "summary",
  "to_float",
  "view_numbers",
  "without_classes",
]
