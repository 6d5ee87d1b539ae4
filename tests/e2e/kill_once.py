"""Train a config, kill -9 it in the middle, resume, and compare all losses with those of a run that nobody killed.

    python kill_once.py CONFIG DIRECTORY PROCESSES BATCH KILL_AFTER [KEY=VALUE ...]

PROCESSES may be several numbers, as ``2,1``; the images of the BATCH are shared among the processes. Prints one line of
JSON, the losses of each number's processes; exit status 1 and a line on stderr for the first thing that is wrong.
"""

import json
import signal
import sys
from pathlib import Path

from forked_runs import expect, losses, options_of, run
from warm import prepare


def compare(config: str, directory: Path, processes: int, kill_after: int, options: dict) -> list[list[float]]:
    """The losses of each process, which are those of the run that was killed and of the one that was not."""
    parts, whole = directory / 'parts', directory / 'whole'
    killed = run(config, parts, options, kill_after, processes)
    expect(killed == [signal.SIGKILL] * processes, f'the run was not killed: see {parts}_0.log')
    for work_dir in (parts, whole):
        expect(
            run(config, work_dir, options, 0, processes) == [0] * processes,
            f'a run did not end well: see {work_dir}_0.log',
        )
    noted = []
    for rank in range(processes):
        one, other = losses(whole, rank), losses(parts, rank)
        differing = [i for i in {*one, *other} if one.get(i) != other.get(i)]
        expect(not differing, f'process {rank}: the losses of iterations {differing} differ')
        values = [float.fromhex(*one[i]) for i in sorted(one)]
        expect(len(set(values)) == len(values), 'the losses do not vary, so they prove nothing')
        noted.append(values)
    return noted


def main() -> None:
    config, directory, counts = sys.argv[1], Path(sys.argv[2]), [int(word) for word in sys.argv[3].split(',')]
    batch, kill_after, options = int(sys.argv[4]), int(sys.argv[5]), options_of(sys.argv[6:])
    prepare()
    print(
        json.dumps(
            [
                compare(
                    config,
                    directory / str(count),
                    count,
                    kill_after,
                    {**options, 'train_dataloader.batch_size': batch // count},
                )
                for count in counts
            ]
        )
    )


if __name__ == '__main__':
    main()
