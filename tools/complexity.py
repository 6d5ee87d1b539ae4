"""What a configuration costs: python tools/complexity.py CONFIG [--shape H W] [--sweep | --growth]."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Count the parameters and multiply-adds of a configuration, part by part, by the paper's "
        'protocol: one image; 1000 proposals through each box stage, 100 boxes through each mask head. Or measure how '
        'its cost grows with the image.'
    )
    parser.add_argument('config', help='config file of mmdet or mmseg')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        default=(800, 1280),
        metavar=('HEIGHT', 'WIDTH'),
        help='of the image in pixels (default 800 1280; the paper has 512 2048 for ADE20K)',
    )
    parser.add_argument(
        '--sweep',
        action='store_true',
        help='also show how the cost of the first attention layer grows with the image: inside windows '
        'and over the whole map, counted and measured (a minute), as a picture',
    )
    parser.add_argument(
        '--growth',
        action='store_true',
        help='measure instead how time and memory of the whole backbone grow with the image; writes a '
        'JSON file after every size and a picture at the end, see --out. On a CPU the default sizes '
        'take minutes to an hour, --megapixels 0.25 0.5 1 a few minutes',
    )
    parser.add_argument(
        '--megapixels',
        nargs='+',
        type=float,
        metavar='N',
        help='sizes of --growth (default: 0.25 0.5 1 2 4 8 16, as far as memory allows)',
    )
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=['inference', 'training'],
        help='of --growth; training: forward and backward (default: both)',
    )
    parser.add_argument(
        '--precision', choices=['float32', 'bfloat16'], help='of --growth; bfloat16: autocast (default: float32)'
    )
    parser.add_argument('--device', help='of --growth: cpu, cuda, cuda:1, ... (default: cpu)')
    parser.add_argument(
        '--out',
        metavar='FILE.png',
        help='the picture of --sweep or --growth (default: work_dirs/complexity/CONFIG.png or CONFIG_growth.png)',
    )
    parser.add_argument('--overwrite', action='store_true', help='write over an existing picture')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries of the config, as in tools/train.py',
    )
    args = parser.parse_args()
    if args.sweep and args.growth:
        parser.error('--sweep and --growth make a picture each: run them one after the other')
    if args.out and not (args.sweep or args.growth):
        parser.error('--out names the picture of --sweep or --growth: add one of them')
    for name in ('megapixels', 'modes', 'precision', 'device'):
        if getattr(args, name) is not None and not args.growth:
            parser.error(f'--{name} belongs to --growth: add it')
    return args


def main() -> int:
    args = parse_args()
    from mmswin.analysis import protocol, reports, scaling
    from mmswin.engine.configure import load_config
    from mmswin.errors import RunError, run_tool

    name = Path(args.config).stem + ('_growth' if args.growth else '')
    picture = Path(args.out or Path('work_dirs') / 'complexity' / f'{name}.png')
    made = [picture] * args.sweep + [picture, picture.with_suffix('.json')] * args.growth

    def work() -> None:
        for path in made:
            if path.exists() and not args.overwrite:
                raise RunError(f'{path} exists; add --overwrite, or name another with --out')
        if made and picture.suffix != '.png':
            raise RunError(f'--out {picture}: expected a name that ends in .png')
        cfg = load_config(args.config, args.cfg_options, None)
        if args.growth:
            growth(cfg, args, picture)
            return
        layer, patch = scaling.first_attention(cfg) if args.sweep else (None, None)
        print(reports.complexity_text(protocol.measure(cfg, tuple(args.shape))), flush=True)
        if layer is not None:
            sweep(layer, patch, tuple(args.shape), picture)

    return run_tool(work)


def growth(cfg: Any, args: argparse.Namespace, picture: Path) -> None:
    """Measure, print, draw and write how time and memory of the backbone grow."""
    from mmswin.analysis import growth, reports
    from mmswin.benchmark.machine import describe
    from mmswin.benchmark.results import write
    from mmswin.visualization.scaling import draw_growth

    device, precision = growth.check_device(args.device or 'cpu'), args.precision or 'float32'
    sizes = growth.check_sizes(args.megapixels or growth.SIZES)
    backbone, step = growth.backbone_of(cfg)
    print(
        f'{backbone["type"]} on {device}, {precision}; images of multiples of {step[0]} x {step[1]} pixels, so that '
        'nothing is padded',
        flush=True,
    )
    values = {
        'config': args.config,
        'backbone': backbone,
        'device': device,
        'precision': precision,
        'machine': describe(device),
    }

    def done(found: growth.Growth) -> None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write(values | found.as_dict(), picture.with_suffix('.json'))

    found = growth.measure_growth(
        backbone,
        step,
        sizes,
        args.modes or growth.MODES,
        device,
        precision,
        progress=lambda line: print(f'  {line}', flush=True),
        done=done,
    )
    done(found)
    print(f'\n{reports.growth_text(found)}')
    draw_growth(found, f'{Path(args.config).stem}: backbone, {precision}, on {device}', picture)
    print(f'picture: {picture}, and the figures beside it in {picture.stem}.json')


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
