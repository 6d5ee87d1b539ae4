"""Checkpoints that keep the configuration of their training beside the weights: read as dictionaries, never as objects.

Every file is read as on torch >= 2.6 and as on older ones.
"""

import argparse
import os
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from models import TINY

from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints import CheckpointError, inspection, load_file
from mmswin.errors import UnsafeCheckpointError


class CfgNode(dict):
    """Pickles as yacs's does; it is saved while a module of that name is there, and read when it is gone."""

    def __init__(self, entries=(), **state):
        super().__init__({k: CfgNode(v) if type(v) is dict else v for k, v in dict(entries).items()})
        self.__dict__.update({'__immutable__': True, '__deprecated_keys__': set(), '__renamed_keys__': {},
                              '__new_allowed__': False, **state})  # fmt: skip


CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'


def _save(content, path, archive=True):
    yacs, config = ModuleType('yacs'), ModuleType('yacs.config')
    config.CfgNode = CfgNode
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'yacs', yacs)
        patch.setitem(sys.modules, 'yacs.config', config)
        torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


def _simmim(backbone):
    """What SimMIM's and the authors' training scripts save."""
    weights = {'encoder.' + name: value for name, value in backbone.state_dict().items()}
    weights |= {'encoder.mask_token': torch.zeros(1, 1, 12), 'decoder.0.weight': torch.zeros(3072, 96, 1, 1)}
    config = CfgNode({'BASE': [''], 'DATA': {'IMG_SIZE': 192, 'MASK_RATIO': 0.6}, 'AMP': True, 'TAG': None,
                      'MODEL': {'TYPE': 'swin', 'SWIN': {'DEPTHS': [1, 1, 2, 1]}}})  # fmt: skip
    return {'model': weights, 'optimizer': {}, 'lr_scheduler': {'base_values': [1e-4]}, 'max_accuracy': 0.0,
            'epoch': 799, 'config': config}  # fmt: skip


