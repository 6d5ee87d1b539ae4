"""Train a config, kill -9 it in the middle, resume, and compare all losses with those of a run that nobody killed.

    python kill_once.py CONFIG DIRECTORY PROCESSES KILL_AFTER [KEY=VALUE ...]

Prints one line of JSON; exit status 1 and a line on stderr for the first thing that is wrong.
"""

import json
import signal
import sys
from pathlib import Path

from forked_runs import expect, losses, options_of, prepare, run


def main() -> None:
    config, directory, processes, kill_after = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    options = options_of(sys.argv[5:])
    prepare()
    parts, whole = directory / 'parts', directory / 'whole'
    killed = run(config, parts, options, kill_after, processes)
    expect(killed == [signal.SIGKILL] * processes, f'the run was not killed: see {parts}_0.log')
    for work_dir in (parts, whole):
        expect(run(config, work_dir, options, 0, processes) == [0] * processes,
               f'a run did not end well: see {work_dir}_0.log')
    noted = []
    for rank in range(processes):
        one, other = losses(whole, rank), losses(parts, rank)
        expect(all(len(values) == 1 for values in other.values()), 'an iteration that was repeated had another loss')
        expect(one == other, f'process {rank}: losses differ from iteration '
               f'{min(i for i in {*one, *other} if one.get(i) != other.get(i))} on' if one != other else '')
        expect(len(set.union(*one.values())) > len(one) / 2, 'the losses do not vary, so they prove nothing')
        noted.append({i: float.fromhex(*values) for i, values in one.items()})
    print(json.dumps({'iterations': len(noted[0]), 'losses': [list(values.values()) for values in noted]}))


if __name__ == '__main__':
    main()
