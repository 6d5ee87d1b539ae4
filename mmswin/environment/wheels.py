"""mmcv's wheel with its compiled ops: built once per torch, Python and device into a per-user cache, then reused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmswin.environment.shell import Shell, elapsed
from mmswin.environment.stacks import EnvironmentProblem

try:
    import fcntl
except ImportError:  # Windows: concurrent set-ups are not kept apart there
    fcntl = None


@dataclass(frozen=True)
class WheelKey:
    """All that a compiled mmcv depends on."""

    distribution: str
    version: str
    torch: str  # with its local tag: '2.13.0+cpu'
    python: str  # 'cp311'
    platform: str  # 'linux-x86_64-glibc2.36'
    device: str  # 'cpu', or CUDA's version and the architectures: 'cu13.0-9.0'

    @property
    def folder(self) -> Path:
        """Where in the cache it lies."""
        parts = (f'torch{self.torch}', self.python, self.platform, self.device)
        return Path(f'{self.distribution}-{self.version}', '-'.join(re.sub(r'[^\w.+]', '_', part) for part in parts))


def cache_folder(environ=os.environ) -> Path:
    """``$MMSWIN_CACHE``, or ``mmswin`` in the user's cache folder."""
    if environ.get('MMSWIN_CACHE'):
        return Path(environ['MMSWIN_CACHE']).expanduser().absolute()
    base = environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser().absolute() / 'mmswin'


def cached_wheel(cache: Path, key: WheelKey, note: Callable[[str], None]) -> Path | None:
    """The intact wheel for ``key``, or None; a damaged one is named and removed."""
    for wheel in sorted((cache / 'wheels' / key.folder).glob('*.whl')):
        fault = wheel_fault(wheel, key.version)
        if fault is None:
            return wheel
        note(f'{wheel} is damaged ({fault}); it is removed and built again')
        wheel.unlink()
    return None


def any_cached(cache: Path, distribution: str, version: str, python: str) -> bool:
    """Whether some wheel of this release is there for this Python, whatever the torch."""
    return any((cache / 'wheels' / f'{distribution}-{version}').glob(f'*-{python}-*/*.whl'))


