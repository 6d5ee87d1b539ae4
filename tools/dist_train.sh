#!/usr/bin/env bash
# Train on several GPUs (or, without one, several CPU processes) of one or more machines:
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: the same command on each, with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2
. "$(dirname "$0")/_torchrun.sh"
torchrun_tool "$gpus" train.py "$config" --launcher pytorch "$@"
