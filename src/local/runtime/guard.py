"""Runs one command so that nothing of it outlives this process, and this process never outlives its parent.

The parent holds the other end of descriptor 3: one JSON line with the specification, then silence. Its end (the parent
asked, or died, even by SIGKILL) stops the command: SIGTERM to its process group, after the grace SIGKILL to every
descendant. A grace of more than 5 s is only for a parent that said `stop`: nobody waits for what a dead one started. Descriptor 4 gets one line, `{"pid": N}`. The exit code is the command's, or 128 + its signal.
Needs the standard library alone, so that any Python 3.10 can run it before anything is installed.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

CONTROL, STATUS = 3, 4
MOST_FOR_A_DEAD_PARENT_MS = 5_000
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 1, 8, 36, 47
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWUSER = 0x10000000
# What lets an unprivileged uid use files that root owns: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER.
FILE_CAPABILITIES = (0, 1, 2, 3)
UNPRIVILEGED_ID = 1000
# An engine gets a known environment: JAVA_TOOL_OPTIONS, SPARK_HOME or PYTHONPATH of the user's shell must not change it.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


def main() -> int:
    spec = read_specification()
    if spec is None:
        return 0
    wake_read, wake_write = os.pipe()
    for descriptor in (wake_read, wake_write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = launch(spec)
    report(child)
    return attend(child, spec, wake_read)


def read_specification():
    """The first line from the parent; None if it died before it said anything."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(CONTROL, 65536)
        if not part:
            return None
        line += part
    return json.loads(line)


def report(child: int) -> None:
    try:
        os.write(STATUS, json.dumps({"pid": child}).encode() + b"\n")
        os.close(STATUS)
    except OSError:
        pass


def launch(spec) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.set_wakeup_fd(-1)
        for changed in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(changed, signal.SIG_DFL)
        os.close(CONTROL)
        os.close(STATUS)
        if not spec["foreground"]:
            os.setsid()
        if spec["unprivileged"] and os.geteuid() == 0:
            leave_root()
        # Last: a change of credentials clears it.
        if LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(1)
        if spec["cwd"]:
            os.chdir(spec["cwd"])
        dropped = spec.get("drop", [])
        names = (name for name in os.environ if name not in dropped) if spec["inherit"] else PASSED_ON
        base = {name: os.environ[name] for name in names if name in os.environ}
        os.execvpe(spec["command"], [spec["command"], *spec["args"]], {**base, **spec["env"]})
    except BaseException as error:
        os.write(2, f"{spec['command']}: {error}\n".encode())
        os._exit(127)


def leave_root() -> None:
    """Some engines refuse root. A user namespace gives another uid over the same files; where containers forbid
    namespaces, a real uid that keeps only the right to use root's files does the same."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) == 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{UNPRIVILEGED_ID} {uid} 1"),
            ("gid_map", f"{UNPRIVILEGED_ID} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        return
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(*[UNPRIVILEGED_ID] * 3)
    os.setresuid(*[UNPRIVILEGED_ID] * 3)
    mask = sum(1 << capability for capability in FILE_CAPABILITIES)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "cannot run as another user than root here")
    for capability in FILE_CAPABILITIES:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def attend(child: int, spec, wake: int) -> int:
    """Waits for the command's end, or for the parent's, and leaves no descendant."""
    deadline, exit_code, watched = None, None, [CONTROL, wake]
    while exit_code is None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable = select.select(watched, [], [], timeout)[0]
        asked, grace = False, spec["graceMs"]
        if CONTROL in readable:
            asked = True
            if not os.read(CONTROL, 65536).startswith(b"stop"):
                grace = min(grace, MOST_FOR_A_DEAD_PARENT_MS)
            watched.remove(CONTROL)
        if wake in readable and signal.SIGTERM in os.read(wake, 4096):
            asked = True
        exit_code = reap(child)
        if exit_code is not None:
            break
        if asked and deadline is None:
            deadline = time.monotonic() + grace / 1000
            tell(child, signal.SIGTERM, spec["foreground"])
        elif deadline is not None and time.monotonic() >= deadline:
            tell(child, signal.SIGKILL, spec["foreground"])
            deadline = time.monotonic() + 1
    if not spec["foreground"]:
        # A launcher may end before the server it launched: the same grace is for both.
        while deadline is not None and time.monotonic() < deadline and group_lives(child):
            time.sleep(0.02)
            reap(child)
        tell(child, signal.SIGKILL, False)
    sweep(child)
    return exit_code


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap(child: int):
    """Collects every dead child (a subreaper inherits the orphans); the command's exit code once it is among them."""
    exit_code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if pid == 0:
            return exit_code
        if pid == child:
            exit_code = os.waitstatus_to_exitcode(status)
            exit_code = 128 - exit_code if exit_code < 0 else exit_code


def tell(child: int, number: int, foreground: bool) -> None:
    try:
        os.kill(child, number) if foreground else os.killpg(child, number)
    except (ProcessLookupError, PermissionError):
        pass


def sweep(child: int) -> None:
    """Kills what left the process group: as subreaper this process is the ancestor of all of it."""
    for _ in range(200):
        left = descendants()
        if not left:
            return
        for pid in left:
            tell(pid, signal.SIGKILL, True)
        reap(child)
        time.sleep(0.02)


def descendants() -> list:
    if not LINUX:
        return []
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, frontier = [], {os.getpid()}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found


def prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *[ctypes.c_ulong(a) for a in arguments]) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    # Not sys.exit: nothing is left to clean up, and the interpreter's own shutdown costs time.
    os._exit(main())
