"""Predict on pictures and videos: mmswin predict CONFIG CHECKPOINT SOURCE --out DIR [options]."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import mmswin
from mmswin.cli.parsing import add_output_options, add_predictor_options, add_speed_options, command_parser, part, whole
from mmswin.errors import printable, say

# Seconds between two lines of progress where there is no terminal.
_EVERY = 10.0


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'predict',
        'Predict on pictures and videos, and draw what was found. Files that cannot be read are named and skipped; the '
        'exit status is 1 then.',
        'mask_rcnn_swin_t_coco mask_rcnn.pth pictures/ --out found --save-json',
        'upernet_swin_t_ade20k upernet.pth street.mp4 --out found --amp bf16',
        'mask_rcnn.onnx pictures/ --out found',
    )
    add_predictor_options(parser)
    parser.add_argument('source', nargs='*', help='pictures, videos, folders, globs, or the number of a camera; after '
                        'a program of mmswin export, which is config and checkpoint in one')  # fmt: skip
    add_output_options(parser, 'where pictures and videos go')
    parser.add_argument('--save-json', action='store_true', help='also save the values: predictions.json with boxes and '
                        'masks in the format of COCO, or label maps as labels/NAME.png')  # fmt: skip
    parser.add_argument('--score', type=part, default=0.3, help='leave out objects below it (default 0.3)')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='keep these classes alone')
    parser.add_argument('--tile', type=whole(), metavar='PIXELS', help='predict larger pictures in tiles of this side')
    parser.add_argument(
        '--overlap', type=part, default=0.2, help='part of a tile that its neighbour has, too (default 0.2)'
    )
    parser.add_argument(
        '--batch', type=whole(), default=1, help='pictures or tiles that go through the network together'
    )
    add_speed_options(parser)
    args = parser.parse_args(argv)
    from mmswin.inference.exported_backend import is_program  # behind --help, which needs Python alone

    if is_program(args.config):
        args.source, args.checkpoint = [args.checkpoint, *args.source], None
    elif not args.source:
        parser.error('the following arguments are required: source')
    return args


def run(args: argparse.Namespace) -> int:
    from mmswin.engine.precision import autocast_type, is_slower
    from mmswin.inference.writing import Writer, check_directory

    if args.amp and is_slower(autocast_type(args.amp)):
        print('--amp: slower here, this processor has no instructions for it', file=sys.stderr)
    check_directory(args.out, args.overwrite)
    predictor = mmswin.load(args.config, args.checkpoint, args.device, args.cfg_options, args.trust_checkpoint)
    results = predictor(args.source, args.batch, args.amp, args.tile, args.overlap, args.score, args.out)
    begin, interrupted = time.monotonic(), False
    with Writer(args.out, args.save_json, args.overwrite) as writer:
        try:
            for result in _progress(results, results.total):
                writer.add(result if args.classes is None else result.filter(classes=args.classes))
        except KeyboardInterrupt:  # the way to end a camera: what there is is complete
            interrupted = True
    seconds = time.monotonic() - begin
    for path, reason in results.skipped:
        print(f'skipped {printable(path)}: {printable(reason)}', file=sys.stderr)
    objects = ', '.join(f'{name} {number}' for name, number in writer.counts.most_common(8))
    more = f' and {len(writer.counts) - 8} classes more' if len(writer.counts) > 8 else ''
    pictures = f'{writer.pictures} picture{"" if writer.pictures == 1 else "s"}'
    unread = f'; {len(results.skipped)} skipped' if results.skipped else ''
    say(f'{pictures} in {seconds:.1f} s: {objects or "nothing found"}{more}{unread}; in {args.out}')
    return 130 if interrupted else int(bool(results.skipped))


def _progress(results: Any, total: int | None) -> Iterator[Any]:
    """A bar on a terminal, else a line now and then."""
    if sys.stderr.isatty() and not os.environ.get('NO_COLOR'):
        from rich.console import Console
        from rich.progress import track

        yield from track(results, 'predicting', total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for number, result in enumerate(results, 1):
        yield result
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            print(f'{number}{f" of {total}" if total else ""} pictures', file=sys.stderr, flush=True)
