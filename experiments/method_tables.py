"""Methods beside each other on one small task, searched alike and measured alike.

method_table: Every method that fits a small CNN pair, searched alike and measured alike.

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

self_distillation: What networks teach themselves, against a teacher and against plain softness.

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

vit_table: What the methods for transformers give a small vision transformer.

  python launch.py compare --experiment=vit_table      (twenty minutes on two busy CPU cores)

As `method_table`: 400 images for the student, 3,200 shifted ones for the
teacher, six settings for every arm on 800 held-out images, the best one trained
again with three fresh seeds and scored on the test images.

Test error: hard labels 40.9 ± 8.0 %, smoothed labels 35.0 ± 4.4, kd 35.3 ± 5.8;
minilmv2 15.6 ± 0.8, minilm 16.0 ± 1.7, vitkd 21.2 ± 2.9, patient_kd 23.0 ± 7.2,
attention_maps 23.4 ± 2.1 (teacher 10.3). Showing a transformer where to look is
worth more here than answers; but hard labels and kd vary much, and corrected for
nine arms three seeds show nothing against either.
The students are short of data and steps: no one should train one like this.
"""

from kdjax.runner.config import Data, Experiment, Search, Student, Teacher

EXPERIMENTS = {
  "method_table": Experiment(
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
  ),
  "self_distillation": Experiment(
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
  ),
  "vit_table": Experiment(
    # 16 patches of 4 by 4 pixels instead of 49: a third of the time.
    data=Data(validation=0.2, images=400, image_size=16),
    teacher=Teacher(
      model="vit(patch=4, width=64, depth=4, heads=4)",
      augment="shift(1)",
      epochs=30,
      batch_size=32,
      learning_rate=2e-3,
    ),
    student=Student(
      model="vit(patch=4, width=32, depth=2, heads=4)",
      epochs=30,
      # Small batches: a transformer needs many steps, and these are cheap.
      batch_size=16,
      seeds=3,
    ),
    search=Search(
      methods="kd attention_maps minilm minilmv2 tinybert vitkd patient_kd fitnets",
      rates=(1e-3, 3e-3),
    ),
  ),
}
