"""Executes one task of a job run: the cells of a notebook, or a Python file, against Spark Connect.

Descriptor 0 brings one JSON line with the task, later perhaps the line `stop`; its end means that the platform died.
Descriptor 5 takes JSON lines about what happened. Neither is passed on to the task's code or to its children.
"""

import importlib.machinery
import json
import linecache
import os
import re
import sys
import threading
import time
import traceback
import types
from concurrent.futures import thread as pool

import notebook_dbutils
from notebook_cells import cells
from notebook_libraries import add_libraries

# The platform's own Python files are not the task's to import.
sys.path.pop(0)

CONTROL, EVENTS = 0, 5
events_lock = threading.Lock()
winding_up = threading.Lock()


class NotebookExit(BaseException):
    """dbutils.notebook.exit: not an Exception, so that a notebook's own `except Exception` lets it through."""

    def __init__(self, value):
        super().__init__(value)
        self.value = value


def main() -> None:
    control = os.fdopen(os.dup(CONTROL), "rb")
    os.set_inheritable(EVENTS, False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), CONTROL)
    task = json.loads(control.readline())
    threading.Thread(target=obey, args=(control,), daemon=True).start()
    ending = perform(task)
    with winding_up:
        leave_spark()
        tell(event="ended", **ending)
        leave()


def obey(control) -> None:
    """Waits for `stop` (or for the platform's death) and ends the task from beside it."""
    line = control.readline()
    with winding_up:
        if line:
            leave_spark()
        leave()


def leave_spark() -> None:
    """Stops the session's streaming queries and operations and gives the session back."""
    connect = sys.modules.get("pyspark.sql.connect.session")
    session = connect and connect.SparkSession._get_default_session()
    if session is None:
        return tell(event="released")
    try:
        for query in session.streams.active:
            query.stop()
        session.interruptAll()
        # An operation that was interrupted this moment may not have ended yet: Spark then refuses, once or twice.
        for pause in (0.2, 0.5, 1.0, None):
            try:
                session.client.release_session()
                return tell(event="released")
            except Exception:
                if pause is None:
                    raise
                time.sleep(pause)
    except Exception as error:
        print(f"the Spark session was not released in order: {error}", file=sys.stderr)


def leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    # Not sys.exit: gRPC's threads and the task's own must not keep the process.
    os._exit(0)


def tell(**event) -> None:
    line = (json.dumps(event) + "\n").encode()
    with events_lock:
        while line:
            line = line[os.write(EVENTS, line):]


def perform(task) -> dict:
    """Runs the task; what became of it, as the `ended` event says it."""
    files = set()
    try:
        add_libraries(task["libraries"], task["librariesDir"])
        importlib_by_value(task["root"], os.path.dirname(task["file"]))
        os.chdir(os.path.dirname(task["file"]))
        if task["kind"] == "notebook":
            exit_value = run_as_main(task, files)
            return {"result": "SUCCESS", "exit_value": exit_value}
        run_file(task, files)
        return {"result": "SUCCESS"}
    except SystemExit as error:
        if error.code in (None, 0):
            return {"result": "SUCCESS"}
        return failure(error, files)
    except BaseException as error:
        return failure(error, files)


def failure(error: BaseException, files) -> dict:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename not in files:
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    # Spark's side of it is a hundred lines of Scala that say nothing about the notebook.
    trace = re.sub(r"\n\nJVM stacktrace:\n(?:(?:\t|\S).*\n?)*", "\n", trace)
    print(trace, end="", file=sys.stderr)
    message = next((line for line in str(error).splitlines() if line.strip()), "")
    return {"result": "FAILED", "error": f"{type(error).__name__}: {message}".rstrip(": "), "error_trace": trace}


def run_as_main(task, files):
    """Executes a notebook in a fresh `__main__`; the value it exits with, or None."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    module = types.ModuleType("__main__")

    def run_another(path, arguments):
        child = dict(task, file=on_disk(task, path, task["path"]), path=absolute(path, task["path"]), parameters=arguments)
        before = sys.modules["__main__"]
        try:
            return run_as_main(child, files)
        finally:
            sys.modules["__main__"] = before

    module.__dict__.update(
        spark=spark,
        dbutils=notebook_dbutils.DBUtils(task, tell, NotebookExit, run_another),
        display=notebook_dbutils.display,
        displayHTML=print,
    )
    sys.modules["__main__"] = module
    try:
        run_cells(task, task["path"], task["file"], module.__dict__, files)
    except NotebookExit as leaving:
        return leaving.value
    return None


def run_cells(task, path, file, namespace, files) -> None:
    with open(file, encoding="utf-8-sig") as source:
        text = source.read()
    for number, (line, language, code) in enumerate(cells(text), 1):
        if language == "python":
            name = f"{path} (cell {number})"
            files.add(name)
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            # Padded, so that line numbers are the notebook's own.
            exec(compile("\n" * (line - 1) + code, name, "exec", dont_inherit=True), namespace)
        elif language == "sql":
            namespace["_sqldf"] = namespace["spark"].sql(code)
            namespace["display"](namespace["_sqldf"])
        elif language == "run":
            other = code.strip().strip("\"'")
            run_cells(task, absolute(other, path), on_disk(task, other, path), namespace, files)
        elif language != "md":
            raise NotImplementedError(f"{path} (cell {number}), line {line}: %{language} is not part of the local platform")


def run_file(task, files) -> None:
    """A spark_python_task: the file as `__main__`, with its arguments in sys.argv."""
    module = types.ModuleType("__main__")
    module.__file__ = task["file"]
    sys.modules["__main__"] = module
    sys.argv = [task["file"], *task["arguments"]]
    files.add(task["file"])
    with open(task["file"], encoding="utf-8-sig") as source:
        exec(compile(source.read(), task["file"], "exec", dont_inherit=True), module.__dict__)
    # As at the end of any Python program; but pools (PySpark has one) wait for work for ever.
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread() and thread not in pool._threads_queues:
            thread.join()


def absolute(path: str, beside: str) -> str:
    return os.path.normpath(path if path.startswith("/") else os.path.join(os.path.dirname(beside), path))


def on_disk(task, path: str, beside: str) -> str:
    file = task["root"] + absolute(path, beside).removeprefix("/Workspace")
    if not os.path.isfile(file):
        raise FileNotFoundError(f"Notebook not found: {path}")
    return file


def importlib_by_value(root: str, folder: str) -> None:
    """Makes the notebook's folder importable. Spark's own Python workers do not have that folder, so modules of the
    workspace travel inside the functions that use them (foreachBatch, UDFs)."""

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if path is not None:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name)
            locations = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
            if not spec or not spec.loader or not any(str(place).startswith(root + os.sep) for place in locations):
                return None
            execute = spec.loader.exec_module

            def exec_module(module):
                from pyspark import cloudpickle

                cloudpickle.register_pickle_by_value(module)
                execute(module)

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder)
    # Last: a file beside the notebook must not replace a library of the same name.
    sys.path.append(folder)


if __name__ == "__main__":
    main()
