"""Google's store of objects on 127.0.0.1 (gcp-storage-emulator's), with one bucket. Ends with its standard input."""

import os
import sys

from gcp_storage_emulator import server

answered = server.Response.close


def close(self):
    """Where the emulator sends a bare status, Google's store says in JSON what it is, and its connector reads that."""
    if self.status.value >= 400 and not self._content:
        known = {404: "notFound", 412: "conditionNotMet"}
        reason = {"domain": "global", "reason": known.get(self.status.value, "invalid"), "message": self.status.phrase}
        self.json({"error": {"code": self.status.value, "message": self.status.phrase, "errors": [reason]}})
    answered(self)


server.Response.close = close
started = server.create_server("127.0.0.1", int(os.environ["GS_PORT"]), in_memory=True, default_bucket=os.environ["GS_BUCKET"])
started.start()
print("ready", flush=True)
sys.stdin.read()
started.stop()
