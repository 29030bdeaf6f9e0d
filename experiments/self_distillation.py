"""What networks teach themselves, against a teacher and against plain softness.

  python launch.py compare --experiment=self_distillation

EXPERIMENT
"""

from kdjax.config import Data, Experiment, Search, Student, Teacher

EXPERIMENT = Experiment(
  # Half the height and width: a quarter of the time.
  data=Data(validation=0.2, images=400, image_size=14),
  teacher=Teacher(
    model="mlp(400, 400, dropout=0.3)",
    augment="shift(1)",
    epochs=30,
    learning_rate=1e-3,
  ),
  # Two stages: be your own teacher needs one below the last.
  student=Student(model="mlp(64, 64)", epochs=30, batch_size=50, seeds=10),
  search=Search(
    methods="kd noisy_teacher tf_kd confidence_penalty cs_kd pskd byot",
    rates=(3e-3, 1e-2),
    # As wide as what tf_kd tries, which is smoothed labels by another name.
    smoothing=(0.05, 0.2, 0.5),
  ),
)
