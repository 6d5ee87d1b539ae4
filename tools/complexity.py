"""Parameters and multiply-adds of a configuration: python tools/complexity.py CONFIG [--shape H W] [--sweep]."""

import argparse
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count the parameters and multiply-adds of a configuration, part by part, by the paper\'s '
        'protocol: one image; 1000 proposals through each box stage, 100 boxes through each mask head.')
    parser.add_argument('config', help='config file of mmdet or mmseg')
    parser.add_argument('--shape', nargs=2, type=int, default=(800, 1280), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image in pixels (default 800 1280; the paper has 512 2048 for ADE20K)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='change entries of the config, as in tools/train.py')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmswin.analysis.protocol import measure
    from mmswin.analysis.reports import complexity_text
    from mmswin.runner.configure import load_config
    from mmswin.runner.errors import run_tool

    def work() -> None:
        cfg = load_config(args.config, args.cfg_options, None)
        print(complexity_text(measure(cfg, tuple(args.shape))))

    return run_tool(work)


if __name__ == '__main__':
    sys.exit(main())
