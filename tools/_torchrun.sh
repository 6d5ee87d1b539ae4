# Shared by dist_train.sh and dist_test.sh: torchrun_tool PROCESSES TOOL ARGUMENTS...
PYTHON=${PYTHON:-python}

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

torchrun_tool() {
    local processes=$1 tool=$2 tools port
    shift 2
    tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    if [ "${NNODES:-1}" -gt 1 ]; then
        # All machines must name the same port, so it cannot be picked here.
        : "${NODE_RANK:?NNODES is $NNODES: set NODE_RANK to 0 on the first machine, 1 on the next, ...}"
        : "${MASTER_ADDR:?NNODES is $NNODES: set MASTER_ADDR to the address of the first machine}"
        port=${PORT:-29500}
    else
        port=${PORT:-$(free_port)}
    fi
    # exec: a signal to this script reaches torchrun, which passes it on to every process.
    PYTHONPATH="$(dirname "$tools")${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$port" \
        "$tools/$tool" "$@"
}
