"""The student never sees a 3, and recognises most of them all the same.

  python launch.py --experiment=mnist_omitted_class

Its transfer set has no 3s; what it knows of them it learned from how alike the
teacher finds other digits to a 3. It says "3" too rarely, since 3 was never the
answer; the correction shifts the logit of that one class until a tenth of the
training images, looked at without their labels, come out as 3s.
"""

from kdjax.config import Controls, Data, Distillation, Experiment, Student

EXPERIMENT = Experiment(
  data=Data(omit_classes=(3,)),
  student=Student(model="mlp(300, 300)"),
  distillation=Distillation(distillation="soft", temperature=20.0),
  controls=Controls(controls=False),
)
