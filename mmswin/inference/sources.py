"""Pictures one by one from whatever a user calls a source: files, folders, globs, arrays, videos, cameras."""

import glob
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np

from mmswin.data.pictures import NO_IMAGE, PICTURES, files_below, look
from mmswin.errors import RunError

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv')
# A video whose header promises more frames than this part of them is said to be broken; headers are seldom exact.
_WHOLE = 0.9


@dataclass(frozen=True)
class Item:
    """One thing to read.

    Attributes:
        kind: ``'picture'``, ``'array'``, ``'video'`` or ``'camera'``.
        name: What results of it are called: the path below the source, without suffix.
        content: Path, array or number of the camera.
    """

    kind: str
    name: str
    content: Any


@dataclass
class Frame:
    """A picture to predict on.

    Attributes:
        image: ``H x W x 3`` in BGR, uint8, unless the configuration loads pictures otherwise.
        name: See :class:`Item`; frames of a video are ``NAME/000000`` and so on.
        path: The file; None for an array or a camera.
        video: The name of the video or camera that it is a frame of.
        fps: Frames a second of that, 0 where it is not known.
    """

    image: np.ndarray
    name: str
    path: str | None = None
    video: str | None = None
    fps: float = 0.0


def find(source: Any, results: str | os.PathLike | None = None) -> list[Item]:
    """What there is at a source.

    Args:
        source: A file, a folder (all pictures below it), a glob, a number of a camera, an array ``H x W x 3`` in BGR,
            or a list of such.
        results: A folder that is passed over where it lies below a folder that is a source.

    Raises:
        RunError: There is nothing, or nothing that can be a picture.
    """
    several = source if isinstance(source, (list, tuple)) else [source]
    if not several:
        raise RunError('the source is an empty list: give a file, a folder, a glob, an array or a camera number')
    items = [item for one in several for item in _find(one, results)]
    # Two of one name would become one file.
    number = Counter(item.name for item in items)
    taken = {name for name, times in number.items() if times == 1}
    return [item if number[item.name] == 1 else replace(item, name=_free_name(item, taken)) for item in items]


def _free_name(item: Item, taken: set[str]) -> str:
    suffix = Path(item.content).suffix[1:] if isinstance(item.content, str) else ''
    wanted = f'{item.name}_{suffix}' if suffix else item.name
    name = next(name for i in itertools.count(1) if (name := wanted if i == 1 else f'{wanted}_{i}') not in taken)
    taken.add(name)
    return name


def _find(source: Any, results: str | os.PathLike | None) -> list[Item]:
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or 0 in source.shape:
            raise RunError(
                f'an array of shape {source.shape} and type {source.dtype}: a picture is H x W x 3, uint8, blue first'
            )
        return [Item('array', 'array', source)]
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal() and not os.path.exists(source)):
        return [Item('camera', f'camera_{int(source)}', int(source))]
    if not isinstance(source, (str, os.PathLike)):
        raise RunError(f'{source!r} is no source: give a file, a folder, a glob, an array or a camera number')
    path = os.path.expanduser(os.fspath(source))
    if os.path.isdir(path):
        earlier = os.pardir
        if results is not None:
            with suppress(ValueError):  # on another drive
                earlier = os.path.relpath(os.path.realpath(results), os.path.realpath(path))
        # Without hidden folders, such as .ipynb_checkpoints.
        shown = (name for name in files_below(path) if f'{os.sep}.' not in os.sep + name)
        own = (name for name in shown if not name.startswith(earlier + os.sep))
        names = [name for name in own if name.lower().endswith(PICTURES + VIDEOS)]
        if not names:
            raise RunError(f'{source} holds no pictures and no videos ({" ".join(PICTURES + VIDEOS)})')
        return [_file(os.path.join(path, name), name) for name in names]
    if os.path.isfile(path):
        return [_file(path, os.path.basename(path))]
    found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if found:
        root = os.path.commonpath([os.path.dirname(name) for name in found]) or '.'
        return [_file(name, os.path.relpath(name, root)) for name in found]
    raise RunError(f'{source} matches no file' if glob.has_magic(path) else f'{source} does not exist')


def _file(path: str, name: str) -> Item:
    video = path.lower().endswith(VIDEOS)
    return Item('video' if video else 'picture', os.path.splitext(name)[0], path)


def count(items: Sequence[Item]) -> int | None:
    """How many frames there are; None for a camera, or where a video does not say."""
    total = 0
    for item in items:
        frames = 0 if item.kind == 'camera' else 1
        if item.kind == 'video':
            with _capture(item) as video:
                frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        if frames <= 0:
            return None
        total += frames
    return total


def read(
    items: Sequence[Item], skipped: list[tuple[str, str]], color_type: str = 'color', backend: str | None = None
) -> Iterator[Frame]:
    """Read items one by one; what cannot be read is noted and left out.

    Args:
        items: By :func:`find`.
        skipped: Gets the paths of what cannot be read, each with the reason.
        color_type: As mmcv's ``LoadImageFromFile`` takes it.
        backend: ``imdecode_backend`` of the same.

    Raises:
        RunError: There is no such camera.
    """
    for item in items:
        if item.kind == 'picture':
            image = _picture(item.content, skipped, color_type, backend)
            if image is not None:
                yield Frame(image, item.name, item.content)
            continue
        for frame in [Frame(item.content, item.name)] if item.kind == 'array' else _video(item, skipped):
            if color_type.startswith('grayscale'):
                frame.image = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
            yield frame


def _picture(path: str, skipped: list, color_type: str, backend: str | None) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow's, of pictures that are large
        fault = look(path, decode=True).fault
    unknown = fault == NO_IMAGE and backend != 'pillow'  # which would start other programs for some formats
    if fault and not unknown and 'decompression bomb' not in fault:
        skipped.append((path, fault))
        return None
    try:
        image = mmcv.imfrombytes(Path(path).read_bytes(), flag=color_type, backend=backend)
    except Exception as error:  # decoders raise anything
        image, fault = None, str(error).splitlines()[0] if str(error) else type(error).__name__
    if image is None:
        skipped.append((path, fault or 'does not decode'))
    return image


def _video(item: Item, skipped: list) -> Iterator[Frame]:
    path = None if item.kind == 'camera' else item.content
    with _capture(item) as video:
        if not video.isOpened():
            if path is None:
                raise RunError(f'there is no camera {item.content} that can be opened')
            skipped.append(
                (path, 'no video that OpenCV can decode: broken, its codec is missing here, or its name is not UTF-8')
            )
            return
        fps, promised = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        number = 0
        while (shot := video.read())[0]:
            yield Frame(shot[1], f'{item.name}/{number:06}', path, item.name, fps)
            number += 1
        if path is None:
            skipped.append((item.name, f'the camera gave no more pictures after {number}'))
        elif number < _WHOLE * promised or not number:
            skipped.append((path, f'the video ends after {number} of {int(promised)} frames'))


@contextmanager
def _capture(item: Item) -> Iterator[cv2.VideoCapture]:
    """An open video or camera; OpenCV's own complaints, several lines on stderr, are ours to make."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        # OpenCV ends the process at a name that is not UTF-8.
        named = isinstance(item.content, int) or item.content.encode(errors='ignore') == os.fsencode(item.content)
        # FFmpeg would take what is before a colon for a protocol.
        place = item.content if isinstance(item.content, int) else os.path.abspath(item.content)
        video = cv2.VideoCapture(place) if named else cv2.VideoCapture()
    finally:
        cv2.setLogLevel(level)
    try:
        yield video
    finally:
        video.release()
