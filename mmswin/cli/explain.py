"""Draw what predictions rest on: mmswin explain CONFIG CHECKPOINT IMAGE --out DIR [options]."""

import argparse
import re
from collections.abc import Sequence

import mmswin
from mmswin.cli.parsing import add_output_options, add_predictor_options, command_parser, part, whole


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'explain',
        'Draw class activation maps of the best objects, or the commonest classes of a label map, beside the prediction.',
        'mask_rcnn_swin_t_coco mask_rcnn.pth cat.jpg --out explained --stages 3 4',
        'upernet_swin_t_ade20k upernet.pth street.jpg --out explained --classes car road',
    )
    add_predictor_options(parser)
    parser.add_argument('image', nargs='?', help='a picture')
    add_output_options(parser, 'where the pictures go, one for each prediction')
    parser.add_argument('--number', type=whole(), default=3, help='of objects or classes (default 3)')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='explain these classes alone')
    parser.add_argument('--score', type=part, default=0.3, help='of objects at least (default 0.3)')
    parser.add_argument(
        '--target', choices=['box', 'mask'], default='box', help="the logit of a box's class (default) or of its mask"
    )
    parser.add_argument('--stages', nargs='+', type=whole(), metavar='N', help='of the backbone, from 1 (default: all)')
    parser.add_argument('--method', choices=['grad-cam', 'hires-cam', 'layer-cam'], default='grad-cam')
    args = parser.parse_args(argv)
    from mmswin.inference.exported_backend import is_program  # behind --help, which needs Python alone

    if is_program(args.config):
        parser.error(f'{args.config}: exported programs have no gradients; explain the checkpoint that it is from')
    elif args.image is None:
        parser.error('the following arguments are required: image')
    return args


def run(args: argparse.Namespace) -> None:
    from mmswin.inference.activation_maps import explain
    from mmswin.inference.results import write_image
    from mmswin.inference.writing import check_directory

    out = check_directory(args.out, args.overwrite)
    predictor = mmswin.load(args.config, args.checkpoint, args.device, args.cfg_options, args.trust_checkpoint)
    options = (args.classes, args.number, args.target, args.stages, args.method, args.score)
    for number, found in enumerate(explain(predictor, args.image, *options), 1):
        title = re.sub(r'\W+', '_', found.title)
        path = out / f'{found.result.name}_{number}_{title}.png'
        write_image(path, found.draw(), args.overwrite)
        print(path)
