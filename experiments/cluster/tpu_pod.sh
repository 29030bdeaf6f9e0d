#!/bin/bash
# One run on all workers of a Cloud TPU slice:
#
#   experiments/cluster/tpu_pod.sh NAME ZONE --experiment=mnist_demo --epochs=100
#   experiments/cluster/tpu_pod.sh NAME ZONE lm \
#     --experiment=lm/qwen2_5_7b_1_5b_minillm --text=/mnt/shared/dolly.jsonl \
#     --teacher_from=/mnt/shared/runs/teacher \
#     --student_from=/mnt/shared/runs/student
#
# The second one is MiniLLM's, a language model that learns from texts of its own:
# docs/recipes.md has its settings, and all commands from an empty slice on.
#
# kdjax and its packages, with jax[tpu], are installed in ~/kdjax on every
# worker; WORKDIR is a folder that all of them see (Filestore, or NFS): a bucket
# must be mounted, the run writes files.
set -euo pipefail

name=$1
zone=$2
shift 2
workdir=${WORKDIR:-/mnt/shared/runs/$name}

# Run it again after 70 or 75: the same command goes on.
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd kdjax && exec .venv/bin/python launch.py --multihost \
    --accelerator=tpu --workdir=$(printf %q "$workdir") $(printf '%q ' "$@")"
