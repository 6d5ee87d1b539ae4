"""Downloads against a server in this process: whole or not there, resumed, checked, through proxies, or not at all."""

import hashlib
import http.server
import multiprocessing
import os
import socket
import threading
from types import SimpleNamespace

import pytest
import torch

from mmswin.checkpoints import CheckpointError, downloads, load_file, transfer

CONTENT = b'\x80' + os.urandom(299_998) + b'\x80'
SUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under any name; the first part of the path says how."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):  # noqa: N802  http.server's name
        self.server.asked.append((self.path, dict(self.headers)))
        how = self.path.removeprefix('http://weights.invalid').split('/')[1]
        if how.isdigit():
            return self.answer(int(how), b'no')
        if how == 'sometimes' and len(self.server.asked) < 3:
            return self.answer(503, b'busy')
        if how == 'moved':
            return self.answer(302, b'', Location='/plain/file.pth')
        if how == 'circle':
            return self.answer(302, b'', Location=self.path)
        if how == 'elsewhere':
            return self.answer(302, b'', Location='ftp://127.0.0.1/file.pth')
        if how == 'page':
            return self.answer(200, b'<html>log in</html>', **{'Content-Type': 'text/html'})
        if how == 'pointer':
            return self.answer(200, b'version https://git-lfs.github.com/spec/v1\n')
        if how == 'packed':
            return self.answer(200, CONTENT, **{'Content-Encoding': 'gzip'})
        if how == 'part':
            return self.answer(
                206, CONTENT[1000:], **{'Content-Range': f'bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}'}
            )
        if how == 'endless':
            return self.answer(200, b'', **{'Content-Length': str(1 << 40)})
        if how == 'lengthless':
            return self.answer(200, CONTENT[: -1000 if len(self.server.asked) == 1 else None], lengthless=True)
        if how == 'exchanged':  # knows no If-Range
            new = len(self.server.asked) > 1
            asked, content = self.headers.get('Range'), CONTENT[::-1] if new else CONTENT
            start = int(asked.removeprefix('bytes=').removesuffix('-')) if asked else 0
            told = {'Content-Range': f'bytes {start}-{len(content) - 1}/{len(content)}'} if asked else {}
            return self.answer(206 if asked else 200, content[start:], cut=not new, ETag=f'"{new}"', **told)
        if how == 'silent' and self.server.over.wait(600):  # until the test has ended
            return None
        return self.serve(how)

    def serve(self, how):
        content = CONTENT if how != 'changed' or len(self.server.asked) < 2 else CONTENT[::-1]
        version = {'plain': '"1"', 'short': '"1"', 'changed': f'"{len(self.server.asked)}"'}.get(how)
        headers = {'ETag': version} if version else {}
        asked = self.headers.get('Range')
        if asked and self.headers.get('If-Range') == version and how != 'deaf':
            start = int(asked.removeprefix('bytes=').removesuffix('-'))
            if start >= len(content):
                return self.answer(416, b'', **{'Content-Range': f'bytes */{len(content)}'})
            headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
            return self.answer(206, content[start:], cut=how == 'short', **headers)
        return self.answer(200, content, cut=how in ('short', 'changed', 'deaf') and not asked, **headers)

    def answer(self, status, body, cut=False, lengthless=False, **headers):
        self.send_response(status)
        length = {} if lengthless else {'Content-Length': str(len(body))}
        for name, value in {**length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:100_000] if cut else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as made:
        made.asked, made.over = [], threading.Event()
        made.base = f'http://127.0.0.1:{made.server_port}'
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.over.set()
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no proxies, and no waiting."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'MMSWIN_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(downloads, 'PAUSE', 0.01)
    return tmp_path / 'torch' / 'hub' / 'checkpoints'


def _refused(url):
    with pytest.raises(CheckpointError) as error:
        downloads.fetch(url)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once(server, cache):
    path = downloads.fetch(server.base + '/plain/file.pth')
    assert path == cache / 'file.pth'
    assert path.read_bytes() == CONTENT
    assert downloads.fetch(server.base + '/plain/file.pth') == path
    assert len(server.asked) == 1
    assert sorted(p.name for p in cache.iterdir()) == ['file.pth', 'file.pth.lock', 'file.pth.origin']


def test_two_urls_of_one_name_are_two_files(server, cache):
    first = downloads.fetch(server.base + '/plain/model.pth')
    second = downloads.fetch(server.base + '/moved/model.pth')
    assert first != second
    assert second.name == 'model.pth'
    assert downloads.fetch(server.base + '/plain/model.pth') == first
    assert downloads.fetch(server.base + '/moved/model.pth') == second
    assert len(server.asked) == 3  # the second is redirected


