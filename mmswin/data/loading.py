"""Image loading that survives a few bad files, names and counts them, and stops when they are many."""

import logging
import zlib
from math import ceil

import cv2
import torch
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile
from mmengine.logging import print_log

from mmswin.errors import BadImageError, printable
from mmswin.registry import TRANSFORMS

# What a missing, unreadable, truncated or non-image file raises in mmcv's loader and its decoders (PIL's
# UnidentifiedImageError is an OSError). A KeyError or MemoryError is no property of the file and passes through.
_BAD_FILE_ERRORS = (OSError, ValueError, AssertionError, cv2.error)
# Bad files are counted by setting a byte of shared memory at a hash of the path: any number of worker processes may
# do so without a lock, and a file met by several of them counts once. Two files share a byte only by rare accident.
_SLOTS = 1 << 16


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCVLoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` for data sets in which a few files are missing or do not decode.

    A bad file is logged once with its path and skipped: the transform returns None, for which mmengine's data sets load
    another image in training. The distinct bad files are counted over all workers of a data loader; the transform
    raises as soon as they are more than ``max_bad_fraction`` of the data set. The size of the data set is known inside
    a worker; with ``num_workers=0`` it is not, and then the highest index seen stands for it, once ``1 /
    max_bad_fraction`` images were seen or a bad file comes by for the second time. In distributed training each process
    counts for itself.

    Args:
        max_bad_fraction: Fraction of the images that may be bad, at least 0 and below 1. With 0, as needed in testing,
            where every image has to be answered for, the first bad file raises.
        **kwargs: As for mmcv's transform. ``ignore_empty`` skips without counting and is refused.

    Raises:
        BadImageError: Too many bad files; the message names the last one.
        ValueError: ``max_bad_fraction`` out of range, or ``ignore_empty`` given.
    """

    def __init__(self, max_bad_fraction: float = 0.01, **kwargs) -> None:
        if not 0 <= max_bad_fraction < 1:
            raise ValueError(f'max_bad_fraction must be at least 0 and below 1, got {max_bad_fraction!r}')
        if kwargs.pop('ignore_empty', False):
            raise ValueError(
                'mmswin.LoadImageFromFile takes max_bad_fraction in place of ignore_empty, which would skip any number '
                'of files without a word'
            )
        super().__init__(**kwargs)
        self.max_bad_fraction = max_bad_fraction
        self._bad = torch.zeros(_SLOTS, dtype=torch.uint8).share_memory_()
        self._seen: set[int] = set()
        self._highest_index = -1

    @property
    def num_bad(self) -> int:
        """Distinct bad files met so far by all workers."""
        return int(self._bad.sum())

    def transform(self, results: dict) -> dict | None:
        """Load ``results['img_path']``; returns None if the file is bad and may be skipped."""
        path = results['img_path']
        if torch.utils.data.get_worker_info() is None:
            self._seen.add(hash(path))
            self._highest_index = max(self._highest_index, results.get('sample_idx', -1))
        try:
            return super().transform(results)
        except _BAD_FILE_ERRORS as error:
            self._skip_or_raise(path, error)
            return None

    def _skip_or_raise(self, path: str, error: Exception) -> None:
        reason = printable(str(error).partition('\n')[0] or type(error).__name__)
        if self.max_bad_fraction == 0:
            raise BadImageError(
                f'cannot load image {path!r} ({reason}). Every image is needed here: restore the file or remove it '
                'from the annotation file. mmswin check CONFIG --decode lists all such files.'
            ) from error

        slot = zlib.crc32(path.encode(errors='replace')) % _SLOTS
        known = bool(self._bad[slot])
        self._bad[slot] = 1
        num_bad, total = self.num_bad, self._num_images(again=known)
        if total is not None and num_bad > self.max_bad_fraction * total:
            raise BadImageError(
                f'{num_bad} of {total} images cannot be loaded, more than the {self.max_bad_fraction:.2%} that may be '
                f'skipped (max_bad_fraction). The last one is {path!r} ({reason}). mmswin check CONFIG --decode '
                'lists all of them.'
            ) from error
        if not known:
            text = f'Skipping image {path!r}, which cannot be loaded ({reason}). Bad images so far: {num_bad}.'
            print_log(text, logger='current', level=logging.WARNING)

    def _num_images(self, again: bool) -> int | None:
        """Images to measure the bad ones against, or None while too little is known."""
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            return len(worker.dataset)
        if again or len(self._seen) >= ceil(1 / self.max_bad_fraction):
            return max(len(self._seen), self._highest_index + 1)
        return None

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, max_bad_fraction={self.max_bad_fraction})'
