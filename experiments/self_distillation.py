"""What networks teach themselves, against a teacher and against plain softness.

  python launch.py compare --experiment=self_distillation   (three minutes of CPU time)

As `method_table`, with dense networks: 400 images for the student, 3,200 shifted
ones for the teacher, six settings for every arm on 800 held-out images, the best
one trained again with ten fresh seeds and scored on the test images.

Test error: hard labels 10.71 ± 0.69 %, smoothed labels 10.17 ± 0.51; without a
teacher cs_kd 9.58 ± 0.55, tf_kd 10.15 ± 0.36, confidence_penalty 10.38 ± 0.52,
byot 10.51 ± 0.98, pskd 10.55 ± 0.72; with one kd 8.22 ± 0.34, noisy_teacher 9.55
± 0.66. Corrected for seven arms only kd, noisy_teacher and cs_kd are shown to
help, and every arm errs more than kd (p <= 2e-4). The virtual teacher of tf_kd
gives what smoothed labels give, as its formula says. Of what needs no teacher
only cs_kd, which relates images, does better than smoothing on average; a
teacher's knowledge is worth more than twice that. The objectives of pskd and
noisy_teacher have no other term, and Adam does not feel a factor of the whole:
these two tried two settings in effect, not six. One small task, short trainings.
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

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
