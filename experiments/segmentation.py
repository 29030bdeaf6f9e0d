"""Segmentation: which class each pixel of a cluttered image is.

segmentation_digits: What a teacher's maps give a small U-Net that has few masks.

  make experiments RUNS=compare:segmentation_digits    (45 minutes on two CPU cores shared by several jobs)

The student sees 400 masks of 2,400, the teacher all; 600 more images are held out. On
these every arm, hard and smoothed labels among them, tries four settings with one seed;
the best is trained again with five fresh seeds and scored on the 1,000 test images.

Mean IoU over 5 seeds: CWD on answers 35.6 ± 1.6 %, hard labels 27.4 ± 8.9 (+8.2 points,
p = 0.12: not shown to differ), smoothed labels 25.5 ± 3.1 (+10.1, p = 0.007), kd 21.3 ±
7.2 (+14.2, p = 0.04 after Holm's correction), kd with pairwise 13.6 ± 2.5; teacher 67.0.
No method is shown to help: hard labels give anything from 14 to 37 %, by the seed, and
CWD 34 to 38. kd took the smallest weight that was tried, hard labels the largest rate.
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
