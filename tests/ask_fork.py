"""`ask_fork.py SOCKET COMMAND...`: asks `forked.programs` for a fork, and ends as it does.

It stands for the command in a shell, which has its standard streams, folder and environment. The
standard library is all that it imports: it starts in a hundredth of a second.
"""

import json
import os
import socket
import sys

address, *command = sys.argv[1:]
question = {
    "pid": os.getpid(),
    "folder": os.getcwd(),  # noqa: PTH109 - pathlib would double the time to start
    "environment": dict(os.environ),
    "command": command,
}
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect(address)
    asked.sendall(json.dumps(question).encode() + b"\n")
    code = int(asked.makefile().readline())
sys.exit(code)
