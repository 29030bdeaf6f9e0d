"""Several yes/no labels: three facts of a handwritten digit.

digit_facts: Even, prime, above 4: what a teacher's logits add to such labels.

  python launch.py compare --experiment=digit_facts

Of 400 digits the student is told three facts each, and not which digit it is.
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

FACTS = (
  "class_attributes('mnist5k', even=(0, 2, 4, 6, 8), prime=(2, 3, 5, 7),"
  " above_4=(5, 6, 7, 8, 9))"
)

EXPERIMENTS = {
  "digit_facts": Experiment(
    # Half the height and width: a quarter of the time.
    data=Data(dataset=FACTS, validation=0.2, images=400, image_size=14),
    teacher=Teacher(
      model="mlp(400, 400, dropout=0.3)",
      augment="shift(1)",
      epochs=30,
      learning_rate=1e-3,
    ),
    student=Student(model="mlp(32)", epochs=30, batch_size=50, seeds=10),
    search=Search(methods="kd l2d logit_mse", rates=(3e-3, 1e-2)),
  )
}
