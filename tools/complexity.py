"""Parameters and multiply-adds of a configuration: python tools/complexity.py CONFIG [--shape H W] [--sweep]."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count the parameters and multiply-adds of a configuration, part by part, by the paper\'s '
        'protocol: one image; 1000 proposals through each box stage, 100 boxes through each mask head.')
    parser.add_argument('config', help='config file of mmdet or mmseg')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1280), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image in pixels (default 800 1280; the paper has 512 2048 for ADE20K)')
    parser.add_argument('--sweep', action='store_true',
                        help='also show how the cost of the first attention layer grows with the image: inside windows '
                        'and over the whole map, counted and measured (a minute), as a picture')
    parser.add_argument('--out', metavar='FILE.png',
                        help='the picture of --sweep (default: work_dirs/complexity/NAME_OF_THE_CONFIG.png)')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing picture')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='change entries of the config, as in tools/train.py')
    args = parser.parse_args()
    if args.out and not args.sweep:
        parser.error('--out names the picture of --sweep: add --sweep')
    return args


def main() -> int:
    args = parse_args()
    from mmswin.analysis import protocol, reports, scaling
    from mmswin.runner.configure import load_config
    from mmswin.runner.errors import RunError, run_tool

    picture = Path(args.out or Path('work_dirs') / 'complexity' / f'{Path(args.config).stem}.png')

    def work() -> None:
        if args.sweep and picture.exists() and not args.overwrite:
            raise RunError(f'{picture} exists; add --overwrite, or name another with --out')
        if args.sweep and picture.suffix != '.png':
            raise RunError(f'--out {picture}: expected a name that ends in .png')
        cfg = load_config(args.config, args.cfg_options, None)
        layer, patch = scaling.first_attention(cfg) if args.sweep else (None, None)
        print(reports.complexity_text(protocol.measure(cfg, tuple(args.shape))), flush=True)
        if layer is not None:
            sweep(layer, patch, tuple(args.shape), picture)

    return run_tool(work)


def sweep(layer: Any, patch: tuple[int, int], shape: tuple[int, int], picture: Path) -> None:
    """Measure, print and draw how attention's cost grows."""
    from mmswin.analysis import reports, scaling
    from mmswin.visualization.scaling import draw_sweep

    print(f'\nthe first attention layer, alone, over maps of up to {scaling.MAX_TOKENS} tokens:', flush=True)
    found = scaling.sweep(layer, patch, scaling.MAX_TOKENS, progress=lambda line: print(f'  {line}', flush=True))
    print(reports.sweep_text(found, shape))
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw_sweep(found, shape, picture)
    print(f'picture: {picture}')


if __name__ == '__main__':
    sys.exit(main())
