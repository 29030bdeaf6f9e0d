"""What distillation teaches a student to look at, where labels teach the wrong thing.

python launch.py quantify
"""

from kdjax.config import Data, Experiment, Quantify, Student, Teacher

MODEL = "lenet(16, 32, 64, hidden=(128, 128), kernel=3, pool=False)"

EXPERIMENT = Experiment(
  data=Data(dataset="cluttered_digits", train_split="spurious"),
  teacher=Teacher(epochs=13, batch_size=64, augment="none"),
  student=Student(model=MODEL, epochs=30, batch_size=64, seeds=5),
  quantify=Quantify(tap="hidden_0", teacher_split="teacher"),
)
