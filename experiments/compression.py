"""Students that get smaller while they learn, each beside a baseline that gets as small.

  python launch.py --experiment=pruned          (some minutes on two busy CPU cores)

and so for quantized, pruned_90 and quantized_pruned. The baseline is pruned and rounded
likewise, without a teacher. Test error over 10 seeds, teacher 2.40 %. With
--sparsity=0 --quantization=none the student has 3.47 %, its baseline 4.86.

pruned: A student that loses four fifths of its weights while it learns, and its baseline.
The largest 15,680 of 78,400 weights stay. Student 3.48 ± 0.33 %, baseline 4.90 ± 0.46
(-1.42 points, p = 7e-6, better in 10 of 10). The packed file has 24.3 % of the bytes.
With --sparsity=0.95 they have 3.74 ± 0.20 and 5.14 ± 0.25 (-1.40, p = 3e-7), 9.5 %
of the bytes.

pruned_90: A student that loses nine tenths of its weights while it learns, and its baseline.
7,840 of 78,400 weights. Student 3.64 ± 0.40 %, baseline 5.00 ± 0.44 (-1.36 points, p =
3e-6, better in 10 of 10).

quantized: A student that learns with 4-bit weights and 8-bit activations, and its baseline.
Quantisation-aware distillation against quantisation-aware training. Student 3.47 ±
0.32 %, baseline 5.06 ± 0.46 (-1.59 points, p = 4e-7, better in 10 of 10). The file has
11.6 % of the bytes. The student of --quantization=none rounded after its training
has 3.76 (benchmarks/results/quantized.json).

quantized_pruned: A student with 4-bit weights, four fifths of them zero, and its baseline.
Both at once. Student 3.43 ± 0.22 %, baseline 5.52 ± 0.41 (-2.09 points, p = 2e-7, better
in 10 of 10). The packed file has 19,520 bytes, 6.1 % of float32's.

compression_table: What each way to a small student costs, and what it leaves of the accuracy.

  python launch.py compress

The demo's teacher and student; the student once more in int8 after training, in
4-bit weights and 8-bit activations after training and while it learns, and with
80 % of its weights pruned while it learns; each with a baseline that learns from the
labels alone. Figures: experiments/README.md.
"""

from kdjax.runner.config import (
  Compression,
  Controls,
  Distillation,
  Experiment,
  Run,
  Student,
  Teacher,
)


# Networks, rates and objective of mnist_demo.
def _compressed(**settings) -> Experiment:
  return Experiment(
    teacher=Teacher(augment="shift(2)"),
    distillation=Distillation(distillation="kd(temperature=8)"),
    controls=Controls(controls=False),
    compression=Compression(**settings),
    run=Run(evaluate_every=4),
  )


EXPERIMENTS = {
  "pruned": _compressed(sparsity=0.8),
  "pruned_90": _compressed(sparsity=0.9),
  "quantized": _compressed(quantization="w4a8"),
  "quantized_pruned": _compressed(quantization="w4a8", sparsity=0.8),
  "compression_table": Experiment(
    teacher=Teacher(augment="shift(2)"),
    student=Student(seeds=5),
    distillation=Distillation(distillation="kd(temperature=8)"),
    compression=Compression(quantization="w4a8", sparsity=0.8),
  ),
}
