"""Segmentation: which class each pixel of a cluttered image is.

segmentation_digits: What a teacher's maps give a small U-Net that has few masks.

  python launch.py compare --experiment=segmentation_digits

The student sees 400 masks of 2,400, the teacher all; 600 more images are held out. On
these every arm, hard and smoothed labels among them, tries four settings with one seed;
the best is trained again with five fresh seeds and scored on the 1,000 test images.

There are no results yet. With --epochs=10 all students still call nearly every pixel
background: mean IoU of hard labels 7.0 ± 3.4 %, smoothed labels 9.1 ± 0.7, kd 10.1 ± 0.6,
cwd on answers 10.2 ± 1.5, kd with pairwise 10.1 ± 0.3 (teacher 63.2), and no difference
is shown. Hence six times as many epochs here.
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
    student=Student(model="unet(8, 2, 1)", epochs=60, batch_size=25, seeds=5),
    search=Search(
      methods="kd ce:1+cwd(answers=True):3 kd+pairwise",
      rates=(3e-3, 1e-2),
      weights=(0.3, 3.0),
      smoothing=(0.05, 0.2),
    ),
  ),
}
