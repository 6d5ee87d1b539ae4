"""A process that has imported mmdet and mmseg, and forks for every tool that a test calls: the imports are most of it.

Orders come over the socket whose number is the first argument: JSON with the script, its arguments, directory and
environment, and two pipes: one takes the tool's output, the other its process id and, when it ends, its wait status.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys


def prepare() -> None:
    """Import what runs need, and what they would import late, each for itself."""
    import mmseg.utils
    from mmdet.utils import register_all_modules
    from mmengine.utils.dl_utils import collect_env
    from PIL import Image

    register_all_modules(init_default_scope=False)
    mmseg.utils.register_all_modules(init_default_scope=False)
    # What an optimizer imports, a picture, the log's first lines.
    for name in ('torch._dynamo', 'mmswin.engine.launch'):
        importlib.import_module(name)
    Image.init()
    collect_env()
    # What makes the text of a configuration beautiful takes longer than these runs train.
    import mmengine.config.config

    mmengine.config.config.FormatCode = lambda text, **_: (text, False)
    gc.freeze()  # what forks then need not look through


def child_for_an_order(orders: socket.socket) -> dict:
    """Serve until the socket closes; returns in a fresh child, for each order."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, pipes, *_ = socket.recv_fds(orders, 2**20, 2)
        if not message:
            os._exit(0)
        if os.fork():
            for pipe in pipes:
                os.close(pipe)
            continue
        output, status = pipes
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        orders.close()
        pid = os.fork()
        if pid:
            os.close(output)
            os.write(status, f'{pid}\n'.encode())
            os.write(status, f'{os.waitpid(pid, 0)[1]}\n'.encode())
            os._exit(0)
        os.close(status)
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        return json.loads(message)


def main() -> None:
    prepare()
    order = child_for_an_order(socket.socket(fileno=int(sys.argv[1])))
    os.chdir(order['directory'])
    os.environ.clear()
    os.environ.update(order['environment'])
    sys.argv = order['command']
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
