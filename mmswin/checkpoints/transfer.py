"""One transfer of a file over http(s): its words for what goes wrong, and going on where an earlier one ended."""

import errno
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from mmswin import __version__
from mmswin.checkpoints.report import log
from mmswin.errors import printable

SILENCE = 30.0  # seconds without a byte after which a transfer is over
# Slower than this many bytes in a second, over so many seconds, a transfer is over, too.
SLOWEST, PATIENCE = 1000, 60.0
# No checkpoint of any vision model is larger; a server that sends without an end is.
MAX_SIZE = 1 << 36
_CHUNK = 1 << 18
_MAKE_ROOM = 'make room, or export TORCH_HOME=DIR to put the cache elsewhere'


class Failed(Exception):
    """A download that further attempts do not mend."""


class Interrupted(Exception):
    """A download that may go on at another attempt."""


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows a redirect unless it leaves https, or http for something else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme != 'https' and scheme != req.type:
            raise Failed(f'the server redirects from {req.type} to {scheme}, where the file could be exchanged')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def note_of(part: Path) -> dict[str, Any]:
    """What was noted when the transfer of a part began."""
    try:
        return dict(json.loads(beside(part, '.json').read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}


def state(url: str, part: Path) -> tuple[int, str]:
    """Bytes of an earlier attempt, and the server's mark of that version of the file; (0, '') to begin anew."""
    note = note_of(part)
    known = note.get('url') == url and note.get('version') and part.is_file()
    return (part.stat().st_size, note['version']) if known else (0, '')


def transfer(url: str, part: Path) -> None:
    """Receive a file, or the rest of it.

    Raises:
        Interrupted: It did not come to its end; what came is kept.
        Failed: It will not come.
    """
    have, version = state(url, part)
    headers = {'User-Agent': f'mmswin/{__version__}', 'Accept-Encoding': 'identity'}
    headers |= {'Range': f'bytes={have}-', 'If-Range': version} if have else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        # An opener of its own reads the proxies of today's environment.
        with urllib.request.build_opener(_NoDowngrade).open(request, timeout=SILENCE) as response:
            start = have if response.status == 206 else 0
            if response.headers.get_content_type() == 'text/html':
                raise Failed('the server sent a web page and no file; perhaps it wants a login')
            if response.headers.get('Content-Encoding', 'identity').strip().lower() not in ('', 'identity'):
                raise Failed('the server sends the file packed, which was not asked for')
            if response.status != 200 and not start:
                raise Interrupted(f'the server sent a part of the file, which was not asked for ({response.status})')
            if start and _version(response) not in ('', version):  # a server that knows no If-Range
                part.unlink(missing_ok=True)
                raise Interrupted('the file has changed at the server')
            _receive(response, url, part, start)
    except urllib.error.HTTPError as error:
        _explain_status(error, part, have)
    except (http.client.InvalidURL, ValueError) as error:
        raise Failed(f'that is no URL ({error})') from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        _explain_network(error, url)


def _version(response: Any) -> str:
    """The server's mark of a version of the file, '' if it gives none that is exact."""
    etag = response.headers.get('ETag', '')
    return etag if etag and not etag.startswith('W/') else response.headers.get('Last-Modified', '')


def _receive(response: Any, url: str, part: Path, start: int) -> None:
    """Write a response behind the first ``start`` bytes of the file."""
    length = response.headers.get('Content-Length')
    total = start + int(length) if length and length.isdigit() else None
    given = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', response.headers.get('Content-Range', ''))
    if start and (not given or int(given[1]) != start):
        part.unlink(missing_ok=True)
        raise Interrupted('the server sent another part of the file than was asked for')
    size = f' ({total / 1e6:.1f} MB)' if total else ''
    log(f'downloading {url} to {part.parent}{size}' + (f', from byte {start}' if start else ''))
    try:
        if (total or 0) > MAX_SIZE:
            raise Failed(f'it is said to have {total} bytes, and {MAX_SIZE} are the most that is fetched')
        needed, free = (total or 0) - start, shutil.disk_usage(part.parent).free
        if needed > free:
            raise Failed(f'it needs {needed} bytes, and {free} are free in {part.parent}; {_MAKE_ROOM}')
        note = {'url': url, 'version': _version(response), 'told': total}
        beside(part, '.json').write_text(json.dumps(note), encoding='utf-8')
        shown = dict(total=total, initial=start, disable=not sys.stderr.isatty(), unit='B', unit_scale=True)
        with part.open('ab' if start else 'wb') as file, torch.hub.tqdm(**shown) as bar:
            begun, written = time.monotonic(), 0
            while chunk := _next_chunk(response):
                file.write(chunk)
                written += len(chunk)
                if start + written > MAX_SIZE:
                    raise Failed(f'more than {MAX_SIZE} bytes came')
                passed = time.monotonic() - begun
                if passed > PATIENCE and written < SLOWEST * passed:
                    raise Interrupted(f'fewer than {SLOWEST} bytes came in a second')
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = 'the disk is full' if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        raise Failed(f'{part.parent} cannot be written to: {reason}; {_MAKE_ROOM}') from error
    if total is not None and part.stat().st_size < total:
        raise Interrupted(f'the connection ended after {part.stat().st_size} of {total} bytes')


def _next_chunk(response: Any) -> bytes:
    """The next bytes; trouble of the network becomes Interrupted, so that it is not taken for the disk's."""
    try:
        return response.read1(_CHUNK)
    except TimeoutError as error:
        raise Interrupted(f'no byte came for {SILENCE:.0f} s') from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f'the connection broke ({error})') from error


def _explain_status(error: urllib.error.HTTPError, part: Path, have: int) -> None:
    code = error.code
    if code == 416:  # nothing behind what is there: it is whole, or of another version
        if error.headers.get('Content-Range') == f'bytes */{have}':
            return
        part.unlink(missing_ok=True)
        raise Interrupted('the file has changed at the server') from error
    if code in (408, 425, 429) or code >= 500:
        raise Interrupted(f'the server answers {code} {printable(error.msg, 100)}') from error
    message = printable(error.msg, 100)
    hint = {404: 'there is no such file; look for a mistake in the URL', 410: 'the file has been taken away',
            401: 'the file needs a login; download it in a browser and name the local file',
            403: 'the server refuses it; it may need a login, or your network is not let in',
            407: 'the proxy needs a login; put it into the https_proxy variable'}.get(code, message)  # fmt: skip
    hint = 'it redirects in a circle' if 300 <= code < 400 else hint
    raise Failed(f'the server answers {code}: {hint}') from error


def _explain_network(error: Exception, url: str) -> None:
    cause = getattr(error, 'reason', error)
    host = urlsplit(url).hostname
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise Failed(
            f'the certificate of {host} is not one that this machine trusts ({cause.verify_message}); behind '
            "a company's proxy, export SSL_CERT_FILE=ITS_CERTIFICATES.pem"
        ) from error
    if isinstance(cause, socket.gaierror):
        raise Failed(f'the name {host} (or that of the proxy) is not known here ({cause.strerror})') from error
    reason = f'no answer within {SILENCE:.0f} s' if isinstance(cause, TimeoutError) else printable(cause, 200)
    raise Interrupted(f'{host} cannot be reached ({reason})') from error
