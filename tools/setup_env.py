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
    from mmswin.environment import hardware, plan, provision, stacks
    from mmswin.environment.shell import Shell

    parser = argparse.ArgumentParser(description='Set up an environment with torch, the OpenMMLab stack and mmswin.')
    parser.add_argument(
        '--stack', default='openmmlab', choices=stacks.STACKS, help='openmmlab (default) or onedl, the maintained forks'
    )
    parser.add_argument('--venv', help='where (default: .venv, .venv-onedl for the forks)')
    parser.add_argument('--torch', default=stacks.TORCH, help='release of torch (%(default)s)')
    parser.add_argument('--build', default='auto', help='of torch: cpu, cuda, or auto, what the machine can use')
    parser.add_argument('--peers', action='store_true', help='also the libraries that the tests compare with')
    parser.add_argument('--pretrain', action='store_true', help='also mmpretrain, in a folder of its own')
    args = parser.parse_args()
    stack = stacks.STACKS[args.stack]
    wanted = plan.Plan(
        root=ROOT,
        stack=stack,
        venv=Path(args.venv or ROOT / stack.venv).absolute(),
        torch=args.torch,
        build=args.build,
        gpus=hardware.find_gpus(),
        nvcc=hardware.find_nvcc(),
    )
    shell = Shell(wanted.venv.with_name(f'{wanted.venv.name}-setup.log'))
    try:
        if provision.set_up(wanted, shell):
            shell.say(f'{wanted.venv} is ready. To use it: source {os.path.relpath(wanted.venv)}/bin/activate')
        if args.peers:
            provision.install_reference_libraries(wanted, shell)
        if args.pretrain:
            provision.install_mmpretrain(wanted, shell)
        shell.log.unlink(missing_ok=True)
    except stacks.SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped; `make setup` goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
