"""Downloads of checkpoints into torch's cache: resumed, checked, and never half a file under the final name.

``torch.hub.download_url_to_file`` begins anew after every interruption, waits for a silent server for ever, and lets
two processes download the same file side by side. The cache is the same, ``$TORCH_HOME/hub/checkpoints``, and so is
the habit of putting the beginning of a file's SHA-256 into its name (``swin-0123abcd.pth``).
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import torch
from filelock import FileLock, Timeout  # torch needs it, too

from mmswin.checkpoints.report import log
from mmswin.checkpoints.transfer import Failed, Interrupted, beside, note_of, state, transfer
from mmswin.checkpoints.untrusted.other_files import kind_of_other
from mmswin.errors import CheckpointError, UnsafeCheckpointError

ATTEMPTS = 4
PAUSE = 2.0  # seconds before the second attempt; doubled before each further one
CHUNK = 1 << 20
# As torch names files; what has no letter in it may be a date or a time (...-20220101.pth).
_NAMED_SUM = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$')


def is_offline() -> bool:
    """Whether ``MMSWIN_OFFLINE`` forbids downloads."""
    return os.environ.get('MMSWIN_OFFLINE', '').strip().lower() not in ('', '0', 'false', 'no', 'off')


def fetch(url: str) -> Path:
    """The local file of an http(s) URL, downloaded unless it is in the cache.

    Several processes may ask at once; one downloads, the others wait. An interrupted download is gone on with at the
    next call. Proxies are those of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``).

    Args:
        url: Where the file is; a fragment ``#sha256=HEX`` is the checksum that it must have.

    Raises:
        CheckpointError: There is no file of that name in the cache, and it cannot be downloaded.
    """
    url, fragment = urldefrag(url)
    wanted = _checksum(url, fragment)
    while True:
        target = _target(url)
        if target.is_file() and _fits(target, wanted):
            return target
        advice = (
            f'fetch it elsewhere and put it at {target}, or name a local file in its place (--load-from FILE; for '
            'configurations of mmswin, the directory of such files: MMSWIN_PRETRAINED_DIR=DIR), or go on from random '
            'weights (--cfg-options load_from=None model.backbone.init_cfg=None)'
        )
        if is_offline():
            fault = f'{target} has not the SHA-256 {wanted}' if target.is_file() else f'{url} is not in the cache'
            raise CheckpointError(f'{fault}, and MMSWIN_OFFLINE forbids downloads: {advice}')
        try:
            with _only_one(target, url):
                # Another process may have finished it, or taken the name for another URL's file.
                if _target(url) == target and not (target.is_file() and _fits(target, wanted)):
                    _download(url, target, wanted)
        except Failed as error:
            raise CheckpointError(f'{url} could not be downloaded: {error}. Without a network, {advice}') from error


def _checksum(url: str, fragment: str) -> str:
    """The beginning of the file's SHA-256 in hexadecimal, '' if it is not published."""
    if fragment:
        match = re.fullmatch(r'sha256=([0-9a-fA-F]{8,64})', fragment)
        if not match:
            raise CheckpointError(
                f"{url}#{fragment}: behind the # of a checkpoint's URL only sha256=HEX is known, with 8 to 64 digits"
            )
        return match[1].lower()
    match = _NAMED_SUM.search(urlsplit(url).path)
    return match[1] if match else ''


def _target(url: str) -> Path:
    """Where the file belongs: under its own name, or one folder down where that is taken by another URL's file."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    name = os.path.basename(urlsplit(url).path) or 'checkpoint'
    plain = folder / name
    origin = beside(plain, '.origin')
    if origin.is_file() and origin.read_text(encoding='utf-8', errors='replace').strip() != url:
        return folder / hashlib.sha256(url.encode()).hexdigest()[:12] / name
    return plain


def _fits(path: Path, wanted: str) -> bool:
    """Whether a cached file has the checksum, where one is known; it may be damaged, or put there by hand."""
    return not wanted or sha256(path).startswith(wanted)


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _only_one(target: Path, url: str) -> Iterator[None]:
    """Hold the lock of a file in the cache."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(beside(target, '.lock'))
        try:
            lock.acquire(timeout=1)
        except Timeout:
            log(f'another process downloads {url}; waiting for it')
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise Failed(
            f'{target.parent} cannot be written to ({getattr(error, "strerror", None) or error}); '
            'export TORCH_HOME=DIR puts the cache elsewhere'
        ) from error
    try:
        yield
    finally:
        lock.release()


def _download(url: str, target: Path, wanted: str) -> None:
    part = beside(target, '.partial')
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer(url, part)
            break
        except Interrupted as error:
            if attempt == ATTEMPTS:
                kept, _ = state(url, part)
                rest = f'; the {kept} bytes that arrived are kept, and the next try goes on from there' if kept else ''
                raise Failed(f'{error}{rest}') from error
            time.sleep(PAUSE * 2 ** (attempt - 1))
    problem = _problem(part, wanted)
    if problem:
        part.unlink()
        raise Failed(problem)
    beside(target, '.origin').write_text(url + '\n', encoding='utf-8')
    os.replace(part, target)
    beside(part, '.json').unlink(missing_ok=True)
    log(f'downloaded {target}')


def _problem(part: Path, wanted: str) -> str | None:
    """What is wrong with a whole download, if anything; without a length and a checksum its end may be missing."""
    from mmswin.checkpoints.untrusted import load_file, safetensors_file, torch_files

    with part.open('rb') as file:
        head = file.read(512)
    other = kind_of_other(head, part.stat().st_size)
    if other or not (torch_files.recognised(head) or safetensors_file.recognised(head)):
        return f'what came {other or "is no checkpoint"}'
    if wanted:
        found = sha256(part)
        fault = f'what came has the SHA-256 {found}, and it should begin with {wanted}: the file was damaged on its way'
        return None if found.startswith(wanted) else f'{fault} or has been exchanged'
    if note_of(part).get('told') is None:
        try:
            load_file(part)
        except UnsafeCheckpointError:
            pass  # which is said when it is loaded
        except CheckpointError as error:
            return f'the server told no length, and what came {str(error).partition(str(part))[2][2:]}'
    return None