def test_a_file_put_there_by_hand_is_taken(server, cache):
    cache.mkdir(parents=True)
    (cache / 'file.pth').write_bytes(b'mine')
    assert downloads.fetch(server.base + '/plain/file.pth').read_bytes() == b'mine'
    assert server.asked == []


def _ranges(server):
    return [headers.get('Range') for _, headers in server.asked]


def test_a_connection_that_breaks_is_gone_on_with(server):
    assert downloads.fetch(server.base + '/short/file.pth').read_bytes() == CONTENT
    assert _ranges(server) == [None, 'bytes=100000-', 'bytes=200000-']


def test_the_next_call_goes_on_where_the_last_ended(server, monkeypatch):
    monkeypatch.setattr(downloads, 'ATTEMPTS', 1)
    message = _refused(server.base + '/short/file.pth')
    assert 'the connection ended after 100000 of 300000 bytes; the 100000 bytes that arrived are kept' in message
    assert 'ended after 200000 of 300000' in _refused(server.base + '/short/file.pth')
    assert downloads.fetch(server.base + '/short/file.pth').read_bytes() == CONTENT
    assert _ranges(server) == [None, 'bytes=100000-', 'bytes=200000-']


def test_a_whole_download_that_was_not_renamed_is_not_repeated(server, cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads.os, 'replace', killed)
        with pytest.raises(KeyboardInterrupt):
            downloads.fetch(server.base + '/plain/file.pth')
    assert not (cache / 'file.pth').exists()
    assert downloads.fetch(server.base + '/plain/file.pth').read_bytes() == CONTENT
    assert _ranges(server) == [None, 'bytes=300000-']


def test_another_version_begins_anew(server):
    assert downloads.fetch(server.base + '/changed/file.pth').read_bytes() == CONTENT[::-1]
    assert _ranges(server) == [None, 'bytes=100000-']


def test_parts_of_two_versions_are_not_joined(server):
    assert downloads.fetch(server.base + '/exchanged/file.pth').read_bytes() == CONTENT[::-1]
    assert _ranges(server) == [None, 'bytes=100000-', None]


def test_an_end_that_nobody_told_is_looked_for(server, tmp_path, cache, monkeypatch):
    torch.save({'a': torch.arange(1000)}, tmp_path / 'good.pth')
    monkeypatch.setattr(f'{__name__}.CONTENT', (tmp_path / 'good.pth').read_bytes())
    assert 'damaged or truncated' in _refused(server.base + '/lengthless/file.pth')
    assert not (cache / 'file.pth').exists()
    assert downloads.fetch(server.base + '/lengthless/file.pth').read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache, monkeypatch):
    url = f'{server.base}/plain/swin-{SUM[:8]}.pth'
    path = downloads.fetch(url)
    path.write_bytes(b'damaged')
    with monkeypatch.context() as patch:
        patch.setenv('MMSWIN_OFFLINE', '1')
        assert 'MMSWIN_OFFLINE forbids' in _refused(url)
    assert downloads.fetch(url).read_bytes() == CONTENT


def test_a_server_that_trickles_is_left(server, monkeypatch):
    monkeypatch.setattr(transfer, 'PATIENCE', 0.0)
    monkeypatch.setattr(transfer, 'SLOWEST', 1e12)
    monkeypatch.setattr(downloads, 'ATTEMPTS', 1)
    assert 'bytes came in a second' in _refused(server.base + '/plain/file.pth')


def test_a_server_without_versions_begins_anew(server, cache):
    message = _refused(server.base + '/deaf/file.pth')
    assert 'the connection ended after 100000 of 300000 bytes. Without a network' in message
    assert _ranges(server) == [None] * 4
    assert not (cache / 'file.pth').exists()


def test_a_busy_server_is_asked_again(server):
    assert downloads.fetch(server.base + '/sometimes/file.pth').read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_checksums(server, cache):
    name = f'swin-{SUM[:8]}.pth'
    assert downloads.fetch(f'{server.base}/plain/{name}').read_bytes() == CONTENT
    assert downloads.fetch(f'{server.base}/plain/a.pth#sha256={SUM}').read_bytes() == CONTENT
    assert downloads.fetch(f'{server.base}/plain/b_20210902.pth').read_bytes() == CONTENT
    for name in ('c-20210902', 'c-02092021', 'c-1630540800'):
        assert downloads.fetch(f'{server.base}/plain/{name}.pth').read_bytes() == CONTENT
    wrong = 'abcdef01'
    message = _refused(f'{server.base}/plain/swin-{wrong}.pth')
    assert f'has the SHA-256 {SUM}, and it should begin with {wrong}' in message
    assert not list(cache.glob(f'swin-{wrong}.pth')) + list(cache.glob('*.partial'))
    assert 'only sha256=HEX is known' in _refused(f'{server.base}/plain/d.pth#md5=0')


