#!/usr/bin/env bash
# Test on several GPUs (or, without one, several CPU processes) of one or more machines:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: the same command on each, with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT set.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
gpus=$3
shift 3
. "$(dirname "$0")/_torchrun.sh"
torchrun_tool "$gpus" test.py "$config" "$checkpoint" --launcher pytorch "$@"
