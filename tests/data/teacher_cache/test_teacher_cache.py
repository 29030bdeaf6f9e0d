"""Teacher caches: what is read is what was written, and damage is refused."""

import json
import re

import numpy as np
import pytest

from kdjax.core.errors import StorageError, UserError
from kdjax.data.teacher_cache.manifest import MANIFEST, refuse_other
from kdjax.data.teacher_cache.records import describe, record_type, to_records
from kdjax.data.teacher_cache.store import (
  TeacherCache,
  finish,
  shard_name,
  write_shard,
)

EXAMPLES, VIEWS, CLASSES = 7, 3, 5
ROWS = EXAMPLES * VIEWS
TAPS = {"stage_0": (2, 2, 3), "head:in": (4,)}
ABOUT = {
  "teacher": {"model": "mlp(4)", "digest": "a" * 64, "validation": 0.0},
  "data": {"name": "toy", "examples": EXAMPLES, "fingerprint": "b" * 64},
  "classes": CLASSES,
  "views": {"view": "flip", "crop_size": None, "count": VIEWS, "seed": 0},
}


@pytest.fixture
def outputs():
  """(logits, features) of every row."""
  rng = np.random.default_rng(0)
  logits = rng.normal(scale=4, size=(ROWS, CLASSES)).astype(np.float32)
  feats = {
    tap: rng.normal(size=(ROWS, *shape)).astype(np.float32)
    for tap, shape in TAPS.items()
  }
  return logits, feats


@pytest.fixture
def write(tmp_path, outputs):
  """write(kind, shards=..., rows=...) -> the folder of a new cache."""

  def write(kind, *, shards=2, rows=None, about=ABOUT):
    rows = np.arange(ROWS) if rows is None else np.asarray(rows)
    logits, feats = outputs
    for number, part in enumerate(np.array_split(rows, shards)):
      kept = {tap: values[part] for tap, values in feats.items()}
      views, examples = np.divmod(part, EXAMPLES)
      records = to_records(kind, examples, views, logits[part], kept)
      write_shard(tmp_path, number, shards, np.array_split(records, 2))
    assert finish(tmp_path, shards, kind, about) is not None
    return tmp_path

  return write


def check_reads(cache, rows, outputs, dtype):
  """Reads rows and compares them with what was written, rounded."""
  logits, feats = outputs
  found, found_feats = cache.read(rows)
  rounded = logits[rows].astype(dtype).astype(np.float32)
  np.testing.assert_array_equal(found, rounded)
  for tap, values in found_feats.items():
    rounded = feats[tap][rows].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(values, rounded)


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_any_order_any_shards(write, outputs, shards, dtype):
  """Rows come back whatever the order of writing, reading, or cutting."""
  rng = np.random.default_rng(shards)
  kind = record_type(CLASSES, taps=TAPS, dtype=dtype)
  cache = TeacherCache(
    write(kind, shards=shards, rows=rng.permutation(ROWS)), None
  )
  assert cache.rows == ROWS and cache.nbytes == 4 * ROWS * (CLASSES + 16)
  for rows in (
    np.arange(ROWS),
    rng.permutation(ROWS),
    np.array([3, 3, 20, 0, 3]),
    np.array([], int),
  ):
    check_reads(cache, rows, outputs, dtype)


def test_hosts_write_and_read_their_own_shards(tmp_path, outputs):
  """Two hosts, three shards: the last to finish writes the manifest."""
  kind = record_type(CLASSES, dtype="float32")
  logits, _ = outputs
  done = []
  for host in (1, 0):
    for number in range(host, 3, 2):
      rows = np.arange(number, ROWS, 3)
      views, examples = np.divmod(rows, EXAMPLES)
      records = to_records(kind, examples, views, logits[rows])
      write_shard(tmp_path, number, 3, [records])
    done.append(finish(tmp_path, 3, kind, ABOUT) is not None)
    if not done[-1]:
      with pytest.raises(UserError, match="not written to the end"):
        TeacherCache(tmp_path)
  assert done == [False, True]
  for host in (0, 1):
    shards = range(host, 3, 2)
    cache = TeacherCache(tmp_path, shards)
    own = np.concatenate([np.arange(shard, ROWS, 3) for shard in shards])
    check_reads(cache, own, (logits, {}), "float32")
    with pytest.raises(StorageError, match="in none of the shards"):
      cache.read(np.arange(ROWS))


