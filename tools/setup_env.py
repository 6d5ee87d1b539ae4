"""Set up an environment for mmswin: python tools/setup_env.py [--stack openmmlab|onedl] (what `make setup` calls)."""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if sys.version_info < (3, 10):
    sys.exit(
        'error: Python {}.{} is not supported: mmswin is set up with Python 3.10 to 3.12. Install one of them and '
        'name it: make setup PYTHON=python3.12'.format(*sys.version_info[:2])
    )
sys.path.insert(0, str(ROOT))


def main() -> int:
    from mmswin.environment import machine, peers, provision, stacks, wheels
    from mmswin.environment.shell import Shell, elapsed

    parser = argparse.ArgumentParser(description='Set up an environment with torch, the OpenMMLab stack and mmswin.')
    parser.add_argument('--stack', default='openmmlab', help='openmmlab (default) or onedl, the maintained forks')
    parser.add_argument('--venv', help='where (default: .venv, .venv-onedl for the forks)')
    parser.add_argument('--torch', default=stacks.TORCH, help='release of torch (%(default)s)')
    parser.add_argument('--build', default='auto', help='of torch: cpu, cuda, or auto, what the machine can use')
    parser.add_argument('--peers', action='store_true', help='also the libraries that the tests compare with')
    args = parser.parse_args()
    try:
        stack = stacks.find_stack(args.stack)
        venv = Path(args.venv or ROOT / stack.venv).absolute()
        plan = provision.Plan(
            root=ROOT,
            stack=stack,
            venv=venv,
            cache=wheels.cache_folder(),
            torch=args.torch,
            build=args.build,
            gpus=machine.find_gpus(),
            nvcc=machine.find_nvcc(),
        )
        shell = Shell(wheels.cache_folder() / 'logs' / f'setup-{stack.name}-{os.getpid()}.log')
        if provision.set_up(plan, shell):
            shell.say(
                f'{venv} is ready after {elapsed(shell.clock() - shell.started)}. '
                f'To use it: source {os.path.relpath(venv)}/bin/activate'
            )
        if args.peers:
            peers.install(plan, shell)
        shell.log.unlink(missing_ok=True)
    except stacks.EnvironmentProblem as problem:
        print(f'error: {problem}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped; `make setup` goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
