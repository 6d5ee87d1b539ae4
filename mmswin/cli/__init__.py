"""The command ``mmswin``. Each module is one of its commands: ``parse_args`` reads its words, ``run`` calls and prints."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import mmswin
from mmswin.errors import explain_missing, nearest, run_tool

COMMANDS = {
    'train': 'train a model from a config',
    'test': 'test a checkpoint',
    'predict': 'predict on pictures, folders, videos or a camera, and draw what was found',
    'explain': 'draw what in a picture a prediction rests on',
    'browse': 'draw training images, augmented, with their truth',
    'check': 'find faults of a data set without training',
    'upgrade': 'turn a config of mmdet 2.x or mmseg 0.x into one for today',
    'table': "compare the configs with the paper's tables",
    'complexity': 'count parameters and multiply-adds of a config, part by part',
    'export': 'write a model as a program for torch, ONNX Runtime or OpenVINO, proved',
    'inspect': 'say what a checkpoint is; nothing in it is run',
    'convert': 'write a checkpoint for another library, proved by running that',
    'miniature': 'make a small synthetic COCO or ADE20K in the real layout',
    'doctor': 'say whether torch, mmcv, mmdet, mmseg and mmswin fit together',
    'configs': 'list the configs that come with mmswin, or copy one to edit it',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``mmswin COMMAND ...``.

    Args:
        argv: The words after ``mmswin``; those of this process by default.

    Returns:
        The exit status: 2 for words that make no command or an error before any work, else the command's.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog='mmswin',
        usage='mmswin COMMAND ...',
        description='Swin Transformers for mmdet and mmseg. CONFIG is a file or the name of a config that mmswin '
        'configs lists.',
        epilog='commands (mmswin COMMAND --help says more):\n'
        + '\n'.join(f'  {name:<12}{text}' for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmswin {mmswin.__version__}')
    if not words:
        parser.print_help()
        return 2
    name, *rest = words
    if name.startswith('-'):
        parser.parse_args(words)
        return 0
    if name not in COMMANDS:
        parser.error(f'there is no command {name!r}{nearest(name, COMMANDS)}; mmswin --help lists them')
    try:
        command = importlib.import_module(f'mmswin.cli.{name}')
        args = command.parse_args(rest)
        if vars(args).pop('tune_cpu', False):
            mmswin.tune_cpu()
        return run_tool(lambda: command.run(args))
    except BrokenPipeError:  # head or less has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] not in _LIBRARIES:
            raise
        print(f'error: {explain_missing(error, f"mmswin {name}")}', file=sys.stderr)
        return 2


# What mmswin does not install by itself.
_LIBRARIES = ('numpy', 'cv2', 'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg')
