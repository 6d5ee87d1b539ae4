"""Results into a directory: drawn pictures, drawn videos, COCO's json, label maps or classes; in constant memory."""

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from mmswin.atomic import replacing
from mmswin.errors import RunError, SavingError
from mmswin.inference.results import Result

# Where a camera does not say how many pictures a second it gives.
_FPS = 25.0
_JPEG_SIDE = 65_500


def check_directory(out: str | os.PathLike, overwrite: bool) -> Path:
    """Refuse to write among files that are there.

    Raises:
        RunError: ``out`` is a file, or a directory with something in it.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise RunError(f'--out {out} is a file; name a directory')
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise RunError(f'--out {out} exists and is not empty; choose another name or add --overwrite')
    return path


def _unfinished(video: Path) -> Path:
    return video.with_name(f'.unfinished_{video.name}')  # OpenCV goes by the suffix


class Writer(contextlib.AbstractContextManager):
    """Writes results as they come; a context, which completes the files that grow.

    Args:
        out: The directory: ``NAME.jpg`` for a picture, ``NAME.mp4`` for a video.
        values: Also ``predictions.json`` with all objects (of classifiers: a list of what ``Result.to_dict`` says), or
            ``labels/NAME.png`` for semantic segmentation.
        overwrite: Also into a directory that is not empty.

    Attributes:
        pictures: How many results came.
        counts: Class names to how many objects, or pictures with such pixels.

    Raises:
        RunError: See :func:`check_directory`; or no video can be written here.
    """

    def __init__(self, out: str | os.PathLike, values: bool = False, overwrite: bool = False) -> None:
        self.out, self.values = check_directory(out, overwrite), values
        self.pictures, self.counts = 0, Counter()
        self._open = contextlib.ExitStack()
        self._json: BinaryIO | None = None
        self._video: tuple[str, Any, tuple[int, int], Path] | None = None
        self._images: list[dict[str, Any]] = []
        self._file_names: set[str] = set()
        self._written = 0
        self._categories: list[dict[str, Any]] = []

    def __exit__(self, *error: object) -> None:
        """Complete the files, whatever ended the run: what came until then is worth having."""
        self._end_video()
        with self._open:  # an error in here removes the file
            if self._json is not None:
                self._json.write(b'\n]')
                if self._images:
                    self._json.write(b',\n"images": [\n')
                    self._json.write(b',\n'.join(json.dumps(image).encode() for image in self._images))
                    self._json.write(f'\n],\n"categories": {json.dumps(self._categories)}}}'.encode())
                self._json.write(b'\n')

    def add(self, result: Result) -> None:
        """Write one result.

        Raises:
            RunError: The picture would be drawn over its own file.
            SavingError: A file cannot be written.
        """
        self.pictures += 1
        found = result.counts()
        self.counts.update(found if result.instances is not None else found.keys())
        if result.video is None:
            side = max(result.image.shape[:2])
            result.save(self._place(result, f'{result.name}{".png" if side > _JPEG_SIDE else ".jpg"}'), overwrite=True)
        else:
            self._add_frame(result)
        if self.values and result.label_map is not None:
            result.save_labels(self.out / 'labels' / f'{result.name}.png', overwrite=True)
        elif self.values and result.scores is not None:
            self._append('[', [result.to_dict()])
        elif self.values:
            self._add_objects(result)

    def _place(self, result: Result, name: str) -> Path:
        path = self.out / name
        if result.path is not None and os.path.exists(path) and os.path.samefile(path, result.path):
            raise RunError(f'{path} is predicted on, and would be drawn over: name another directory than {self.out}')
        return path

    def _add_frame(self, result: Result) -> None:
        picture = result.draw()
        size = picture.shape[1::-1]
        if self._video is None or self._video[0] != result.video:
            self._end_video()
            path = self._place(result, f'{result.video}.mp4')
            path.parent.mkdir(parents=True, exist_ok=True)
            level = cv2.getLogLevel()
            cv2.setLogLevel(0)
            fps = result.fps if 0 < result.fps < 1000 else _FPS
            video = cv2.VideoWriter(str(_unfinished(path)), cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
            cv2.setLogLevel(level)
            if not video.isOpened():
                raise SavingError(
                    f'{path} cannot be written: OpenCV has no MPEG-4 codec here, or the place is not writable'
                )
            self._video = (str(result.video), video, size, path)
        _, video, size, _ = self._video
        video.write(picture if picture.shape[1::-1] == size else cv2.resize(picture, size))

    def _end_video(self) -> None:
        if self._video is not None:
            _, video, _, path = self._video
            self._video = None
            video.release()
            os.replace(_unfinished(path), path)

    def _add_objects(self, result: Result) -> None:
        height, width = result.image.shape[:2]
        number = len(self._images) + 1
        if result.video is not None:
            file_name = f'{result.name}.jpg'
        else:
            file_name = os.path.join(os.path.dirname(result.name), os.path.basename(result.path or result.name))
            if file_name in self._file_names:  # tools tell pictures apart by it
                file_name = result.name + os.path.splitext(file_name)[1]
        self._file_names.add(file_name)
        image = {'id': number, 'file_name': file_name, 'name': result.name, 'width': width, 'height': height}
        self._images.append(image)
        self._categories = [{'id': i + 1, 'name': name} for i, name in enumerate(result.classes)]
        self._append('{"annotations": [', result.to_coco(number, self._written + 1))

    def _append(self, begin: str, entries: list[dict[str, Any]]) -> None:
        """Write entries into the list of the json, which begins so."""
        if self._json is None:
            self._json = self._open.enter_context(replacing(self.out / 'predictions.json'))
            self._json.write(begin.encode())
        for entry in entries:
            self._json.write((',\n' if self._written else '\n').encode() + json.dumps(entry).encode())
            self._written += 1