def wheel_fault(wheel: Path, version: str) -> str | None:
    """Why a wheel cannot be installed, or None: truncated, damaged, of another version, or without compiled ops."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            bad = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return str(error)
    if bad is not None:
        return f'{bad} in it fails its checksum'
    if not any(re.fullmatch(r'mmcv/_ext\..*(so|pyd)', name) for name in names):
        return 'it holds no compiled mmcv/_ext'
    if not any(name.endswith(f'-{version}.dist-info/METADATA') for name in names):
        return f'it is not version {version}'
    return None


@contextlib.contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds the file lock ``path``; calls ``wait`` once if another process holds it. The system frees it at exit."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, 'a')  # noqa: SIM115
    except OSError as error:
        raise EnvironmentProblem(
            f'{path.parent} cannot be written ({error.strerror}). Name another cache folder: '
            'make setup MMSWIN_CACHE=/some/folder'
        ) from error
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_wheel(cache: Path, key: WheelKey, build: Callable[[Path], Path], note: Callable[[str], None]) -> Path:
    """The wheel for ``key``: from the cache, or built there.

    ``build`` gets an empty folder and returns the wheel it made in it; the wheel takes its name in the cache in one
    rename, so that nobody ever sees half of one.
    """
    folder = cache / 'wheels' / key.folder
    with locked(folder / 'lock', wait=lambda: note('another set-up is building this wheel; waiting for it')):
        wheel = cached_wheel(cache, key, note)
        if wheel is not None:
            note(f'{key.distribution} {key.version} from the cache: {wheel}')
            return wheel
        for left in folder.glob('build-*'):  # of a set-up that was killed; we hold the lock, so it is dead
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix='build-', dir=folder) as work:
            built = build(Path(work))
            fault = wheel_fault(built, key.version)
            if fault is not None:
                raise EnvironmentProblem(f'The wheel just built, {built.name}, is unusable: {fault}.')
            target = folder / built.name
            os.replace(built, target)
    return target


def build_environment(environ: dict[str, str], binaries: Path, jobs: int, architectures: list[str]) -> dict[str, str]:
    """The environment mmcv is compiled in.

    Args:
        environ: this process's.
        binaries: the virtual environment's folder of programs, where ninja is.
        jobs: compilers at once, unless MAX_JOBS is set.
        architectures: GPU architectures ('9.0') to compile CUDA ops for; none for the CPU alone.
    """
    env = dict(environ)
    env['PATH'] = os.pathsep.join([str(binaries), environ.get('PATH', os.defpath)])
    # CFLAGS replaces Python's own flags: without -O2 here the ops would not be optimized at all. Debug information
    # would double the time to compile, and nobody steps through these ops.
    env['CFLAGS'] = f'-O2 -DNDEBUG -g0 {environ.get("CFLAGS", "")}'.strip()
    env['MMCV_WITH_OPS'] = '1'
    env.setdefault('MAX_JOBS', str(jobs))
    if architectures:
        env['FORCE_CUDA'] = '1'
        env.setdefault('TORCH_CUDA_ARCH_LIST', ';'.join(architectures))
    else:
        # mmcv's setup.py compiles for CUDA wherever torch sees a GPU: hide it.
        env['FORCE_CUDA'] = '0'
        env['CUDA_VISIBLE_DEVICES'] = ''
    return env


def build_wheel(shell: Shell, python: Path, requirement: str, env: dict[str, str], work: Path) -> Path:
    """Fetches the source release of ``requirement`` and compiles it in ``work``, telling how far it is.

    The environment of ``python`` holds torch, setuptools and ninja: build isolation would hide torch from mmcv.
    """
    pip = [str(python), '-m', 'pip']
    common = ['--no-build-isolation', '--no-deps', '--disable-pip-version-check']
    shell.run(
        [*pip, 'download', *common, '--no-binary', ':all:', '--dest', str(work), requirement],
        what=f'fetching {requirement}',
        env=env,
    )
    archives = list(work.glob('*.tar.gz'))
    if len(archives) != 1:
        raise EnvironmentProblem(f'pip fetched no source release of {requirement}: {[a.name for a in archives]}.')
    source = work / 'source'
    with tarfile.open(archives[0]) as archive:
        _extract(archive, source)
    (tree,) = source.iterdir()
    wheels = work / 'wheel'
    begin = shell.clock()
    shell.run(
        [*pip, 'wheel', *common, '--no-cache-dir', '--verbose', '--wheel-dir', str(wheels), str(tree)],
        what=f'compiling {requirement}',
        env=env,
        status=lambda: compile_status(tree / 'build', shell.clock() - begin),
    )
    built = list(wheels.glob('*.whl'))
    if len(built) != 1:
        raise EnvironmentProblem(f'pip built no wheel of {requirement}; see {shell.log}.')
    return built[0]


def compile_status(build: Path, seconds: float) -> str:
    """How far a build by ninja is: '12 of 79 files, about 4:10 left'.

    ``build.ninja`` names every object file; those that exist are compiled. Sources differ in size, so the time left is
    only told once a few are done.
    """
    plans = list(build.rglob('build.ninja')) if build.exists() else []
    if not plans:
        objects = len(list(build.rglob('*.o'))) if build.exists() else 0
        return f'{objects} files compiled' if objects else 'preparing'
    planned = [m for plan in plans for m in re.findall(r'^build (.*?\.o): \w*compile', plan.read_text(), re.MULTILINE)]
    total = len(planned)
    done = sum(1 for name in planned if Path(name.replace('$', '')).exists())
    if total == 0 or done == 0:
        return f'0 of {total} files'
    if done >= total:
        return f'{total} of {total} files, linking'
    left = f', about {elapsed(seconds / done * (total - done))} left' if done >= 3 else ''
    return f'{done} of {total} files{left}'


def digest(*parts: object) -> str:
    """A short fingerprint of some facts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _extract(archive: tarfile.TarFile, target: Path) -> None:
    # The 'data' filter refuses paths outside the target; early releases of 3.10 and 3.11 lack it.
    if hasattr(tarfile, 'data_filter'):
        archive.extractall(target, filter='data')
    else:
        archive.extractall(target)
