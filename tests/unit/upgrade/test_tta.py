"""Scales and flips of old tests."""

from mmswin.upgrade.tta import main_scale, tta_pipeline


def test_the_main_scale() -> None:
    assert main_scale({'img_scale': (100, 50), 'img_ratios': [0.5]}) == (50, 25)
    assert main_scale({'img_scale': [(100, 50), (200, 100)], 'img_ratios': [0.5, 1.0]}) == (100, 50)
    assert main_scale({'img_ratios': [0.5]}) is None


def test_views() -> None:
    steps, end = [{'type': 'Load'}, {'type': 'Resize', 'scale': (100, 50)}], [{'type': 'Pack', 'meta_keys': ('a',)}]
    assert tta_pipeline({'img_scale': (100, 50)}, steps, end) is None
    load, views = tta_pipeline({'img_scale': (100, 50), 'img_ratios': [0.5, 1.0], 'flip': True}, steps, end)
    assert load == {'type': 'Load'} and views['type'] == 'TestTimeAug'
    resizes, flips, (pack,) = views['transforms']
    assert [resize['scale'] for resize in resizes] == [(50, 25), (100, 50)]
    assert [flip['prob'] for flip in flips] == [0.0, 1.0]
    assert pack['meta_keys'] == ('a', 'flip', 'flip_direction')
