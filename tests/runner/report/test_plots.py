"""The pictures show the numbers they are given, and bear odd ones."""

import matplotlib
import numpy as np
import pytest

from kdjax.runner.report import examples, plots, reading, style, sweeps


def texts(axes):
  return [text.get_text() for text in axes.texts]


def drawn(axes):
  return [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines]


def render(figure):
  """Draws for real; a warning of the layout is an error under pytest."""
  data = style.to_png(figure, 60)
  assert data.startswith(b"\x89PNG")
  return data


def test_accuracy_figure_joins_pairs_and_names_means(results):
  figure = plots.accuracy_figure(results)
  axes = figure.axes[0]
  lines = np.array([line for line in drawn(axes) if len(line) == 2])
  for pair in ([5.5, 4.5], [5.6, 4.6], [5.7, 4.7]):
    assert np.isclose(lines, pair).all(axis=1).any(), pair
  assert texts(axes) == ["5.60", "4.60", "5.10", "4.10", "Teacher 2.20"]
  assert axes.get_ylabel() == "Test error, %"
  ticks = [tick.get_text() for tick in axes.get_xticklabels()]
  assert ticks == ["Baseline", "Student", "Label\nsmoothing", "Augmented"]
  render(figure)


def test_equal_values_stand_side_by_side(results):
  results["student"]["test_accuracy"] = [0.95, 0.95, 0.95]
  axes = plots.accuracy_figure(results).axes[0]
  dots = [line for line in axes.lines if line.get_marker() == "o"]
  assert len(set(dots[0].get_xdata())) == 3


def test_agreement_figure_leaves_the_teacher_out(results):
  figure = plots.agreement_figure(results)
  assert texts(figure.axes[0]) == ["96.00"] * 4
  render(figure)


def test_curves_figure_draws_means_of_each_network(history):
  figure = plots.curves_figure(history)
  above, below = figure.axes
  assert len(above.lines) == len(below.lines) == 3
  assert np.allclose(drawn(above)[1], [8.5, 7.5, 6.5])
  assert np.allclose(drawn(below)[1], [1.1, 0.55, 1.1 / 3])
  # 1 and 1.2: the mean is 1.1, the sample standard deviation 0.1414.
  edges = below.collections[0].get_paths()[0].vertices[:, 1]
  assert np.isclose(edges.max(), 1.1 + 0.02**0.5)
  assert above.get_yscale() == "log"
  render(figure)


def test_titles_of_axes_stand_apart(history):
  score = reading.score_of({"task": "language_model"})
  figure = plots.curves_figure(history, score, "loss", "Validation")
  render(figure)
  above, below = (axes.yaxis.label.get_window_extent() for axes in figure.axes)
  assert above.y0 - below.y1 > 20  # dots of 60 an inch


def test_curves_figure_is_linear_where_an_error_is_zero(history):
  history[-1]["test_accuracy"] = [1.0, 1.0]
  figure = plots.curves_figure(history)
  assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
  render(figure)


def test_sweep_figure_is_a_map_over_two_axes(sweep):
  figure = sweeps.sweep_figure(sweep)
  axes = figure.axes[0]
  means = [text.split("\n")[0] for text in texts(axes)]
  assert means == ["6.00", "7.00", "8.00", "4.00", "5.00", "6.00"]
  # The frame lies around temperature 4 (row 1), hard weight 0 (column 0).
  assert {patch.get_xy() for patch in axes.patches} == {(-0.5, 0.5)}
  assert "6.00" in figure.get_suptitle()
  assert axes.get_ylabel() == "Temperature"
  render(figure)


def test_sweep_figure_is_a_line_over_one_axis(sweep):
  sweep["axes"] = {"temperature": [1.0, 4.0], "hard_weight": [0.0]}
  sweep["accuracy"] = [[row[0]] for row in sweep["accuracy"]]
  figure = sweeps.sweep_figure(sweep)
  lines = drawn(figure.axes[0])
  assert np.allclose(lines[0], [6, 4])
  assert np.allclose(lines[-1], [4])  # the star, on the recommendation
  render(figure)


def test_sweep_figure_has_a_map_for_each_value_of_a_third_setting(sweep):
  sweep["axes"] = {"learning_rate": [0.1, 0.2]} | sweep["axes"]
  sweep["accuracy"] = [sweep["accuracy"]] * 2
  sweep["recommendation"]["learning_rate"] = 0.2
  sweep["cells"] = {
    "student": [{"versus_best": {"holm_p_value": 0.01}}] * 11
    + [{"versus_best": {"holm_p_value": 0.5}}]
  }
  figure = sweeps.sweep_figure(sweep)
  above, below = figure.axes[:2]
  titles = [axes.get_title() for axes in (above, below)]
  assert titles == ["Learning rate 0.1", "Learning rate 0.2"]
  assert not above.patches and below.patches
  marked = [text for text in texts(below) if text.startswith("=")]
  assert marked == ["= 6.00\n± 0.00"]
  render(figure)


