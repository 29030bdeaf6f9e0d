#!/bin/bash
# One run on all GPUs of this machine, begun again for as long as that helps:
#
#   experiments/cluster/gpu_box.sh runs/long --experiment=cifar100/resnet32x4_resnet8x4
#   experiments/cluster/gpu_box.sh runs/qwen3 lm \
#     --experiment=lm/qwen3_4b_1_7b_on_policy --text=mathematics.jsonl \
#     --teacher_from=Qwen3-4B --student_from=Qwen3-1.7B-Base
#
# The second one is on-policy distillation of a language model (docs/recipes.md).
# One process drives all GPUs: nothing here needs --multihost.
set -u

workdir=$1
shift
python=${PYTHON:-python}

for ((start = 0; start < 20; start++)); do
  "$python" launch.py --accelerator="${ACCELERATOR:-gpu}" --workdir="$workdir" "$@" &
  child=$!
  # What stops this script stops the run first, saved.
  trap 'stopped=1; kill -TERM "$child"' TERM INT
  wait "$child"
  status=$?
  if [[ -n ${stopped:-} ]]; then
    wait "$child"
    exit $?
  fi
  case "$status" in
    0 | 1 | 2 | 3 | 4 | 130) exit "$status" ;;
  esac
  echo "gpu_box.sh: ended with $status; starting again" >&2
  sleep 5
done
exit "$status"
