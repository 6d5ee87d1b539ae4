#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS are read from the environment.
# To be stopped with a saved checkpoint before the time limit: SRUN_ARGS="--signal=TERM@120".
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4
. "$(dirname "$0")/_slurm.sh"
slurm_tool "$partition" "$job_name" train.py "$config" --work-dir "$work_dir" --launcher slurm "$@"
