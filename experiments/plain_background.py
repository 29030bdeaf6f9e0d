"""What distillation teaches a student to look at where there is nothing but digits.

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

from experiments.spurious_background import EXPERIMENT as _SPURIOUS
from kdjax.runner.config import Data

EXPERIMENT = dataclasses.replace(
  _SPURIOUS,
  data=Data(
    dataset="cluttered_digits", train_split="plain", test_split="plain_test"
  ),
  student=dataclasses.replace(_SPURIOUS.student, seeds=3),
  quantify=dataclasses.replace(
    _SPURIOUS.quantify, teacher_split="plain_teacher", compared_images=4
  ),
)
