"""Other teachers than one large network: several, in a row, born again, or weak.

  python launch.py --experiment=ensemble

and so for the others: a minute or two of CPU each. Test error over 5 seeds. Rates of
the first four: the search `launch.py sweep --experiment=ensemble --validation=0.2
--learning_rate=0.003,0.01,0.03`, shared by all experiments with this student, whose
baseline on labels has 6.34 ± 0.23 %; those of the last two: what mnist_tuning finds for
their network, whose baseline on labels has 4.58 ± 0.50.

ensemble: Five teachers instead of one: does their mean teach a small student better?
Student 6.22 ± 0.62 %, baseline (-0.12 points, p = 0.55), plain distillation from the
first teacher 5.98 ± 0.69 (+0.24, p = 0.08): no gain for this student, though the
teachers' 4.00 ± 0.19 become 3.6 together.

specialists: A generalist with three specialists, Hinton's section 5, teaches a small student.
Student 5.96 ± 0.49 %, baseline (-0.38 points, p = 0.08), plain distillation from the
generalist 6.06 ± 0.79 (-0.10, p = 0.51): no gain shown. The generalist's 4.0 become
3.3 with its specialists, of which two have a single class: on ten well-known classes
the covariance separates the easy ones.

teacher_assistant: A network of middle size between teacher and student (TAKD).
Student 6.24 ± 0.18 %, baseline (-0.10 points, p = 0.14), plain distillation without the
assistant 6.06 ± 0.79 (+0.18, p = 0.57): no gain. Teacher 4.0, assistant 4.2.

route: Four moments of the teacher's training as a curriculum (route-constrained).
Student 6.56 ± 0.38 %, baseline (+0.22 points, p = 0.17), plain distillation from the
last moment 6.06 ± 0.79 (+0.50, p = 0.19): no gain. The moments themselves: 8.3, 4.8,
4.1, 4.0.

born_again: Three generations of one network, each the next one's teacher (born again).
Third generation 4.80 ± 0.24 %, baseline (+0.22 points, p = 0.21), first generation
(plain distillation from the teacher) 4.16 ± 0.21 (+0.64, p = 0.005): here later
generations are worse. Teacher 4.6, the single networks between 5.0 and 5.2.

weak_to_strong: A weak teacher's answers alone train a network ten times its size.
The strong student 6.72 ± 0.41 %, its weak teacher 10.90; the strong baseline on true
labels (+2.14 points, p = 0.002). Distilled with T = 4 and a tenth of labels it
copies the teacher better, and errs as it does: 10.06 ± 0.15. The teacher saw the
labels of the very images on which it teaches.
"""

from kdjax.runner.config import (
  Controls,
  Distillation,
  Experiment,
  Student,
  Teacher,
  Teaching,
)

_KD = "kd(temperature=4)"


def _small(**teaching) -> Experiment:
  return Experiment(
    teacher=Teacher(
      model="mlp(300, 300, dropout=0.5)", epochs=20, augment="shift(2)"
    ),
    student=Student(model="mlp(30)", epochs=20, seeds=5, learning_rate=3e-2),
    distillation=Distillation(distillation=_KD),
    teaching=Teaching(**teaching),
    controls=Controls(
      label_smoothing=0.1,
      baseline_learning_rate=1e-2,
      smoothing_learning_rate=1e-2,
      augmented_learning_rate=1e-2,
      reference=_KD,
    ),
  )


def _alike(teacher: str, distillation: str, **teaching) -> Experiment:
  return Experiment(
    teacher=Teacher(
      model=teacher, epochs=20, learning_rate=3e-2, augment="none"
    ),
    student=Student(model="mlp(100)", epochs=20, seeds=5, learning_rate=3e-2),
    distillation=Distillation(distillation=distillation),
    teaching=Teaching(**teaching),
    controls=Controls(
      label_smoothing=0.1, smoothing_learning_rate=1e-2, reference=_KD
    ),
  )


EXPERIMENTS = {
  "ensemble": _small(teachers=5),
  "specialists": _small(specialists=3),
  "teacher_assistant": _small(chain="mlp(100)"),
  "route": _small(route=4),
  "born_again": _alike("mlp(100)", _KD, generations=3),
  "weak_to_strong": _alike("mlp(10)", "kd(temperature=1):1"),
}
