"""What the methods for transformers give a small vision transformer.

  python launch.py compare --experiment=vit_table      (ten minutes on two CPU cores)

As `method_table`: 400 images for the student, 3,200 shifted ones for the
teacher, six settings for every arm on 800 held-out images, the best one trained
again with three fresh seeds and scored on the test images.
"""

from kdjax.config import Data, Experiment, Search, Student, Teacher

EXPERIMENT = Experiment(
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
)
