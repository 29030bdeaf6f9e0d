"""Which layer of the student learns from which layer of the teacher."""


def pair_layers(students: int, teachers: int) -> tuple[tuple[int, int], ...]:
  """Spreads the shallower network's layers evenly over the deeper one's.

  The last layers always meet.

  Args:
    students: number of the student's layers, >= 1.
    teachers: number of the teacher's, >= 1.

  Returns:
    (student, teacher) layer numbers, as many pairs as the shallower one has
    layers.
  """
  if min(students, teachers) < 1:
    raise ValueError(
      f"there must be layers to pair, got {students} of the student and"
      f" {teachers} of the teacher"
    )
  pairs = min(students, teachers)

  def spread(layers):
    return [-(-(i + 1) * layers // pairs) - 1 for i in range(pairs)]

  return tuple(zip(spread(students), spread(teachers), strict=True))
