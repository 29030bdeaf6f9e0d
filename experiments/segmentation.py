"""Segmentation: which class each pixel of a cluttered image is.

segmentation_digits: What a teacher's maps give a small U-Net that has few masks.

  python launch.py compare --experiment=segmentation_digits
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

EXPERIMENTS = {
  "segmentation_digits": Experiment(
    data=Data(
      dataset="cluttered_digits_masks",
      image_size=24,
      validation=0.2,
      images=400,
    ),
    teacher=Teacher(
      model="unet(16, 3, 1)",
      augment="shift(2)",
      epochs=12,
      batch_size=32,
      learning_rate=3e-3,
    ),
    student=Student(model="unet(8, 2, 1)", epochs=10, batch_size=25, seeds=5),
    search=Search(
      methods="kd ce:1+cwd(answers=True):3 kd+pairwise",
      rates=(3e-3, 1e-2),
      weights=(0.3, 3.0),
      smoothing=(0.05, 0.2),
    ),
  ),
}