def _assert_loaded(path, source):
    model = SwinTransformer(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize('archive', [True, False], ids=['zip', 'legacy'])
def test_yacs(tmp_path, archive):
    source = SwinTransformer(**TINY)
    path = _save(_simmim(source), tmp_path / 'file.pth', archive)
    with open(path, 'rb') as file:
        assert b'cyacs.config\nCfgNode\n' in file.read()
    config = load_file(path)['config']
    assert config == {'BASE': [''], 'DATA': {'IMG_SIZE': 192, 'MASK_RATIO': 0.6}, 'AMP': True, 'TAG': None,
                      'MODEL': {'TYPE': 'swin', 'SWIN': {'DEPTHS': [1, 1, 2, 1]}}}  # fmt: skip
    assert {type(node) for node in (config, config['DATA'], config['MODEL']['SWIN'])} == {dict}
    assert 'yacs' not in sys.modules
    _assert_loaded(path, source)


@pytest.mark.parametrize('archive', [True, False], ids=['zip', 'legacy'])
def test_argparse(tmp_path, archive):
    source = SwinTransformer(**TINY)
    args = argparse.Namespace(lr=5e-4, opt_betas=None, model='swin', aa=['rand', (1, 2)], items=3, device='cuda',
                              inner=argparse.Namespace(), dtype=torch.float16)  # fmt: skip
    content = {'model': source.state_dict(), 'optimizer': {}, 'epoch': 299, 'args': args}
    loaded = load_file(_save(content, tmp_path / 'file.pth', archive))
    assert loaded['args'] == {**vars(args), 'inner': {}}
    assert isinstance(loaded['args'], dict)
    _assert_loaded(tmp_path / 'file.pth', source)
    # What was read can be saved and read again, also by torch alone.
    torch.save(loaded, tmp_path / 'again.pth')
    assert load_file(tmp_path / 'again.pth')['args'] == loaded['args']
    assert torch.load(tmp_path / 'again.pth', weights_only=True)['args'] == loaded['args']


def test_a_file_is_told_to_hold_one():
    source = SwinTransformer(**TINY)
    rows = dict(inspection.inspect(_simmim(source), dict(SwinTransformer=VARIANTS)))
    assert rows['besides'] == "a configuration of 5 entries, in 'config'"
    assert 'epoch 799' in rows['training']
    assert 'besides' not in dict(inspection.inspect(source.state_dict(), dict(SwinTransformer=VARIANTS)))


# ------------------------------------------------------------------ what is refused


class Calling:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def _filled(**state):
    node = CfgNode({'A': 1})
    node.__dict__.update(state)
    return node


def _namespace(**attributes):
    made = argparse.Namespace()
    made.__dict__.update(attributes)
    return made


ORDER = Calling(os.system, 'exit 1')
OBJECTS = {
    # name: (content, part of the message)
    'call in an entry': (CfgNode({'A': ORDER}), 'needs the type posix.system'),
    'call in the state': (_filled(__immutable__=ORDER), 'needs the type posix.system'),
    'call in an attribute': (_namespace(f=ORDER), 'needs the type posix.system'),
    'call below a list': (CfgNode({'A': [({'b': ORDER},)]}), 'needs the type posix.system'),
    'function': (_namespace(function=print), 'needs the type print'),
    'array of objects': (CfgNode({'A': np.array([None])}), 'needs the type numpy.dtype(O8)'),
    'keys of equal hashes': (CfgNode({i * (2**61 - 1): 1 for i in range(1, 8)}), 'keys are neither names nor numbers'),
    'keys that are tuples': (CfgNode({(1, 2): 1}), 'keys are neither names nor numbers'),
}  # fmt: skip


@pytest.mark.parametrize('archive', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('kind', OBJECTS)
def test_configurations_of_other_things(tmp_path, kind, archive):
    content, part = OBJECTS[kind]
    path = _save({'model': {'a': torch.zeros(1)}, 'config': content}, tmp_path / 'file.pth', archive)
    with pytest.raises(CheckpointError) as error:
        load_file(path)
    assert part in str(error.value)


def _text(value):
    return b'X' + len(value).to_bytes(4, 'little') + value.encode()


# The two names, and a key, for short.
NODE, SPACE, A = b'h\x00)\x81', b'h\x01)\x81', b'h\x02'
DEEP, MANY = 20_000, 650_000


def _pickle(content):
    names = b'cyacs.config\nCfgNode\nq\x00cargparse\nNamespace\nq\x01' + _text('a') + b'q\x02'
    return b'\x80\x02}' + _text('x') + b'(' + names + content + b'ts.'


def _laughs():
    """Thirty configurations, each of which holds the one before ten times."""
    levels = [NODE + b'q\x03']
    for level in range(4, 33):
        entries = b''.join(b'K' + bytes([i, 104, level - 1]) for i in range(10))
        levels.append(NODE + b'(' + entries + b'uq' + bytes([level]))
    return b''.join(levels)


PICKLES = {
    # name: (pickle, part of the message)
    'call of CfgNode': (b'h\x00}\x85R', 'needs the type yacs.config.CfgNode'),
    'call of CfgNode without arguments': (b'h\x00)R', 'needs the type yacs.config.CfgNode'),
    'call of Namespace': (b'h\x01' + A + b'\x85R', 'needs the type argparse.Namespace'),
    'new CfgNode of something': (b'h\x00}\x85\x81', 'needs the type yacs.config.CfgNode.__new__'),
    'new Namespace of something': (b'h\x01' + A + b'\x85\x81', 'needs the type argparse.Namespace.__new__'),
    'new OrderedDict': (b'ccollections\nOrderedDict\n)\x81', 'needs the type collections.OrderedDict.__new__'),
    'new text': (_text('yacs.config.CfgNode') + b')\x81', 'needs the type object.__new__'),
    'state of slots': (SPACE + b'N}' + A + b'Ns\x86b', 'the state of a Namespace is no dictionary'),
    'appended': (NODE + b'Na', 'it appends to what is no list'),
    'entries of the class': (b'h\x00' + A + b'Ns', 'it sets entries of what is no dictionary'),
    'deep nodes': ((NODE + A) * DEEP + NODE + b's' * DEEP, 'nests'),
    'deep namespaces': ((SPACE + b'}' + A) * DEEP + SPACE + b'sb' * DEEP, 'nests'),
    'circle of a node': (NODE + b'q\x03' + A + b'h\x03s', 'in a circle'),
    'circle of a namespace': (SPACE + b'q\x03}' + A + b'h\x03sb', 'in a circle'),
    'billion laughs': (_laughs(), 'nests'),
    'one state many times': (
        b'}(' + b''.join(_text(f'a{i}') + b'N' for i in range(1000)) + b'uq\x03' + SPACE + b'h\x03b' * 100_000,
        'would swell',
    ),
    'a type of yacs': (b'cyacs.config\n_merge_a_into_b\n', 'needs the type yacs.config._merge_a_into_b'),
    'a method': (b'cyacs.config\nCfgNode.load_cfg\n', 'needs the type yacs.config.CfgNode.load_cfg'),
    'a parser': (b'cargparse\nArgumentParser\n)\x81', 'needs the type argparse.ArgumentParser'),
    "a module of argparse's": (b'cargparse\n_os\n', 'needs the type argparse._os'),
    'a relative': (b'cdetectron2.config.config\nCfgNode\n)\x81', 'needs the type detectron2.config.config.CfgNode'),
}


def _write(pickled, path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickled)
        archive.writestr('archive/version', '3\n')
    return path


def test_what_is_beside_the_weights_is_plain_values(tmp_path):
    """What a script's configuration holds besides, as texts and numbers; attributes are left out."""
    node = _filled(more=1, values=2)
    node['TYPE'] = HistoryBuffer
    attributes = OrderedDict(a=1)
    attributes._metadata = {'assign_to_params_buffers': True}
    path = _save({'config': node, 'args': _namespace(__class__=1), 'weights': attributes}, tmp_path / 'file.pth')
    loaded = load_file(path)
    assert loaded['config'] == {'A': 1, 'TYPE': 'mmengine.logging.history_buffer.HistoryBuffer'}
    assert loaded['args'] == {'__class__': 1}
    assert type(loaded['weights']) is OrderedDict
    assert not vars(loaded['weights'])


@pytest.mark.parametrize('kind', PICKLES)
def test_pickles_made_by_hand(tmp_path, kind):
    content, part = PICKLES[kind]
    path = _write(_pickle(content), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError) as error:
        load_file(path)
    assert part in str(error.value)


def test_more_configurations_than_belong_into_a_file_of_its_size(tmp_path):
    path = _write(_pickle(NODE * MANY), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='would swell'):
        load_file(path)


def test_a_pickle_made_by_hand_is_one(tmp_path):
    node = NODE + A + b'K\x07s}' + _text('__immutable__') + b'\x88sb'
    path = _write(_pickle(node + SPACE + b'}' + A + node + b'sb' + SPACE), tmp_path / 'file.pth')
    assert load_file(path)['x'][-3:] == ({'a': 7}, {'a': {'a': 7}}, {})


# ------------------------------------------------------------------ ways round other scanners (picklescan, fickling)

# Functions that were missing on lists of forbidden names, each a way to run a program, read, write or connect.
UNLISTED = [
    '_io.FileIO',
    '_posixsubprocess.fork_exec',
    'aiohttp.client.request',
    'asyncio.unix_events._UnixSubprocessTransport._start',
    'bdb.Bdb.run',
    'builtins.compile',
    'builtins.getattr.__class__',
    'builtins.globals',
    'builtins.map',
    'cProfile.runctx',
    'cloudpickle.loads',
    'code.InteractiveInterpreter.runcode',
    'codeop.compile_command',
    'concurrent.futures.process._process_worker',
    'ctypes.CDLL',
    'dill.loads',
    'distutils.file_util.write_file',
    'doctest.debug_script',
    'ensurepip._run_pip',
    'functools.partial',
    'http.client.HTTPSConnection',
    'idlelib.pyshell.ModifiedInterpreter.runcode',
    'imaplib.IMAP4_stream',
    'importlib.import_module',
    'joblib.load',
    'lib2to3.pgen2.grammar.Grammar.loads',
    'linecache.getline',
    'logging.config.dictConfig',
    'marshal.loads',
    'multiprocessing.util.spawnv_passfds',
    'numpy.f2py.crackfortran.myeval',
    'numpy.testing._private.utils.runstring',
    'operator.attrgetter',
    'operator.methodcaller',
    'os.posix_spawn',
    'pandas.read_pickle',
    'pathlib.Path.write_text',
    'pdb.run',
    'pickle.loads',
    'pip.main',
    'pkgutil.resolve_name',
    'platform.popen',
    'profile.run',
    'pty.spawn',
    'pydoc.pipepager',
    'requests.api.get',
    'runpy.run_path',
    'shelve.open',
    'shutil.rmtree',
    'site.execsitecustomize',
    'smtplib.SMTP',
    'socketserver.TCPServer',
    'sqlite3.connect',
    'ssl.get_server_certificate',
    'test.support.script_helper.assert_python_ok',
    'timeit.timeit',
    'torch._dynamo.guards.GuardBuilder.get',
    'torch._inductor.codecache.compile_file',
    'torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression',
    'torch.hub.load',
    'torch.jit.unsupported_tensor_ops.execWrapper',
    'torch.serialization.load',
    'torch.storage._load_from_bytes',
    'torch.utils._config_module.ConfigModule.load_config',
    'torch.utils.bottleneck.__main__.run_cprofile',
    'torch.utils.collect_env.run',
    'trace.Trace.run',
    'types.CodeType',
    'types.FunctionType',
    'urllib.request.urlopen',
    'uuid._get_command_stdout',
    'venv.create',
    'webbrowser.open',
    'xmlrpc.client.ServerProxy',
    'zipimport.zipimporter',
]


def _short(text):
    return b'\x8c' + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize('plain', [True, False], ids=['plain', 'zip'])
def test_what_is_not_listed_is_refused_whatever_it_is(tmp_path, plain):
    imported = set(sys.modules)
    for name in UNLISTED:
        module, _, function = name.rpartition('.')
        for named in (f'c{module}\n{function}\n'.encode(), _short(module) + _short(function) + b'\x93'):
            pickled = b'\x80\x04}' + _short('state_dict') + named + _short('id') + b'\x85Rs.'
            path = tmp_path / 'file.pth'
            path.write_bytes(pickled) if plain else _write(pickled, path)
            with pytest.raises(UnsafeCheckpointError, match=function):
                load_file(path)
    assert set(sys.modules) == imported


def _bypasses(marker):
    """Pickles of other shapes than a named function and its call, which would make a directory."""
    mkdir, place = b'cos\nmkdir\n', _text(str(marker))
    order, listed = b'ccollections\nOrderedDict\n', b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
    call = mkdir + place + b'\x85R'
    return {
        'INST': b'(' + place + b'ios\nmkdir\n',
        'OBJ': b'(' + mkdir + place + b'o',
        'NEWOBJ': mkdir + place + b'\x85\x81',
        'NEWOBJ_EX': mkdir + place + b'\x85}\x92',
        'EXT1': b'\x82\x01',
        'EXT2': b'\x83\x01\x00',
        'EXT4': b'\x84\x01\x00\x00\x00',
        'PERSID': b'Pstorage\n',
        'a storage that is a function': b'(' + _text('storage') + mkdir + _text('0') + _text('cpu') + b'K\x01tQ',
        'a reference that is a call': call + b'Q',
        'names from the memo, put there twice': _text('collections') + b'q\x07' + _text('os') + b'q\x07' + _text('mkdir')
        + b'q\x08' + b'h\x07h\x08\x93' + place + b'\x85R',
        'a name behind a listed one': _text('collections') + _text('OrderedDict.__reduce__') + b'\x93)R',
        'the globals of a listed one': _text('torch._utils') + _text('_rebuild_tensor_v2.__globals__') + b'\x93',
        'a module in a listed one': _text('numpy.core.multiarray') + _text('os.mkdir') + b'\x93' + place + b'\x85R',
        'white space in a name': b'cos \n mkdir\n' + place + b'\x85R',
        'an old name': b'c__builtin__\n__import__\n' + _text('os') + b'\x85R',
        'no name': b'c\n\n)R',
        'a name that is no text': b'NN\x93',
        'getattr of a module': b'c__builtin__\ngetattr\n' + _text('os') + _text('mkdir') + b'\x86R' + place + b'\x85R',
        'getattr twice': b'c__builtin__\ngetattr\n' + listed + _text('mean') + b'\x86Rq\x07'
        + b'c__builtin__\ngetattr\nh\x07' + _text('__globals__') + b'\x86R',
        'a state that makes a method': order + b')R}' + _text('__setstate__') + mkdir + b'sb' + place + b'b',
        'the state of a class': order + b'}' + _text('__init__') + mkdir + b'sb',
        'statistics of a log': listed + b')\x81}' + _text('_statistics_methods') + b'}' + _text('mean') + mkdir + b'ssb',
        'hooks of a parameter': b'ctorch._utils\n_rebuild_parameter\nN\x88' + order + b')R' + _text('a') + mkdir + b's\x87R',
        'a mapping that calls': b'ccollections\ndefaultdict\n' + mkdir + b'\x85R',
        'a name as a call': _text('os.mkdir') + place + b'\x85R',
        'a size that is called': b'ctorch\nSize\n' + call + b'\x85R',
        'a fault behind the call': call + b'\xff',
        'thrown away': call + b'0N',
        'a pickle in a pickle': b'cpickle\nloads\n' + b'C\x01.' + b'\x85R',
        'buffers from outside': b'\x97\x98',
    }  # fmt: skip


@pytest.mark.parametrize('kind', _bypasses(''))
def test_ways_round_other_scanners(tmp_path, kind):
    """Beside weights, in front of them, and in place of the magic number of the old format."""
    path, marker = tmp_path / 'file.pth', tmp_path / 'ran'
    content = _bypasses(marker)[kind]
    for pickled in (_pickle(content), b'\x80\x04}' + _text('x') + content + b's.', b'\x80\x02' + content + b'.'):
        for file in (pickled, pickled + b'\x80\x02}.', b'\x80\x02}.' + pickled):
            path.write_bytes(file)
            with pytest.raises(CheckpointError):
                load_file(path)
        with pytest.raises(CheckpointError):
            load_file(_write(pickled, path))
    assert not marker.exists()