@pytest.mark.parametrize("k", [1, 2, CLASSES - 1])
def test_top_k_keeps_the_largest_and_the_sum_of_the_rest(write, outputs, k):
  cache = TeacherCache(write(record_type(CLASSES, top_k=k, dtype="float32")))
  found, _ = cache.read(np.arange(ROWS))
  logits = outputs[0].astype(np.float64)
  true = np.exp(logits - np.log(np.exp(logits).sum(-1))[:, None])
  found = np.exp(found.astype(np.float64))
  np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
  top = np.argsort(-true, axis=-1)
  kept, rest = (
    [np.take_along_axis(x, order, -1) for x in (found, true)]
    for order in (top[:, :k], top[:, k:])
  )
  np.testing.assert_allclose(*kept, rtol=1e-5)
  mean = np.broadcast_to(rest[1].mean(-1, keepdims=True), rest[0].shape)
  np.testing.assert_allclose(rest[0], mean, rtol=1e-5)


def test_a_rest_of_almost_nothing_stays_finite():
  kind = record_type(3, top_k=1)
  logits = np.array([[0.0, -2000.0, -3000.0]])
  record = to_records(kind, [0], [0], logits)[0]
  assert (record["log_probabilities"], record["tail"]) == (0, -2000)


def flip(folder):
  file = folder / shard_name(1, 2)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def cut(folder):
  file = folder / shard_name(1, 2)
  file.write_bytes(file.read_bytes()[:-100])


def hash_anew(folder):
  """What a careless writer, or one with malice, leaves behind."""
  import hashlib

  def change(manifest):
    for shard in manifest["shards"]:
      content = (folder / shard["file"]).read_bytes()
      shard["sha256"] = hashlib.sha256(content).hexdigest()

  rewrite(folder, change)


def rewrite(folder, change):
  manifest = json.loads((folder / MANIFEST).read_text())
  change(manifest)
  (folder / MANIFEST).write_text(json.dumps(manifest))


def put(value, *path):
  """Returns a change of one value in the manifest; None removes it."""

  def change(manifest):
    *way, last = path
    for step in way:
      manifest = manifest[step]
    manifest[last] = value
    if value is None:
      del manifest[last]

  return lambda folder: rewrite(folder, change)


