"""The metafile that mim and mmengine read, made from the file of tables: `mim search mmswin` lists what it holds."""

from collections.abc import Iterable
from typing import Any

import yaml

from mmswin.analysis.paper import ACCURACIES, Row
from mmswin.shipped import FOLDER

HEAD = '# Made by `make docs` from paper_tables.yaml, do not edit.\n'
_PAPER = {
    'URL': 'https://arxiv.org/abs/2103.14030',
    'Title': 'Swin Transformer: Hierarchical Vision Transformer using Shifted Windows',
}
_V2_PAPER = {
    'URL': 'https://arxiv.org/abs/2111.09883',
    'Title': 'Swin Transformer V2: Scaling Up Capacity and Resolution',
}
# The accuracies of a task, and its name in metafiles.
_TASKS = {
    'top': 'Image Classification',
    'box': 'Object Detection',
    'mask': 'Instance Segmentation',
    'miou': 'Semantic Segmentation',
}


def render(rows: Iterable[Row]) -> str:
    """The metafile's text: one entry for each configuration, with what was published for it.

    The metrics are called ``published ...``: an entry says under ``Reproduced`` whether this project has got them.

    Args:
        rows: Rows of all tables; of several with one configuration the first says the accuracy.
    """
    models: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.config is None:
            continue
        model = models.setdefault(row.config, _model(row))
        for name, value in (('Parameters (M)', row.params), ('FLOPs (G)', row.flops)):
            if value is not None:
                model['Metadata'].setdefault(name, value)
    collections = sorted({model['In Collection'] for model in models.values()})
    data = {
        'Collections': [{'Name': name, 'Paper': _PAPER} for name in collections],
        'Models': [models[name] for name in sorted(models)],
    }
    return HEAD + yaml.dump(data, Dumper=_NoAliases, sort_keys=False, allow_unicode=True, width=120)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _model(row: Row) -> dict[str, Any]:
    dataset = 'COCO'
    if any(name.startswith('miou') for name in row.accuracy):
        dataset = 'ADE20K'
    elif 'top1' in row.accuracy:
        dataset = 'CIFAR-100' if 'cifar100' in row.config else 'ImageNet-1K'
    results = []
    for prefix, task in _TASKS.items():
        metrics = {f'published {ACCURACIES[name]}': v for name, v in row.accuracy.items() if name.startswith(prefix)}
        if metrics:
            results.append({'Task': task, 'Dataset': dataset, 'Metrics': metrics})
    return {
        'Name': row.config,
        'In Collection': row.method.split(',')[0],
        'Config': f'configs/{FOLDER}/{row.config}.py',
        'Metadata': {
            'Training Data': dataset,
            'Backbone': row.backbone,
            'Reproduced': 'yes' if row.reproduced else 'no',
        },
        'Results': results,
        **({'Paper': _V2_PAPER} if row.backbone.startswith('Swin V2') else {}),
    }