def test_omitted_class_figure():
  omitted = {
    "class": 3,
    "recall": [0.5, 0.6],
    "recall_corrected": [0.89, 0.91],
    "accuracy": [0.9, 0.9],
    "accuracy_corrected": [0.94, 0.95],
    "baseline_recall": [0.0, 0.0],
  }
  figure = plots.omitted_class_figure(omitted)
  recall, accuracy = figure.axes
  assert texts(recall) == ["0.0", "55.0", "90.0"]
  assert texts(accuracy) == ["90.0", "94.5"]
  render(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_soft_targets_figure_draws_both_temperatures(channels):
  images = np.random.default_rng(0).normal(size=(2, 8, 8, channels))
  teacher = np.array([[np.log(3), 0.0], [0.0, 0.0]])
  figure = examples.soft_targets_figure(
    images,
    [0, 1],
    teacher,
    -teacher,
    temperature=2.0,
    class_names=["cat", "ox"],
  )
  panels = figure.axes
  bars = [[bar.get_height() for bar in panel.patches] for panel in panels]
  # softmax(log 3, 0) = 3/4, 1/4; at T = 2 the odds are sqrt 3.
  soft = 3**0.5 / (1 + 3**0.5)
  assert np.allclose(bars[1], [0.75, 0.25])
  assert np.allclose(bars[2], [soft, 1 - soft])
  assert np.allclose(drawn(panels[1])[0], [0.25, 0.75])
  assert panels[0].get_title() == "true: cat"
  assert panels[2].get_title() == "T = 2"
  render(figure)


@pytest.mark.parametrize("name", ["ox", "class 3", "class 500", "w" * 40])
def test_titles_of_examples_are_not_cut_off(name):
  figure = examples.soft_targets_figure(
    np.zeros((1, 4, 4, 1)), [0], np.zeros((1, 2)), class_names=[name, "cat"]
  )
  render(figure)
  title = figure.axes[0].title.get_window_extent()
  assert title.x0 >= 0 and title.x1 <= figure.axes[1].get_tightbbox().x1


@pytest.mark.parametrize(
  "classes", [51, 1000, pytest.param(20_000, marks=pytest.mark.slow)]
)
def test_soft_targets_of_many_classes_stay_small(classes):
  logits = np.zeros((2, classes))
  logits[:, 3] = np.log(classes - 1)  # its share is 1/2
  figure = examples.soft_targets_figure(
    np.zeros((2, 4, 4, 1)),
    [3, 0],
    logits,
    logits,
    class_names=[f"class {k}" for k in range(classes)],
  )
  right, wrong = figure.axes[1], figure.axes[4]
  assert not right.patches and len(right.collections) == 2
  assert figure.axes[0].get_title() == "true: class 3"
  heights = [
    line[1, 1]
    for panel in (right, wrong)
    for line in panel.collections[1].get_segments()
  ]
  assert np.allclose(heights, [0.5, 0.5 / (classes - 1)])
  assert len(style.to_svg(figure)) < 300_000


@pytest.mark.parametrize(
  ("change", "named"),
  [
    ({"labels": [0]}, "1 labels"),
    ({"student_logits": np.zeros((2, 3))}, r"student \(2, 3\)"),
    ({"class_names": ["a"]}, "1 class names for 2 classes"),
  ],
)
def test_soft_targets_figure_refuses(change, named):
  arguments = {
    "inputs": np.zeros((2, 4, 4, 1)),
    "labels": [0, 1],
    "teacher_logits": np.zeros((2, 2)),
  }
  with pytest.raises(ValueError, match=named):
    examples.soft_targets_figure(**(arguments | change))


@pytest.mark.parametrize(
  "results",
  [
    {"student": {"test_accuracy": [0.9]}},
    {"student": {"test_accuracy": [None, 0.9]}, "teacher": {}},
    {"baseline": {"test_accuracy": [None]}, "student": {"test_accuracy": []}},
    {"student": {"test_accuracy": [1.0]}, "controls": {"a_new_control": {}}},
  ],
)
def test_accuracy_figure_bears_missing_values(results):
  assert render(plots.accuracy_figure(results))


def test_curves_figure_bears_missing_values():
  rows = [
    {"network": "student", "epoch": 1, "loss": [None, 0.5]},
    {"network": "teacher", "epoch": 1, "loss": [None], "test_accuracy": 0.9},
    {"step": 3},
  ]
  assert render(plots.curves_figure(rows))


def test_pictures_leave_matplotlib_as_it_was(results):
  with matplotlib.rc_context({"font.size": 30}):
    before = dict(matplotlib.rcParams)
    style.to_svg(plots.accuracy_figure(results))
    assert dict(matplotlib.rcParams) == before


def test_style_is_free_of_the_users_settings(results):
  expected = render(plots.accuracy_figure(results))
  with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
    assert render(plots.accuracy_figure(results)) == expected


def test_svg_is_the_same_twice(results):
  figures = [plots.accuracy_figure(results) for _ in range(2)]
  first, second = map(style.to_svg, figures)
  assert first == second
