"""Write a trained model as a program for torch, ONNX Runtime or OpenVINO: mmswin export CONFIG CHECKPOINT OUT [options]."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmswin.cli.parsing import add_checkpoint, add_config, command_parser, whole


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'export',
        'Write a trained model as one program for images of every size: .pt2 (torch), .onnx, or .xml with .bin '
        '(OpenVINO). It is read back in a process without mmswin and compared with the model at other sizes; on a '
        'difference nothing is written.',
        'mask_rcnn_swin_t_coco mask_rcnn.pth mask_rcnn.onnx --images pictures/',
        'upernet_swin_t_ade20k upernet.pth upernet.xml --precision bf16 --images pictures/',
    )
    add_config(parser)
    add_checkpoint(parser)
    parser.add_argument('out', type=Path, metavar='OUT', help='file to write: .pt2, .onnx or .xml')
    parser.add_argument(
        '--static', nargs=2, type=whole(), metavar=('H', 'W'), help='for one image of this size alone, instead of any'
    )
    parser.add_argument('--backbone', action='store_true', help='the backbone alone, which gives its maps')
    parser.add_argument('--labels', action='store_true', help='of segmentation, labels instead of logits')
    parser.add_argument(
        '--raw', action='store_true', help='take float32 B x 3 x H x W, normalised, instead of pictures in uint8'
    )
    parser.add_argument('--images', metavar='DIR', help='pictures to compare on, and to measure and calibrate with')
    parser.add_argument('--precision', default='fp32', choices=['fp32', 'bf16', 'int8'], help='less than fp32: .xml '
                        'alone; what it costs is measured on --images, and int8 is for backbone and neck')  # fmt: skip
    parser.add_argument('--max-loss', type=float, metavar='POINTS', help='of AP, mIoU or accuracy that less precision may cost '
                        '(default: 1 where the pictures have annotations, else 5)')  # fmt: skip
    parser.add_argument('--opset', type=whole(), default=20, choices=[18, 20], help='of ONNX (default 20)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT where it exists')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from mmswin.errors import say
    from mmswin.export import Request, export_file

    options = vars(args)
    config, checkpoint, changes, trusted = (
        options.pop(name) for name in ('config', 'checkpoint', 'cfg_options', 'trust_checkpoint')
    )
    export_file(config, checkpoint, Request(**options), changes, trusted, say)
