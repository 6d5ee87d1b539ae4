"""One interface for prediction: pictures from any source in, results out, one by one.

What computes is a :class:`Backend`: pictures in, objects, label maps or scores of classes out. Sources, tiles and results know nothing of
it, so a model in another form needs no more than a class with these four names.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mmswin.errors import RunError
from mmswin.inference import sources, tiles
from mmswin.inference.drawing import colours
from mmswin.inference.results import Instances, Result, Scores

Found = Instances | Scores | np.ndarray


class Backend(Protocol):
    """What predicts.

    Attributes:
        classes: Names of the labels.
        palette: Their colours, or None.
        segments: Whether it gives label maps rather than objects.
        reading: ``color_type`` and ``backend`` with which pictures are decoded, see :func:`sources.read`.
    """

    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]] | None
    segments: bool
    reading: dict[str, Any]

    def __call__(self, images: Sequence[np.ndarray], amp: str | None = None, scores: bool = False) -> list[Found]:
        """Predict on pictures.

        Args:
            images: ``H x W x 3`` in BGR, uint8, of any sizes.
            amp: ``'auto'``, ``'bf16'`` or ``'fp16'`` for mixed precision.
            scores: Of segmentation: ``classes x H x W`` float32, at least two, instead of ``H x W`` labels.

        Returns:
            For each its objects, best first, in its pixels; or its label map; or the scores of its classes.
        """
        ...


class Predictions(Iterator[Result]):
    """Results as they come; each picture is read when it is its turn.

    Attributes:
        total: How many there will be, None where that is not known (a camera).
        skipped: Paths of what could not be read so far, each with the reason.
    """

    def __init__(self, results: Iterator[Result], total: int | None, skipped: list[tuple[str, str]]) -> None:
        self._results, self.total, self.skipped = results, total, skipped

    def __next__(self) -> Result:
        return next(self._results)


class Predictor:
    """Predicts on pictures, ``for result in predictor(source)``; see :func:`load`.

    Attributes:
        backend: What computes.
        classes: Names of the labels.
        palette: A colour (red, green, blue) for each.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.classes = tuple(backend.classes)
        self.palette = colours(len(self.classes), backend.palette)

    def __call__(
        self,
        source: Any,
        batch: int = 1,
        amp: str | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
        score: float = 0.0,
        results: str | os.PathLike | None = None,
    ) -> Predictions:
        """Predict on a source.

        Args:
            source: A file, a folder (and all below it), a glob, an array ``H x W x 3`` in BGR, a video file, the number
                of a camera, or a list of such.
            batch: Pictures, or tiles, that go through the network together.
            amp: Mixed precision: ``'bf16'`` (also on CPUs), ``'fp16'`` (GPUs), ``'auto'``; boxes and masks are float32.
            tile: Side in pixels of the pieces in which larger pictures are predicted. Each goes through the pipeline of
                the configuration as a picture of its own, so a small tile enlarges what is small.
            overlap: Part of a tile that its neighbour sees, too.
            score: Objects below it are left out, before tiles are put together. Whole pictures keep all their scores.
            results: A folder that is passed over where it lies below a folder that is a source.

        Returns:
            An iterator of :class:`Result`. Files that cannot be read are left out and noted in its ``skipped``.

        Raises:
            RunError: Arguments that are out of range, or nothing at the source.
        """
        if batch < 1 or (tile is not None and tile < 1) or not 0 <= overlap < 1 or not 0 <= score <= 1:
            raise RunError(
                f'batch={batch}, tile={tile}, overlap={overlap}, score={score}: batch and tile are at least 1, overlap '
                'is at least 0 and below 1, score between 0 and 1'
            )
        items = sources.find(source, results)
        skipped: list[tuple[str, str]] = []
        frames = sources.read(items, skipped, **self.backend.reading)
        found = self._results(frames, batch, amp, tile, overlap, score)
        return Predictions(found, sources.count(items), skipped)

    def _results(self, frames, batch, amp, tile, overlap, score) -> Iterator[Result]:
        if tile is None:
            while group := list(itertools.islice(frames, batch)):
                for frame, found in zip(group, self.backend([frame.image for frame in group], amp)):
                    yield self._result(frame, found, score)
            return
        for frame in frames:
            if max(frame.image.shape[:2]) <= tile:
                (found,) = self.backend([frame.image], amp)
            else:
                found = self._in_tiles(frame.image, batch, amp, tile, overlap, score)
            yield self._result(frame, found, score)

    def _in_tiles(self, image: np.ndarray, batch, amp, tile, overlap, score) -> Found:
        places = tiles.windows(*image.shape[:2], tile, overlap)
        pieces = (image[top:bottom, left:right] for top, left, bottom, right in places)
        batches = iter(lambda: list(itertools.islice(pieces, batch)), [])
        found = (one for group in batches for one in self.backend(group, amp, scores=self.backend.segments))
        first = next(found)
        if isinstance(first, Scores):
            raise RunError(f'tile={tile}: a classifier takes a picture as a whole; leave it out')
        found = itertools.chain([first], found)
        if self.backend.segments:
            return tiles.label_map(*image.shape[:2], tile, overlap, found)
        return tiles.merge(places, [one[one.scores >= score] for one in found])

    def _result(self, frame: sources.Frame, found: Found, score: float) -> Result:
        where = {'path': frame.path, 'video': frame.video, 'fps': frame.fps}
        result = Result(frame.image, frame.name, self.classes, self.palette, **where)
        if isinstance(found, Scores):
            result.scores = found.values
        elif self.backend.segments:
            result.label_map = found
        else:
            result.instances = found[found.scores >= score]
        return result


def load(
    config: str,
    checkpoint: str | None = None,
    device: str | None = None,
    cfg_options: Sequence[str] | dict[str, Any] | None = None,
    trust_checkpoint: bool = False,
) -> Predictor:
    """A predictor from a configuration and a checkpoint, or an exported program; nothing in the checkpoint is run.

    Args:
        config: Path of the configuration, or the name of one that comes with mmswin; or a program that ``mmswin export``
            has written (``.onnx``, ``.xml``, ``.pt2``), which needs no checkpoint and has no options.
        checkpoint: Path or URL of the weights.
        device: Such as ``'cuda:1'`` or ``'cpu'``; the GPU by default where there is one.
        cfg_options: Changes of the configuration: ``KEY=VALUE`` texts, or dotted keys to values.
        trust_checkpoint: Read the checkpoint even if it holds more than weights, which can run code.

    Raises:
        RunError: The configuration or program cannot be read or built, or there is no such device.
        CheckpointError: The checkpoint cannot be read, or is for another model.
    """
    from mmswin.inference.exported_backend import ExportedBackend, is_program

    if is_program(config):
        if checkpoint is not None or cfg_options or trust_checkpoint:
            raise RunError(
                f'{config} is an exported program: it goes without checkpoint, cfg_options and trust_checkpoint'
            )
        return Predictor(ExportedBackend(config, device))
    if checkpoint is None:
        raise RunError(f'{config}: a configuration needs a checkpoint; only an exported program goes without')
    from mmswin.inference.torch_backend import TorchBackend

    return Predictor(TorchBackend.load(config, checkpoint, device, cfg_options, trust_checkpoint))
