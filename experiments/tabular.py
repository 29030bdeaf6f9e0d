"""Tables and numbers: regression, normal distributions, gradient-boosted teachers.

regression_diabetes: Small networks of 442 patients, and what five large ones add.

  python launch.py compare --experiment=regression_diabetes  (a minute of CPU time)

Every arm tries six settings (factors of its weight times rates; rates alone for the
baseline) with three seeds on a fifth of the training rows; the best is trained again
with ten fresh seeds and scored on the test rows.

Root mean squared error: baseline 58.1 ± 1.7, rkd 57.7 ± 1.9, logit_mse 57.7 ± 1.5 (-0.42,
p = 0.049; 0.15 after Holm's correction), teacher_bounded 58.4 ± 1.6; the teachers 58.5 ±
1.6. Nothing is shown to help: of 366 rows a large network knows no more than a small
one, and every method chose the least weight.

regression_images: The angle of a turned digit, of 400 images where the teacher saw 3,200.

  python launch.py compare --experiment=regression_images    (three minutes of CPU time)

As `regression_diabetes`, with one seed on 800 held-out images, and five fresh ones.

Root mean squared error, degrees: baseline 20.00 ± 0.24, logit_mse 18.30 ± 0.12 (-1.70,
p = 2e-4), teacher_bounded 19.37 ± 0.13 (-0.63, p = 0.001), rkd 19.51 ± 0.25 (-0.49,
p = 0.005); all three hold after Holm's correction. The teacher, 13.45, has seen eight
times the images: its numbers help most; its bound repeats the labels' own error.

regression_intervals: The same with normal distributions: how far the angle may be off.

  python launch.py compare --experiment=regression_intervals (three minutes of CPU time)

Negative log-likelihood, nats: baseline 11.48 ± 0.82, logit_mse 7.17 ± 0.36 (-4.31, p =
7e-4), gaussian_kl 5.76 ± 0.09 (-5.72, p = 7e-5; both hold after Holm's correction); root
mean squared errors 21.1 and, of gaussian_kl, 19.0 degrees. None may be trusted: of the
test angles 52 % lie within the baseline's 95 % intervals, 68 % within the student's and
86 % within the teacher's. All were trained longer than their variances bear.

boosted_diabetes: A network learns from gradient-boosted trees, out of fold.

  python -m examples.boosted_teacher diabetes runs/boosted_diabetes_trees
  python launch.py --experiment=boosted_diabetes --teacher_cache=runs/boosted_diabetes_trees

Root mean squared error over 10 seeds: student 57.59 ± 1.37, its baseline 58.85 ± 1.20
(-1.26, p = 0.002), the trees 66.4. The trees err more than either network: what
helps is perhaps that half of the objective keeps a network from learning 366 labels by
heart, more than what they know. That was not measured apart.

boosted_tumours: The same for two classes of tumours.

  python -m examples.boosted_teacher breast_cancer runs/boosted_tumours_trees
  python launch.py --experiment=boosted_tumours --teacher_cache=runs/boosted_tumours_trees

Test error over 10 seeds: student 0.88 ± 0.42 %, its baseline 0.88 ± 0.00 (p = 1), the
trees 2.65: one test row of 113 is all that both get wrong, and nothing can be shown.

boosted_tumours_in_sample: Trees that have seen the rows that they answer, instead.

  python -m examples.boosted_teacher breast_cancer runs/boosted_tumours_in_sample_trees --in_sample
  python launch.py --experiment=boosted_tumours_in_sample \
    --teacher_cache=runs/boosted_tumours_in_sample_trees

Test error over 10 seeds: student 1.06 ± 0.37 %, its baseline 0.88 ± 0.00 (+0.18, p =
0.17): no more is shown than out of fold.
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
