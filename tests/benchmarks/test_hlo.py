"""What devices tell each other is read from programs as XLA writes them."""

import pytest

from benchmarks import hlo

PROGRAM = """HloModule jit_f, is_scheduled=true

%add.clone (x: f32[], y: f32[]) -> f32[] {
  ROOT %add.1 = f32[] add(%x, %y)
}

%body (p: (s32[], f32[8,64])) -> (s32[], f32[8,64]) {
  %all-gather.4 = f32[8,64]{0,1} all-gather(%a), channel_id=2, replica_groups=mesh['data'=2,'model'=4] {'model'}, dimensions={1}
  ROOT %tuple = (s32[], f32[8,64]{1,0}) tuple(%i, %all-gather.4)
}

%condition (p: (s32[], f32[8,64])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[8,64], w: f32[64,64]) -> f32[] {
  %while.1 = (s32[], f32[8,64]{1,0}) while(%t), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %all-reduce.1 = (f32[64,16]{1,0}, /*index=1*/bf16[2]{0}) all-reduce(%b, %c), channel_id=3, replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add.clone
  %start = (f32[4]{0}, f32[8]{0}) all-gather-start(%d), replica_groups={{0,1},{2,3}}, dimensions={0}
  %done = f32[8]{0} all-gather-done(%start)
  %scattered = f32[2]{0} reduce-scatter(%e), replica_groups={{0,1,2,3}}, to_apply=%add.clone
  ROOT %permuted = f32[3]{0} collective-permute(%g), source_target_pairs={{0,1},{1,0}}
}
"""  # noqa: E501


def test_kinds_sizes_groups_and_rounds():
  found = [
    (one.kind, one.size, one.members, one.times)
    for one in hlo.collectives(PROGRAM)
  ]
  assert found == [
    ("all-gather", 2048, (0, 1, 2, 3), 5),
    ("all-reduce", 4096 + 4, (0, 4), 1),
    ("all-gather", 32, (0, 1), 1),
    ("reduce-scatter", 32, (0, 1, 2, 3), 1),
    ("collective-permute", 12, (), 1),
  ]


def test_a_loop_of_unknown_length_is_refused():
  text = PROGRAM.replace('"known_trip_count"', '"unknown"')
  with pytest.raises(ValueError, match="loop of unknown length.*all-gather"):
    hlo.collectives(text)


@pytest.mark.parametrize(
  ("kind", "expected"),
  [
    ("all-reduce", 150),
    ("all-gather", 75),
    ("reduce-scatter", 75),
    ("all-to-all", 75),
    ("collective-permute", 100),
  ],
)
def test_what_one_of_four_devices_sends(kind, expected):
  assert hlo.wire_bytes(kind, 100, 4) == expected
