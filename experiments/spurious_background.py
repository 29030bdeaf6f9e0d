"""What distillation teaches a student to look at where labels teach the wrong thing.

  python launch.py quantify             (about 450 s of CPU time, two cores or one)
  python launch.py quantify --train_split=train      the same, honest backgrounds
  python launch.py quantify --experiment=plain_background          no backgrounds

Digits on textures. What student and baseline learn from gives the class away by
the texture; the teacher's images and the test images do not. 60 test images, the
first dense layer, b = 0.75 nats, 5 paired seeds, one teacher:

  metric     teacher  student          baseline        the paper's hypothesis
  N_fg       17.9     14.3 +- 0.8      0.0 +- 0.0      larger: reproduced (3e-6)
  N_bg       27.9     19.9 +- 2.1      2.4 +- 1.2      smaller: opposite (1e-4)
  lambda     0.392    0.419 +- 0.019   0.004 +- 0.004  larger: reproduced (2e-6)
  D_mean     1.511    1.847 +- 0.183   0.931 +- 0.054  smaller: opposite (0.003)
  D_std      0.613    0.632 +- 0.072   0.124 +- 0.101  smaller: opposite (0.003)
  rho        0.929    0.840 +- 0.019   0.354 +- 0.292  larger: 4 of 4, p = 0.052
  accuracy   71.8 %   41.5 +- 1.5 %    9.0 +- 0.1 %

The student inherits what its teacher looks at, clutter included; the baseline
looks at textures and hardly encodes a digit. Its D and rho rest on 15 of 300 images
and say little. N_fg, lambda and rho have these signs at every b where they are
defined. docs/quantify.md has more on the three that come out opposite.
"""

from kdjax.runner.config import Data, Experiment, Quantify, Student, Teacher

MODEL = "lenet(16, 32, 64, hidden=(128, 128), kernel=3, pool=False)"

EXPERIMENT = Experiment(
  data=Data(dataset="cluttered_digits", train_split="spurious"),
  teacher=Teacher(epochs=13, batch_size=64, augment="none"),
  student=Student(model=MODEL, epochs=30, batch_size=64, seeds=5),
  quantify=Quantify(tap="hidden_0", teacher_split="teacher", probes_at_once=8),
)
