"""Every method that fits a small CNN pair, searched alike and measured alike.

  python launch.py compare --experiment=method_table   (half an hour on two busy CPU cores)

The student sees 400 of 3,200 training images; the teacher has been trained on
all of them, shifted. 800 more are held out from both: on these every arm, the
controls among them, tries six settings (three factors of its published weight
times two learning rates; six rates for hard labels) with one seed. The best is
trained again with five fresh seeds and scored on the test images.

Test error: hard labels 8.74 ± 0.99 %, smoothed labels 7.26 ± 0.67, kd 6.12 ±
0.49; best ttm 5.24 ± 0.67, pkt 5.30 ± 0.56, review_kd 5.30 ± 0.43, rkd 5.54 ±
0.94. After Holm's correction for 41 arms over 5 seeds only ttm, rkd and kd are
shown to help, and none is shown to beat kd. What matches answers or relations
helps; what matches maps does little for so small a student, but for review_kd;
attention_transfer, srd and fsp do worse on average than no teacher at all. Half of
the methods chose a tenth of their published weight, and every arm the larger rate:
the training is short.
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

EXPERIMENT = Experiment(
  # Half the height and width: a quarter of the time.
  data=Data(validation=0.2, images=400, image_size=14),
  teacher=Teacher(
    model="lenet(16, 32, hidden=128, dropout=0.3)",
    augment="shift(1)",
    epochs=40,
    learning_rate=3e-3,
  ),
  student=Student(
    model="lenet(8, 16, hidden=32)", epochs=30, batch_size=50, seeds=5
  ),
  search=Search(methods="all", rates=(3e-3, 1e-2)),
)
