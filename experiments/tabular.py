"""Tables and numbers: regression, normal distributions, gradient-boosted teachers.

regression_diabetes: Small networks of 442 patients, and what five large ones add.

  python launch.py compare --experiment=regression_diabetes  (a minute of CPU time)

Every arm tries six settings with three seeds on a fifth of the training rows; the best
is trained again with ten fresh seeds and scored on the test rows.

regression_images: The angle of a turned digit, of 400 images where the teacher saw 3,200.

  python launch.py compare --experiment=regression_images    (two minutes of CPU time)

As `regression_diabetes`, with one seed for each setting and five fresh ones.

regression_intervals: The same with normal distributions: how far the angle may be off.

  python launch.py compare --experiment=regression_intervals (two minutes of CPU time)

boosted_diabetes: A network learns from gradient-boosted trees, out of fold.

  python -m examples.boosted_teacher diabetes runs/boosted_diabetes_trees
  python launch.py --experiment=boosted_diabetes --teacher_cache=runs/boosted_diabetes_trees

boosted_tumours: The same for two classes of tumours.

  python -m examples.boosted_teacher breast_cancer runs/boosted_tumours_trees
  python launch.py --experiment=boosted_tumours --teacher_cache=runs/boosted_tumours_trees

boosted_tumours_in_sample: Trees that have seen the rows that they answer, instead.

  python -m examples.boosted_teacher breast_cancer runs/boosted_tumours_in_sample_trees --in_sample
  python launch.py --experiment=boosted_tumours_in_sample \
    --teacher_cache=runs/boosted_tumours_in_sample_trees
"""

from kdjax.runner.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Search,
  Student,
  Teacher,
  Teaching,
)


# The best rate of each arm among 0.003, 0.01 and 0.03 on a fifth of the training rows,
# which the trees have not seen, five seeds each:
#   python -m examples.boosted_teacher breast_cancer DIR --held_out=0.2
#   launch.py sweep --experiment=boosted_tumours --validation=0.2 --seeds=5
#     --teacher_cache=DIR and 3e-3,1e-2,3e-2 for the three --...learning_rate
def _tumours(learning_rate):
  return Experiment(
    data=Data(dataset="breast_cancer"),
    student=Student(
      model="mlp(8)",
      epochs=30,
      batch_size=32,
      seeds=10,
      learning_rate=learning_rate,
    ),
    distillation=Distillation(distillation="kd(temperature=2):0.5 + ce:0.5"),
    controls=Controls(
      label_smoothing=0.1,
      baseline_learning_rate=1e-2,
      smoothing_learning_rate=3e-2,
    ),
  )


EXPERIMENTS = {
  "regression_diabetes": Experiment(
    data=Data(dataset="diabetes", validation=0.2),
    # Five networks: one alone errs more than its students.
    teaching=Teaching(teachers=5),
    teacher=Teacher(
      model="mlp(256)", epochs=20, batch_size=32, learning_rate=1e-3
    ),
    student=Student(model="mlp(8)", epochs=40, batch_size=32, seeds=10),
    search=Search(
      methods="logit_mse teacher_bounded rkd", rates=(3e-3, 1e-2), seeds=3
    ),
  ),
  "regression_images": Experiment(
    data=Data(dataset="rotated_digits", validation=0.2, images=400),
    teacher=Teacher(
      model="lenet(8, 16, hidden=64)", epochs=15, learning_rate=3e-3
    ),
    student=Student(model="mlp(64)", epochs=60, batch_size=50, seeds=5),
    search=Search(methods="logit_mse teacher_bounded rkd", rates=(1e-3, 3e-3)),
  ),
  "regression_intervals": Experiment(
    data=Data(
      dataset="rotated_digits",
      task="gaussian_regression",
      validation=0.2,
      images=400,
    ),
    teacher=Teacher(
      model="lenet(8, 16, hidden=64)", epochs=15, learning_rate=3e-3
    ),
    student=Student(model="mlp(64)", epochs=60, batch_size=50, seeds=5),
    search=Search(methods="gaussian_kl logit_mse", rates=(1e-3, 3e-3)),
  ),
  # Both arms' best of the same three rates, found likewise.
  "boosted_diabetes": Experiment(
    data=Data(dataset="diabetes"),
    student=Student(
      model="mlp(8)", epochs=40, batch_size=32, seeds=10, learning_rate=1e-2
    ),
    distillation=Distillation(distillation="logit_mse:0.5 + ce:0.5"),
    controls=Controls(baseline_learning_rate=1e-2),
  ),
  "boosted_tumours": _tumours(3e-2),
  "boosted_tumours_in_sample": _tumours(3e-3),
}