@pytest.mark.parametrize(
    ('how', 'part', 'requests'),
    [
        ('404', 'the server answers 404: there is no such file', 1),
        ('403', 'the server answers 403: the server refuses it', 1),
        ('401', 'the file needs a login', 1),
        ('500', 'the server answers 500', 4),
        ('page', 'the server sent a web page and no file; perhaps it wants a login', 1),
        ('pointer', 'is a git-lfs pointer', 1),
        ('packed', 'packed', 1),
        ('part', 'not asked for', 4),
        ('endless', 'the most that is fetched', 1),
        ('circle', 'the server answers 302: it redirects in a circle', 5),
        ('elsewhere', 'redirects from http to ftp', 1),
    ],
)
def test_servers_that_refuse(server, cache, how, part, requests):
    message = _refused(f'{server.base}/{how}/file.pth')
    assert part in message
    assert f'put it at {cache / "file.pth"}' in message and '--load-from' in message
    assert len(server.asked) == requests
    assert not (cache / 'file.pth').exists()
    assert not list(cache.glob('*.partial'))


def test_a_silent_server_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(transfer, 'SILENCE', 0.2)
    monkeypatch.setattr(downloads, 'ATTEMPTS', 1)
    assert 'cannot be reached (' in _refused(server.base + '/silent/file.pth')


def test_no_network(monkeypatch, cache):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(('127.0.0.1', 0))
        message = _refused(f'http://127.0.0.1:{taken.getsockname()[1]}/file.pth')
    assert 'could not be downloaded: 127.0.0.1 cannot be reached (' in message
    assert '). Without a network, fetch it elsewhere and put it at ' in message
    assert 'the name nowhere.invalid (or that of the proxy) is not known here' in _refused(
        'https://nowhere.invalid/a.pth'
    )
    assert 'that is no URL' in _refused('http://127.0.0.1:port/file.pth')


def test_offline(server, cache, monkeypatch):
    monkeypatch.setenv('MMSWIN_OFFLINE', '1')
    message = _refused(server.base + '/plain/file.pth')
    assert 'is not in the cache, and MMSWIN_OFFLINE forbids downloads: fetch it elsewhere' in message
    assert f'and put it at {cache / "file.pth"}, or' in message
    assert server.asked == []
    monkeypatch.setenv('MMSWIN_OFFLINE', '0')
    path = downloads.fetch(server.base + '/plain/file.pth')
    monkeypatch.setenv('MMSWIN_OFFLINE', 'yes')
    assert downloads.fetch(server.base + '/plain/file.pth') == path


def test_proxies_of_the_environment(server, monkeypatch):
    """The server here is the proxy; the host of the URL exists nowhere."""
    monkeypatch.setenv('http_proxy', server.base)
    assert downloads.fetch('http://weights.invalid/plain/file.pth').read_bytes() == CONTENT
    assert server.asked[0][0] == 'http://weights.invalid/plain/file.pth'
    monkeypatch.setenv('no_proxy', 'weights.invalid')
    assert 'the name weights.invalid' in _refused('http://weights.invalid/plain/other.pth')
    assert len(server.asked) == 1


def test_a_full_disk(server, cache, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, _):
            raise OSError(28, 'No space left on device')

    opened = transfer.Path.open
    with monkeypatch.context() as patch:
        patch.setattr(
            transfer.Path,
            'open',
            lambda path, mode='r', **kwargs: (
                Full(opened(path, mode, **kwargs)) if mode == 'wb' else opened(path, mode, **kwargs)
            ),
        )
        assert f'{cache} cannot be written to: the disk is full; make room, or export TORCH_HOME=DIR' in _refused(
            server.base + '/plain/file.pth'
        )
    monkeypatch.setattr(transfer.shutil, 'disk_usage', lambda _: SimpleNamespace(free=1000))
    assert 'it needs 300000 bytes, and 1000 are free in' in _refused(server.base + '/plain/file.pth')
    assert not (cache / 'file.pth').exists()


def test_a_cache_that_cannot_be_written_to(server, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'file'))
    message = _refused(server.base + '/plain/file.pth')
    assert 'cannot be written to (Not a directory); export TORCH_HOME=DIR puts the cache elsewhere' in message


def test_processes_that_ask_at_once(server, cache):
    context = multiprocessing.get_context('fork')
    running = [context.Process(target=downloads.fetch, args=(server.base + '/short/file.pth',)) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert (cache / 'file.pth').read_bytes() == CONTENT
    assert _ranges(server) == [None, 'bytes=100000-', 'bytes=200000-']


def test_load_file_takes_a_url(server, tmp_path, cache, monkeypatch):
    torch.save({'a': torch.arange(3)}, tmp_path / 'good.pth')
    monkeypatch.setattr(f'{__name__}.CONTENT', (tmp_path / 'good.pth').read_bytes())
    assert load_file(server.base + '/plain/good.pth')['a'].tolist() == [0, 1, 2]
