"""Tests that looked at an image at several scales or flipped (``MultiScaleFlipAug``)."""

from typing import Any


def several(scale: Any) -> list[tuple[int, int]]:
    """The sizes that an ``img_scale`` names: several, one or none."""
    if not scale:
        return []
    return list(scale) if isinstance(scale[0], (list, tuple)) else [scale]


def _views(step: dict[str, Any]) -> tuple[list[tuple[int, int]], list[float]]:
    """Sizes, none if they are relative to each image, and the ratios that each is scaled by."""
    ratios = step.get('img_ratios') or 1.0
    return several(step.get('img_scale')), [ratios] if isinstance(ratios, (int, float)) else list(ratios)


def _scaled(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    return int(size[0] * ratio), int(size[1] * ratio)


def main_scale(step: dict[str, Any]) -> tuple[int, int] | None:
    """The scale of a test of one view: the only one, or the first of several, unscaled."""
    sizes, ratios = _views(step)
    return _scaled(sizes[0], ratios[0] if len(ratios) == 1 else 1) if sizes else None


def tta_pipeline(
    views: dict[str, Any], steps: list[dict[str, Any]], end: list[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """``tta_pipeline`` for an old test, or None if it had a single view.

    Args:
        views: The old ``MultiScaleFlipAug``.
        steps: The new test pipeline up to the resizing, for one view.
        end: What loads the annotations and packs.
    """
    scales, ratios = _views(views)
    sizes = [_scaled(size, ratio) for size in scales for ratio in ratios]
    flip = views.get('flip', False)
    if max(len(sizes), len(ratios)) < 2 and not flip:
        return None
    if not sizes:  # relative to each image
        resizes = [{'type': 'Resize', 'scale_factor': ratio, 'keep_ratio': True} for ratio in ratios]
    else:
        resize = next((step for step in steps if step['type'] == 'Resize'), {'type': 'Resize', 'keep_ratio': True})
        resizes = [{**resize, 'scale': size} for size in sizes]
    flips: list[dict[str, Any]] = [{'type': 'RandomFlip', 'prob': 0.0}]
    directions = views.get('flip_direction', 'horizontal') if flip else ()
    for direction in [directions] if isinstance(directions, str) else directions:
        flips.append({'type': 'RandomFlip', 'prob': 1.0})
        if direction != 'horizontal':
            flips[-1]['direction'] = direction
    *load, pack = end
    if 'meta_keys' in pack:
        pack = {**pack, 'meta_keys': (*pack['meta_keys'], 'flip', 'flip_direction')}
    before = [step for step in steps if step['type'] != 'Resize']
    return [*before, {'type': 'TestTimeAug', 'transforms': [resizes, flips, *([step] for step in load), [pack]]}]
