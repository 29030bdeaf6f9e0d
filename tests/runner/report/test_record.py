"""The end of a run: nothing that is drawn costs its results."""

import numpy as np
import pytest

from kdjax.runner.report import (
  compression_page,
  knowledge_page,
  page,
  pictures,
  plots,
  record,
  style,
  synthesis_page,
  tables,
)

NAMES = {
  "two dollars": ["$$", "$"],
  "broken formula": ["a$b_{", r"c\$d$"],
  "no UTF-8": ["caf\udce9", "b"],
  "chinese": ["\u732b", "\u72ac\u5c0f"],
  "beyond the plane": ["\U0001f984", "x"],
  "lines": ["a\nb", "\t\x07"],
  "ninety": ["n" * 90, "m" * 90],
  "widest": ["m" * 90, "\u732b" * 90],
  "markup": ["<b>[red]", "_&amp;"],
  "empty": ["", " "],
}


def samples(names):
  noise = np.random.default_rng(0)
  return {
    "inputs": noise.random((2, 4, 4, 1)),
    "labels": np.array([0, 1]),
    "teacher_logits": noise.normal(size=(2, 2)),
    "class_names": names,
  }


def fails(*_, **__):
  raise ValueError("no\nglyph")


QUICK = ("broken formula", "no UTF-8")


@pytest.mark.parametrize(
  "kind",
  [
    kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
    for kind in NAMES
  ],
)
def test_class_names_are_text(kind, tmp_path, results, history, capsys):
  results["command"] = f"python launch.py --dataset={NAMES[kind][0]}"
  written = record.write_run(tmp_path, results, history, samples(NAMES[kind]))
  assert "Left out" not in written.read_text(encoding="utf-8")
  assert (tmp_path / "figures" / "soft_targets.png").stat().st_size > 1000
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", NAMES)
def test_class_names_beside_learned_images_are_text(kind):
  images = np.random.default_rng(0).random((2, 1, 4, 4, 1))
  drawn = synthesis_page.images_figure(images, images, NAMES[kind])
  assert pictures.is_png(style.to_png(drawn))


@pytest.mark.parametrize(
  ("name", "shown"),
  [
    ("cat", "cat"),
    ("a$b_{", "a$b_{"),
    ("n" * 90, "n" * 15 + "…"),
    ("caf\udce9", "caf?"),
    ("\U0010fffd", "\\U10fffd"),
    ("a\nb", "a\\x0ab"),
  ],
)
def test_names_as_pictures_show_them(name, shown):
  assert style.legible(name) == shown


def test_letters_that_no_font_has_are_shown_in_ascii(monkeypatch):
  monkeypatch.setattr(style, "_families", lambda: ["DejaVu Sans"])
  assert style.legible("\u732b1") == "\\u732b1"


def test_long_names_are_whole_in_tables(results):
  results["controls"] = {"n" * 90: {"test_accuracy": [0.9]}}
  rows = tables.networks_table(results).rows
  assert any("n" * 90 in row[0].lower() for row in rows)


@pytest.mark.parametrize(
  ("module", "name", "said"),
  [
    (plots, "agreement_figure", "the picture agreement"),
    (tables, "cost_table", "the table of costs"),
    (page, "_tiles", "the part tiles"),
    (record.verdicts, "headline", "the part sentences"),
  ],
)
def test_what_fails_is_left_out_with_a_line(
  monkeypatch, tmp_path, capsys, results, history, module, name, said
):
  to_png = style.to_png
  monkeypatch.setattr(style, "to_png", lambda x: to_png(x, dots_per_inch=20))
  monkeypatch.setattr(module, name, fails)
  written = record.write_run(tmp_path, results, history)
  shown = written.read_text(encoding="utf-8")
  assert f"Left out: {said} (ValueError: no glyph)." in shown
  error = capsys.readouterr().err
  assert error.count(f"{said} is left out: ValueError: no glyph\n") == 1
  assert error.count("\n") == 1
  assert "Test error of every seed" in shown
  assert isinstance(record.summary(results), str)


@pytest.mark.parametrize(
  "write",
  [
    lambda folder: record.write_run(folder, {"name": "x"}, []),
    lambda folder: knowledge_page.write(folder, {"quantify": {}}, {}),
    lambda folder: synthesis_page.write(folder, {"synthesis": {}}, {}),
    lambda folder: compression_page.write(folder, {"name": "x", "table": {}}),
  ],
)
def test_every_command_has_a_page_where_nothing_can_be_drawn(write, tmp_path):
  assert write(tmp_path).read_text(encoding="utf-8").startswith("<!DOCTYPE")
