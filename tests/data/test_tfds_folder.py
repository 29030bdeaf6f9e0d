import pytest

from kdjax.core.errors import StorageError, UserError
from kdjax.data import default_data_dir, load, prepared_names


def test_lists_what_is_there(data_dir):
  assert prepared_names(data_dir) == ("digits:1.0.0", "mnist5k:1.0.0")


def test_listed_names_can_be_opened(data_dir):
  assert load("digits:1.0.0", data_dir=data_dir).image_shape == (8, 8, 1)


def test_nothing_there(tmp_path):
  assert prepared_names(str(tmp_path / "missing")) == ()


def test_the_environment_names_the_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert default_data_dir() == str(tmp_path)
  monkeypatch.delenv("TFDS_DATA_DIR")
  monkeypatch.setenv("HOME", "/home/somebody")
  assert default_data_dir() == "/home/somebody/tensorflow_datasets"


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_half_prepared(tmp_path, name):
  version = {"digits": "1.0.0", "mnist": "3.0.1"}[name]
  (tmp_path / name / version).mkdir(parents=True)
  with pytest.raises(UserError, match=r"half prepared.*rm -r .*and run again"):
    load(name, data_dir=str(tmp_path))


def test_a_file_in_the_way(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(StorageError, match="cannot prepare digits.*--data_dir"):
    load("digits", data_dir=str(tmp_path / "file"))
