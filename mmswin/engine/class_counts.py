"""Numbers that must agree with the number of classes, before a run that they would end.

Weights of losses, things and stuff, how many boxes the queries of a transformer can give, the k of a top-k accuracy. The classes of data sets
and heads (``num_classes``) are compared by :mod:`mmswin.data.checks`.
"""

from collections.abc import Iterator

import torch
from mmengine.config import Config
from torch import nn

from mmswin.data.config_facts import dicts_in, metrics_of
from mmswin.errors import RunError


def check(cfg: Config, model: nn.Module) -> None:
    """Refuse a config and its built model whose numbers contradict each other or the data.

    Raises:
        RunError: All that is wrong, a line each, with both numbers and the option.
    """
    faults = [*_class_weights(model), *_things_and_stuff(cfg), *_queries(cfg, model), *_top_k(cfg, model)]
    if faults:
        faults.append('If that is as it should be, go on all the same with --skip-data-check')
        raise RunError('\n       '.join(faults))


def _class_weights(model: nn.Module) -> Iterator[str]:
    modules = dict(model.named_modules())
    for name, loss in modules.items():
        weights = getattr(loss, 'class_weight', None)
        known = type(loss).__module__.startswith(('mm', 'onedl'))
        if not known or not isinstance(weights, (list, tuple, torch.Tensor)):
            continue
        parts = name.split('.')
        around = ['.'.join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]
        head = next((path for path in around if isinstance(getattr(modules[path], 'num_classes', None), int)), None)
        if head is None:
            continue
        number = modules[head].num_classes
        # mmdet's heads without sigmoid, and those that classify masks, have one more output: no object. Heads that label
        # pixels or whole pictures have not.
        labels = hasattr(modules[head], 'conv_seg') or hasattr(modules[head], 'conv_logits')
        labels = labels or any(base.__module__.startswith('mmpretrain.') for base in type(modules[head]).__mro__)
        expected = number if labels or getattr(loss, 'use_sigmoid', False) else number + 1
        if len(weights) != expected:
            more = '' if expected == number else ' and the background'
            yield (
                f'model.{name}.class_weight has {len(weights)} weights, and model.{head} has num_classes={number}: it '
                f'needs {expected}, one for each class{more}. Set it: --cfg-options model.{name}.class_weight='
                f'"[...]", or None for equal weights'
            )


def _things_and_stuff(cfg: Config) -> Iterator[str]:
    nodes = dicts_in((cfg.get('train_dataloader') or {}).get('dataset'))
    named = ((node.get('metainfo') or {}).get('classes') for node in nodes)
    # None where the config leaves them to the data set's class.
    counts, classes = {}, next((names for names in named if isinstance(names, (list, tuple))), None)
    for part, node in cfg.model.items():
        if isinstance(node, dict) and 'num_things_classes' in node:
            counts[f'model.{part}'] = (node.num_things_classes, node.get('num_stuff_classes', 0))
    first = next(iter(counts.values()), (0, 0))
    for path, (things, stuff) in counts.items():
        if (things, stuff) != first:
            yield (
                f'{path} has {things} things and {stuff} stuff, and {next(iter(counts))} has {first[0]} and {first[1]}: '
                f'set {path}.num_things_classes={first[0]} {path}.num_stuff_classes={first[1]}'
            )
        elif classes is not None and things + stuff != len(classes):
            yield (
                f'{path} has num_things_classes={things} and num_stuff_classes={stuff}, together {things + stuff}, and '
                f'the data have {len(classes)} classes: set both with --cfg-options {path}.num_things_classes=N '
                f'{path}.num_stuff_classes=M'
            )


def _queries(cfg: Config, model: nn.Module) -> Iterator[str]:
    found = (getattr(module, name, None) for module in model.modules() for name in ('num_queries', 'num_proposals'))
    queries = next((value for value in found if type(value) is int), 0)
    numbers = (getattr(module, 'num_classes', None) for module in model.modules())
    classes = max((number for number in numbers if type(number) is int), default=0)
    rule, path = cfg.model.get('test_cfg') or {}, 'model.test_cfg'
    if 'rcnn' in rule and rule.get('rpn') is None:
        rule, path = rule['rcnn'] or {}, f'{path}.rcnn'
    for name in ('max_per_img', 'max_per_image'):
        limit = rule.get(name)
        if queries and classes and isinstance(limit, int) and limit > queries * classes:
            yield (
                f'{path}.{name}={limit}, and {queries} queries of {classes} classes give at most {queries * classes} '
                f'boxes: --cfg-options {path}.{name}={queries * classes}'
            )


def _top_k(cfg: Config, model: nn.Module) -> Iterator[str]:
    """mmpretrain's accuracy among the best k classes, which it refuses after the first epoch where there are fewer."""
    number = getattr(getattr(model, 'head', None), 'num_classes', None)
    metrics = [*metrics_of(cfg, 'val'), *metrics_of(cfg, 'test')]
    for place, metric in metrics if isinstance(number, int) else ():
        given = metric.get('topk')
        many = max(given) if isinstance(given, (list, tuple)) and given else given
        if isinstance(many, int) and many > number:
            yield (
                f'{place}.topk={given}, and model.head has num_classes={number}: the best {many} of {number} classes are '
                f'all of them. Set it: --cfg-options {place}.topk="(1,)"'
            )
