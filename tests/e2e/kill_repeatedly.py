"""Train a config, kill -9 it at random moments, resume each time, and compare with a run that nobody killed.

    python kill_repeatedly.py CONFIG DIRECTORY KILLS SEED [KEY=VALUE ...]

Prints one line of JSON; exit status 1 and a line on stderr for the first thing that is wrong.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from forked_runs import expect, losses, options_of, run, start
from warm import prepare

from mmswin.engine.resuming import has_checkpoints, newest_complete_checkpoint


def saved(work_dir: Path) -> int:
    """The iteration of the newest complete checkpoint; 0 without any."""
    return newest_complete_checkpoint(work_dir)[1]['meta']['iter'] if has_checkpoints(work_dir) else 0


def names(work_dir: Path) -> set[str]:
    """Of its checkpoints; a new one is worth a look into it."""
    return {path.name for path in work_dir.glob('*.pth')}


def main() -> None:
    config, directory, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    seed, options = int(sys.argv[4]), options_of(sys.argv[5:])
    chance, parts, whole = random.Random(seed), directory / 'parts', directory / 'whole'
    prepare()
    began, reached, unfinished, moments, stations = time.monotonic(), 0, 0, [], set()
    duration = 0.0
    for number in range(kills):
        pid = start(config, parts, options)
        before = time.monotonic()
        # Mostly in the middle of training, at times before it. How long starting takes is measured now and then.
        if number % 3 == 0 or number == kills - 1:  # the last one too, so that a slow machine comes as far
            there = names(parts)
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if names(parts) != there and saved(parts) > reached:
                    break
                time.sleep(0.05)
            duration = time.monotonic() - before
            time.sleep(chance.uniform(0, 0.5))
        else:
            time.sleep(duration * chance.uniform(0.5, 1.5))
        moments.append(round(time.monotonic() - before, 2))
        try:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        except (ProcessLookupError, ChildProcessError):
            status = -1
        expect(os.WIFSIGNALED(status) and status != -1, f'run {number} ended by itself: see {parts}_0.log')
        now = saved(parts)
        expect(now >= reached, f'after kill {number} the newest complete checkpoint is {now}, it was {reached}')
        noted = max(losses(parts), default=0)  # which it is once its checkpoint is written
        expect(now >= noted, f'after kill {number}: iteration {noted} was saved, but {now} is the newest whole one')
        unfinished += any(parts.glob('*.mmswin-tmp'))
        reached = now
        stations.add(now)
    killed_for = time.monotonic() - began

    last = reached + 3
    for work_dir in (parts, whole):
        expect(
            run(config, work_dir, options, kill_after=last) == [signal.SIGKILL],
            f'a run did not come to iteration {last}: see {work_dir}_0.log',
        )
    one, other = losses(whole), losses(parts)
    expect(all(len(values) == 1 for values in other.values()), 'an iteration that was repeated had another loss')
    # A kill may come between an iteration's checkpoint and the note of its loss, and nothing does that iteration again.
    unnoted = set(one) - set(other)
    expect(unnoted <= stations, f'iterations {sorted(unnoted - stations)} were not done')
    differing = [i for i in one.keys() | other.keys() if i not in unnoted and one.get(i) != other[i]]
    expect(not differing, f'losses differ: {differing[:5]}')
    final = [newest_complete_checkpoint(d)[1] for d in (parts, whole)]
    expect(final[0]['meta']['iter'] == final[1]['meta']['iter'] == len(one) == last, 'the runs have different lengths')
    for name, value in final[0]['state_dict'].items():
        expect(torch.equal(value, final[1]['state_dict'][name]), f'{name} differs')
    expect(not list(parts.glob('*.mmswin-tmp')), 'leftovers were not removed')
    print(
        json.dumps(
            {
                'kills': kills,
                'kills_while_writing': unfinished,
                'iterations': len(one),
                'iterations_when_last_killed': reached,
                'repeated_to_the_bit': True,
                'seconds': round(killed_for),
                'moments': moments,
            }
        )
    )


if __name__ == '__main__':
    main()
