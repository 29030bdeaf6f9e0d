"""Several yes/no labels: three facts of a handwritten digit.

digit_facts: Even, prime, above 4: what a teacher's logits add to such labels.

  python launch.py compare --experiment=digit_facts   (three minutes on two busy CPU cores)

The student is told three facts of each of 400 digits, and not which digit it is; the
teacher of 3,200, shifted. 800 more are held out, on which every arm tries six settings
with one seed. The best is trained again with ten fresh seeds and scored on the test
images.

F1: hard labels 91.72 ± 0.90 %, kd (which is binary_kd) 92.15 ± 0.86, l2d 92.19 ± 0.37,
logit_mse 91.24 ± 0.95; the teacher 96.75. mAP: 96.74 ± 0.51, 97.30 ± 0.45, 97.26 ±
0.24, 96.95 ± 0.53. No method is shown to help (p >= 0.14), and all chose a tenth of
their weight: three logits say little beyond three answers. Label-wise embeddings add
nothing to kd here but a smaller spread.
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
    search=Search(methods="kd l2d logit_mse", rates=(1e-2, 3e-2)),
  )
}
