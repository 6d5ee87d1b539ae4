# Shared by slurm_train.sh and slurm_test.sh: slurm_tool PARTITION JOB_NAME TOOL ARGUMENTS...
slurm_tool() {
    local partition=$1 job_name=$2 tool=$3 tools gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    shift 3
    tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    if [ "$gpus" -lt "$per_node" ]; then
        per_node=$gpus
    fi
    # SRUN_ARGS is meant to be split into words.
    # shellcheck disable=SC2086
    PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" --job-name="$job_name" \
        --gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$tools/$tool" "$@"
}
