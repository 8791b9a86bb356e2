"""Holds an exclusive lock on a file for as long as the parent holds this process's stdin.

The kernel frees the lock when this process ends, in whatever way: a dead owner never keeps it. Prints `held N` (N: the pid
in the file) when another owner has it, then waits if argv says so, and `locked` once it has it,
or `failed WHY`.
"""

import fcntl
import os
import sys

path, owner, wait = sys.argv[1], sys.argv[2], sys.argv[3] == "wait"
try:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
except OSError as error:
    print("failed", error, flush=True)
    os._exit(1)
try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("held", os.pread(descriptor, 32, 0).decode() or "?", flush=True)
    if not wait:
        os._exit(1)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
os.ftruncate(descriptor, 0)
os.pwrite(descriptor, owner.encode(), 0)
print("locked", flush=True)
while os.read(0, 1024):
    pass
