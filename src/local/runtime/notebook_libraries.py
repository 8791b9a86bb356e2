"""A task's PyPI libraries, as the workspace installs them on a task's compute: once for each list, beside the platform's own."""

import hashlib
import os
import shutil
import subprocess
import sys


def add_libraries(packages, folder) -> None:
    """Makes these requirements importable; raises RuntimeError with pip's own words where they cannot be had."""
    if not packages:
        return
    name = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:16]
    target = os.path.join(folder, name)
    if not os.path.isdir(target):
        install(packages, target)
    sys.path.insert(0, target)


def install(packages, target) -> None:
    staging = f"{target}.{os.getpid()}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", staging, *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(staging, ignore_errors=True)
        raise RuntimeError("Library installation failed: " + done.stderr.strip()[-2000:])
    try:
        os.rename(staging, target)
    except OSError:
        # Another task was faster with the same list.
        shutil.rmtree(staging, ignore_errors=True)
