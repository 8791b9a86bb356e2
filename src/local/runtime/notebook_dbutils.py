"""`dbutils` and `display` for a notebook on the local platform: the part of Databricks' that jobs use."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace


class DBUtils:
    def __init__(self, task, tell, notebook_exit, run_another):
        self.widgets = Widgets(task["parameters"])
        self.secrets = Secrets()
        self.fs = Files(task["volumes"])
        self.jobs = SimpleNamespace(taskValues=TaskValues(task["values"], tell))
        self.notebook = Notebook(notebook_exit, run_another)


class Widgets:
    """A run's parameters come first, a widget's default after them."""

    def __init__(self, parameters):
        self._parameters = parameters
        self._defaults = {}

    def text(self, name, defaultValue="", label=None):
        self._defaults[name] = str(defaultValue)

    def dropdown(self, name, defaultValue, choices=(), label=None):
        self._defaults[name] = str(defaultValue)

    combobox = multiselect = dropdown

    def get(self, name):
        if name in self._parameters:
            return self._parameters[name]
        if name in self._defaults:
            return self._defaults[name]
        raise ValueError(f"InputWidgetNotDefined: No input widget named {name} is defined")

    def getArgument(self, name, default=None):
        return default if default is not None and name not in {*self._parameters, *self._defaults} else self.get(name)

    def getAll(self):
        return {**self._defaults, **self._parameters}

    def remove(self, name):
        self._defaults.pop(name, None)

    def removeAll(self):
        self._defaults.clear()


class Secrets:
    def get(self, scope, key):
        return self.getBytes(scope, key).decode()

    def getBytes(self, scope, key):
        return base64.b64decode(call("/api/2.0/secrets/get", scope=scope, key=key)["value"])

    def list(self, scope):
        return [SimpleNamespace(key=secret["key"]) for secret in call("/api/2.0/secrets/list", scope=scope)["secrets"]]

    def listScopes(self):
        return [SimpleNamespace(name=scope["name"]) for scope in call("/api/2.0/secrets/scopes/list")["scopes"]]


class TaskValues:
    def __init__(self, values, tell):
        self._values = values
        self._tell = tell

    def set(self, key, value):
        encoded = json.dumps(value)
        if len(encoded) > 48 * 1024:
            raise ValueError(f"task value {key} is larger than 48 KiB")
        self._tell(event="value", key=key, value=value)

    def get(self, taskKey, key, default=None, debugValue=None):
        found = self._values.get(taskKey, {})
        if key in found:
            return found[key]
        if default is None:
            raise ValueError(f"No task value with key {key} was set by task {taskKey}, and no default is given")
        return default


class Notebook:
    def __init__(self, notebook_exit, run_another):
        self._exit = notebook_exit
        self._run_another = run_another

    def exit(self, value=""):
        raise self._exit(str(value))

    def run(self, path, timeout_seconds=0, arguments=None):
        return self._run_another(path, {name: str(value) for name, value in (arguments or {}).items()})


class Files:
    """Paths under /Volumes are the platform's folder for them; `file:/` and those without a scheme are this machine's own. Of other file
    systems (`hdfs://`) there is `rm` alone, by Hadoop's shell with Spark's jars: Spark Connect has no way to them, and it takes seconds.
    """

    def __init__(self, volumes):
        self._volumes = volumes

    def _local(self, path):
        plain = path.removeprefix("dbfs:").removeprefix("file:")
        if _elsewhere(plain):
            raise NotImplementedError(f"on the local platform dbutils.fs can only remove what is on another file system: {path}")
        return self._volumes + plain.removeprefix("/Volumes") if plain.startswith("/Volumes/") else plain

    def ls(self, path):
        found = []
        for entry in sorted(os.scandir(self._local(path)), key=lambda e: e.name):
            size, slash = (0, "/") if entry.is_dir() else (entry.stat().st_size, "")
            at = f"{path.rstrip('/')}/{entry.name}{slash}"
            found.append(SimpleNamespace(path=at, name=entry.name + slash, size=size, modificationTime=int(entry.stat().st_mtime * 1000)))
        return found

    def mkdirs(self, path):
        os.makedirs(self._local(path), exist_ok=True)
        return True

    def rm(self, path, recurse=False):
        if _elsewhere(path):
            return _remove_elsewhere(path, recurse)
        local = self._local(path)
        if not os.path.exists(local):
            return False
        if os.path.isdir(local):
            shutil.rmtree(local) if recurse else os.rmdir(local)
        else:
            os.remove(local)
        return True

    def put(self, path, contents, overwrite=False):
        local = self._local(path)
        os.makedirs(os.path.dirname(local), exist_ok=True)
        with open(local, "w" if overwrite else "x", encoding="utf-8") as file:
            file.write(contents)
        return True

    def head(self, path, maxBytes=65536):
        with open(self._local(path), "rb") as file:
            return file.read(maxBytes).decode("utf-8", "replace")


def _elsewhere(path):
    return re.match(r"(?!file:|dbfs:)[a-z][a-z0-9+.-]*://", path) is not None


def _remove_elsewhere(path, recurse):
    import pyspark

    with tempfile.TemporaryDirectory() as settings:
        # Without these files, empty or not, the shell refuses to start.
        for name in ("core-site.xml", "hdfs-site.xml"):
            with open(os.path.join(settings, name), "w", encoding="utf-8") as file:
                file.write("<configuration/>")
        # Where the platform was given settings and jars of Hadoop's, those come first and last, as for Spark.
        given = os.environ.get("STREAMGAUGE_HADOOP_DIR")
        spark_jars = os.path.join(os.path.dirname(pyspark.__file__), "jars", "*")
        classes = os.pathsep.join([settings, spark_jars] if given is None else [given, settings, spark_jars, os.path.join(given, "*")])
        trust = os.environ.get("STREAMGAUGE_JAVA_TRUST", "").splitlines()
        shell = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", *trust, "-cp", classes, "org.apache.hadoop.fs.FsShell"]
        command = [*shell, "-rm", "-skipTrash", *(["-r"] if recurse else []), path]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return True
    if "No such file or directory" in done.stderr:
        return False
    raise OSError(f"{path} was not removed: {done.stderr.strip()[-500:]}")


def call(route, **query):
    """A GET of the workspace's REST API with the run's own token."""
    url = f"{os.environ['DATABRICKS_HOST']}{route}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['DATABRICKS_TOKEN']}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            message = json.load(error).get("message", str(error))
    raise ValueError(message)


def display(value=None, *_, **__):
    """Prints a DataFrame's first rows, or whatever it is."""
    if getattr(value, "isStreaming", False):
        print("[streaming DataFrame]", value)
    elif hasattr(value, "show"):
        value.show(n=100, truncate=False)
    else:
        print(value)
