"""What distillation teaches a student to look at, with and without backgrounds.

spurious_background: What distillation teaches a student to look at where labels teach the wrong thing.

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

plain_background: What distillation teaches a student to look at where there is nothing but digits.

  python launch.py quantify --experiment=plain_background      (about 300 s of CPU time)

The control of spurious_background: the same digits, networks and budget on black,
for teacher, student and baseline alike. 60 test images, the first dense layer,
b = 0.75 nats, 3 paired seeds, one teacher:

  metric     teacher  student          baseline        the paper's hypothesis
  N_fg       6.5      10.8 +- 1.7      12.2 +- 5.3     larger: not reproduced, 1 of 3
  N_bg       6.2      6.3 +- 0.1       11.7 +- 4.1     smaller: 3 of 3, p = 0.16
  lambda     0.507    0.627 +- 0.041   0.501 +- 0.061  larger: 3 of 3, p = 0.089
  D_mean     0.859    0.920 +- 0.189   0.461 +- 0.100  smaller: not reproduced, 0 of 3
  D_std      0.000    0.168 +- 0.052   0.141 +- 0.244  smaller: not reproduced, 1 of 3
  rho        0.344    0.563 +- 0.090   0.631 +- 0.269  larger: not reproduced, 1 of 3
  accuracy   91.8 %   87.5 +- 0.8 %    84.7 +- 0.9 %

Without clutter to inherit the student has fewer background concepts than the
baseline. The baseline's foreground concepts are at their most after the first
epoch, in two seeds on every image: epochs are too coarse to tell D apart here.
"""

import dataclasses

from kdjax.runner.config import Data, Experiment, Quantify, Student, Teacher

_MODEL = "lenet(16, 32, 64, hidden=(128, 128), kernel=3, pool=False)"

_SPURIOUS = Experiment(
  data=Data(dataset="cluttered_digits", train_split="spurious"),
  teacher=Teacher(epochs=13, batch_size=64, augment="none"),
  student=Student(model=_MODEL, epochs=30, batch_size=64, seeds=5),
  quantify=Quantify(tap="hidden_0", teacher_split="teacher", probes_at_once=8),
)
_PLAIN = dataclasses.replace(
  _SPURIOUS,
  data=Data(
    dataset="cluttered_digits", train_split="plain", test_split="plain_test"
  ),
  student=dataclasses.replace(_SPURIOUS.student, seeds=3),
  quantify=dataclasses.replace(
    _SPURIOUS.quantify, teacher_split="plain_teacher", compared_images=4
  ),
)
EXPERIMENTS = {"spurious_background": _SPURIOUS, "plain_background": _PLAIN}
