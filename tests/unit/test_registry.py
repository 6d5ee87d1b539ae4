"""Every part that is built on mmdet's classes is in the table that has it imported when it is asked for."""

from importlib import import_module

from mmswin.registry import MODELS, ON_MMDET


def test_the_table_of_parts_is_complete() -> None:
    for room in ('necks', 'losses', 'dense_heads'):
        import_module(f'mmswin.{room}')
    registered = {
        name: '.'.join(part.__module__.split('.')[:2])
        for name, part in MODELS.module_dict.items()
        if part.__module__.split('.')[1] in ('necks', 'losses', 'dense_heads', 'roi_heads', 'layers')
    }
    # The room of detectors has parts that do without mmdet: of those on it the table names the module.
    detectors = {name: module for name, module in ON_MMDET.items() if module.startswith('mmswin.detectors.')}
    assert {name: MODELS.get(name).__module__ for name in detectors} == detectors
    assert registered | detectors == ON_MMDET
