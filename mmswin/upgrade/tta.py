"""Tests that looked at an image at several scales or flipped (``MultiScaleFlipAug``)."""

from typing import Any


def main_scale(views: dict[str, Any]) -> tuple[int, int] | None:
    """The scale of a test of one view: the only one, or the first of several, unscaled."""
    sizes, ratios = _scales(views), _ratios(views)
    if not sizes:
        return None
    return _scaled(sizes[0], ratios[0]) if len(ratios) == 1 else sizes[0]


def _scales(views: dict[str, Any]) -> list[tuple[int, int]]:
    scale = views.get('img_scale')
    if not scale:
        return []
    return [tuple(one) for one in scale] if isinstance(scale[0], (list, tuple)) else [tuple(scale)]


def _ratios(views: dict[str, Any]) -> list[float]:
    ratios = views.get('img_ratios')
    return [ratios] if isinstance(ratios, (int, float)) else list(ratios or [1.0])


def _scaled(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    return int(size[0] * ratio), int(size[1] * ratio)


def tta_pipeline(
    views: dict[str, Any], steps: list[dict[str, Any]], end: list[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """``tta_pipeline`` for an old test, or None if it had a single view.

    Args:
        views: The old ``MultiScaleFlipAug``.
        steps: The new test pipeline up to the resizing, for one view.
        end: What loads the annotations and packs.
    """
    ratios = _ratios(views)
    sizes = [_scaled(size, ratio) for size in _scales(views) for ratio in ratios]
    flip = views.get('flip', False)
    if max(len(sizes), len(ratios)) < 2 and not flip:
        return None
    if not sizes:  # relative to each image
        resizes = [{'type': 'Resize', 'scale_factor': ratio, 'keep_ratio': True} for ratio in ratios]
    else:
        resize = next((step for step in steps if step['type'] == 'Resize'), {'type': 'Resize', 'keep_ratio': True})
        resizes = [{**resize, 'scale': size} for size in sizes]
    flips = [{'type': 'RandomFlip', 'prob': 0.0}]
    if flip:
        directions = views.get('flip_direction', 'horizontal')
        for direction in [directions] if isinstance(directions, str) else directions:
            flips.append(
                {'type': 'RandomFlip', 'prob': 1.0, **({'direction': direction} if direction != 'horizontal' else {})}
            )
    *load, pack = end
    if 'meta_keys' in pack:
        pack = {**pack, 'meta_keys': (*pack['meta_keys'], 'flip', 'flip_direction')}
    before = [step for step in steps if step['type'] != 'Resize']
    return [*before, {'type': 'TestTimeAug', 'transforms': [resizes, flips, *([step] for step in load), [pack]]}]
