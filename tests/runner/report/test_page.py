"""The page: whole, self-contained and safe."""

import base64
import html.parser
import re

import pytest

from kdjax.core.errors import StorageError
from kdjax.runner.report import logs, pictures, record
from kdjax.runner.report.page import content, render

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
  """Checks that tags nest; gathers texts, addresses and images."""

  def __init__(self, text):
    super().__init__()
    self.open, self.addresses, self.tags, self.texts = [], [], [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    names = ("src", "href", "action", "srcset", "data", "poster")
    self.addresses += [value for name, value in attributes if name in names]
    if tag not in VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] not in ("style", "script"):
      self.texts.append(" ".join(data.split()))


def draw(*arguments):
  makers = pictures.makers(*arguments)
  return {name: make() for name, make in makers.items()}


def render_page(results, history, figures):
  return render(results, content(results, history), figures)


@pytest.fixture
def page(results, history, sweep):
  results["sweep"] = sweep
  return render_page(results, history, draw(results, history))


def test_page_needs_nothing_from_outside(page):
  parsed = Page(page)
  assert parsed.addresses
  assert all(address.startswith("data:image/") for address in parsed.addresses)
  assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
  assert not re.search(r"https?:|@import|url\(", page)
  assert '<meta name="viewport" content="width=device-width' in page


def test_page_holds_headline_tables_settings_and_command(page):
  texts = Page(page).texts
  for expected in (
    "mnist_demo",
    "4.60 ± 0.10",
    "no gain: student worse",
    "* 4.00 ± 0.00",
    "kd(temperature=8.0)",
    "0.9, 0.1",
    "seed",
    "cpu:0",
    "1 min 34 s",
    "python launch.py --student='mlp(hidden=(100,))'",
  ):
    assert expected in texts
  assert any(text.startswith("Distillation takes 1.00") for text in texts)
  assert any("beats the student" in text for text in texts)


def test_page_escapes_what_users_write(results):
  evil = "<script>alert('1')</script>"
  results["name"] = results["command"] = results["student"]["model"] = evil
  results["experiment"] = {"data": {evil: [evil]}, evil: {"a": evil}}
  results["environment"] = {"git": evil}
  results["controls"] = {evil: {"test_accuracy": [0.9]}}
  results["teacher"]["latency_ms"] = {}
  results["student"]["latency_ms"] = {}
  figures = {evil: pictures.Picture(b"<svg/>", evil, evil)}
  page = render_page(results, [{"network": evil, "epoch": 1}], figures)
  assert "<script" not in page.lower()
  assert Page(page).texts.count(evil) >= 6


SETTINGS = (
  "data", "teacher", "student", "distillation", "teaching", "controls",
  "search", "quantify", "cache", "soft_td", "synthesis", "compression",
  "export", "computing", "run", "cluster",
)  # fmt: skip


@pytest.mark.parametrize(
  ("found", "shown", "hidden"),
  [
    (
      {},
      ["Data", "Teacher", "Teaching", "Controls", "Run"],
      ["Search", "Quantify", "Cache", "Soft td", "Synthesis", "Compression"]
      + ["Export", "Cluster"],
    ),
    ({"compression": {"bytes": [4], "bytes_float32": 4}}, ["Compression"], []),
    ({"multihost": True}, ["Cluster"], []),
  ],
)
def test_settings_that_a_run_does_not_heed_are_not_on_its_page(
  found, shown, hidden, results
):
  settings = {part: {"anything": 1} for part in SETTINGS}
  settings["cluster"] = {"multihost": found.pop("multihost", False)}
  page = render_page(results | found | {"experiment": settings}, [], {})
  for part in shown:
    assert f"<summary>{part}</summary>" in page
  for part in hidden:
    assert f"<summary>{part}</summary>" not in page


def test_sections_and_columns_that_a_run_does_not_have_are_not_on_its_page(
  results,
):
  results |= {"teacher": None, "controls": {}, "comparisons": []}
  for name in ("student", "baseline"):
    del results[name]["agreement"], results[name]["latency_ms"]
  page = render_page(results, [], draw(results))
  for word in ("Agreement", "paired seeds", "Batch of", "Saving", "Reference"):
    assert word not in page
  assert "NLL: negative log-likelihood" in page
  assert page.count("Baseline: the student") == 1 and page.count("twin") == 1
  said = record.summary(results)
  assert "paired seeds" not in said and "Agreement" not in said


def test_figures_come_as_svg_png_or_bytes(results):
  drawn = draw(results)["accuracy"]
  png = b"\x89PNG\r\n\x1a\n"
  page = render_page(
    results,
    [],
    {
      "a": drawn,
      "b": drawn._replace(raster=True),
      "c": drawn.figure,
      "d": png,
      "e": b"<svg/>",
    },
  )
  kinds = [address.split(";")[0] for address in Page(page).addresses]
  svg = "data:image/svg+xml"
  assert kinds == [svg, "data:image/png", svg, "data:image/png", svg]
  last = Page(page).addresses[-1].split(",")[1]
  assert base64.b64decode(last) == b"<svg/>"


@pytest.mark.parametrize("results", [{}, {"student": {"test_accuracy": [0.9]}}])
def test_page_bears_results_with_little_in_them(results):
  html = render_page(results, [], {})
  assert html.startswith("<!DOCTYPE html>") and Page(html).addresses == []


def test_text_that_cannot_be_written_is_named(tmp_path):
  path = logs.write_text(tmp_path / "new" / "report.html", "é")
  assert path.read_text(encoding="utf-8") == "é"
  with pytest.raises(StorageError, match="report.html"):
    logs.write_text(path / "report.html", "")


def test_pictures_are_those_that_the_values_allow(results, history, sweep):
  assert list(draw({})) == []
  assert list(draw({"student": {"test_accuracy": [0.9]}})) == ["accuracy"]
  results["sweep"] = sweep
  drawn = draw(results, history)
  assert list(drawn) == ["accuracy", "curves", "agreement", "sweep"]
  assert all(picture.caption for picture in drawn.values())


def test_captions_of_one_seed_speak_of_no_spread(results, history):
  many = draw(results, history)
  assert "Grey lines join" in many["accuracy"].caption
  assert "one standard deviation" in many["curves"].caption
  results["student"]["test_accuracy"] = [0.95]
  one = [row | {"loss": [0.5]} for row in history]
  alone = draw(results, one)
  assert "seeds" not in alone["accuracy"].caption + alone["curves"].caption
  assert "Grey" not in alone["accuracy"].caption


def test_save_figures(tmp_path, results):
  drawn = draw(results)
  folder = tmp_path / "figures"
  paths = pictures.save_figures(folder, {**drawn, "raw": b"<svg/>"})
  assert [path.name for path in paths] == [
    "accuracy.png",
    "agreement.png",
    "raw.svg",
  ]
  assert pictures.is_png(paths[0].read_bytes())
  with pytest.raises(StorageError, match="accuracy.png"):
    pictures.save_figures(paths[0], drawn)