DAMAGE = {
  "a bit flipped": (flip, ["shard-00001", "damaged or cut short", "sha256"]),
  "a shard cut short": (cut, ["shard-00001", "damaged or cut short"]),
  "cut short and hashed anew": (
    lambda folder: (cut(folder), hash_anew(folder)),
    ["shard-00001"],
  ),
  "a shard missing": (
    lambda folder: (folder / shard_name(0, 2)).unlink(),
    ["shard-00000", "cannot read"],
  ),
  "a shard not listed": (
    lambda folder: rewrite(folder, lambda m: m["shards"].pop()),
    ["10 of 21 records are missing", "view 1 of example 4"],
  ),
  "another length": (put(12, "shards", 0, "records"), ["11 records", "12"]),
  "more views": (put(4, "views", "count"), ["7 of 28 records are missing"]),
  "fewer views": (put(2, "views", "count"), ["view 2 of example", "2 views"]),
  "fewer examples": (put(6, "data", "examples"), ["example 6", "6 examples"]),
  "no json": (
    lambda folder: (folder / MANIFEST).write_text('{"format": '),
    ["manifest.json is damaged"],
  ),
  "no list": (put(None, "shards"), ["manifest.json is damaged", "shards"]),
  "no seed": (put(None, "views", "seed"), ["damaged", "seed"]),
  "no count": (put(0, "classes"), ["damaged", "> 0"]),
  "a record of others": (put(6, "classes"), ["6 classes", "logits"]),
  "a record of nothing": (put([["x", "|O", []]], "record"), ["no record"]),
  "a file elsewhere": (
    put("../" + shard_name(0, 2), "shards", 0, "file"),
    ["not in the cache's folder"],
  ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(write, name):
  damage, said = DAMAGE[name]
  folder = write(record_type(CLASSES))
  damage(folder)
  with pytest.raises(StorageError) as error:
    TeacherCache(folder)
  assert all(part in str(error.value) for part in said), error.value
  assert "\n" not in str(error.value)


def test_a_row_twice_is_refused(write):
  for rows in ([*range(ROWS), 4], [4, 4, *range(ROWS)]):
    with pytest.raises(
      StorageError, match="view 0 of example 4 is there twice"
    ):
      TeacherCache(write(record_type(CLASSES), rows=rows))


def test_a_file_that_changes_later_is_refused(write):
  folder = write(record_type(CLASSES), shards=1)
  cache = TeacherCache(folder)
  cache._where = cache._where[::-1].copy()
  with pytest.raises(StorageError, match="changed after it was opened"):
    cache.read(np.arange(3))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_outputs_that_a_record_cannot_hold_are_refused(value):
  logits = np.array([[0.0, value]])
  with pytest.raises(UserError, match="logits leave the finite.*float32"):
    to_records(record_type(2), [3], [0], logits)


def test_no_cache(tmp_path):
  with pytest.raises(UserError, match="there is no teacher cache"):
    TeacherCache(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [("version", 2), ("format", "zip")])
def test_other_versions_are_refused(write, change):
  folder = write(record_type(CLASSES))
  put(change[1], change[0])(folder)
  with pytest.raises(UserError, match=re.escape(str(change[1]))):
    TeacherCache(folder)


@pytest.mark.parametrize("k", [0, CLASSES])
def test_impossible_k(k):
  with pytest.raises(UserError, match=f"top-{k} of 5 classes"):
    record_type(CLASSES, top_k=k)


OTHERS = {
  "images": (
    {"fingerprint": "c" * 64},
    ["other training images", "bbbb", "ccc"],
  ),
  "classes": ({"classes": 6}, ["classes", "has 5", "this run 6"]),
  "view": ({"view": "crop(1)"}, ["--augment", "'flip'", "'crop(1)'"]),
  "crop": ({"crop_size": 4}, ["--crop_size", "None", "4"]),
  "views": ({"count": 4}, ["--views", "has 3", "this run 4"]),
  "unlimited": ({"count": None}, ["--views", "has 3", "this run None"]),
  "seed": ({"seed": 1}, ["--view_seed", "has 0", "this run 1"]),
  "teacher": ({"digest": "d" * 64}, ["another teacher", "aaaa", "dddd"]),
  "validation": ({"validation": 0.2}, ["--validation", "0.0", "0.2"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_caches_of_others_are_refused(name):
  change, said = OTHERS[name]
  wanted = {
    "fingerprint": "b" * 64, "classes": CLASSES, "digest": "a" * 64,
    "validation": 0.0,
  }  # fmt: skip
  views = dict(ABOUT["views"])
  refuse_other(ABOUT, views=views, **wanted)
  wanted |= {key: value for key, value in change.items() if key in wanted}
  views |= {key: value for key, value in change.items() if key in views}
  with pytest.raises(UserError) as error:
    refuse_other(ABOUT, views=views, **wanted)
  assert all(part in str(error.value) for part in said), error.value


def test_the_manifest_says_what_a_record_is(write):
  kind = record_type(CLASSES, taps=TAPS)
  manifest = json.loads((write(kind) / MANIFEST).read_text())
  assert manifest["record"] == describe(kind) and manifest["version"] == 1
  assert [shard["records"] for shard in manifest["shards"]] == [11, 10]
