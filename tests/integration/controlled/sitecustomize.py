"""Lets a test list and end the tasks and threads of a worker: imported by its Python at start.

Listens on `K2_TEST_CONTROL`, a port of loopback. A connection sends one line of JSON and is
answered with one. Only a worker that a test starts with this folder in `PYTHONPATH` has it.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading


def _loops():
    app = sys.modules["topologies.trades"].app
    return {"main": app.loop, "consumer": app.consumer._thread.thread_loop}


def _name(task):
    from k2_streams.runtime.control.library_tasks import name_of  # noqa: PLC0415 - after K2's own imports

    return name_of(task)


def _tasks():
    return [
        (loop, _name(task), task)
        for loop, running in _loops().items()
        for task in asyncio.all_tasks(running)
    ]


def _spoil(task, how):
    """End a task: cancelled, or by an exception."""
    if how == "throw":
        with contextlib.suppress(BaseException):  # comes out here; the task then ends
            task.get_coro().throw(RuntimeError("ended by a test"))
    task.cancel()


def _answer(asked):
    if asked["do"] == "list":
        return sorted((loop, name) for loop, name, _ in _tasks())
    if asked["do"] == "threads":
        return sorted(thread.name for thread in threading.enumerate())
    found = [t for loop, name, t in _tasks() if [loop, name] == asked["task"]]
    for task in found[:1]:
        _loops()[asked["task"][0]].call_soon_threadsafe(_spoil, task, asked["how"])
    return len(found)


def _serve(port):
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as file:
                file.write(json.dumps(_answer(json.loads(file.readline()))) + "\n")
                file.flush()


if os.environ.get("K2_TEST_CONTROL"):
    threading.Thread(
        target=_serve, args=(int(os.environ["K2_TEST_CONTROL"]),), name="control", daemon=True
    ).start()
