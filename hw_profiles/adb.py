"""Android devices reached by `adb`, Google's debug bridge; Python and ONNX Runtime have to be installed on them."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import worker
from .profile import LatencyError
from .remote import Disconnected, Files, Finished, Remote, copying_limit, execute, worker_file
from .transport import last_words

SERIAL = re.compile(r"[\w.:\[\]][\w.:\[\]-]*")


class Adb(Remote):
    """A device that `adb devices` lists.

    Args:
        address: its serial number, or `host:port` where adb is connected over the network.

    Raises:
        LatencyError: the address has characters that none has.
    """

    HOME = "/data/local/tmp/"
    PLACE = f"{HOME}archfront"

    def __init__(self, address: str) -> None:
        if not SERIAL.fullmatch(address):
            raise LatencyError(f"{address!r} is no serial number; `adb devices` lists those that are plugged in")
        super().__init__(address)

    def shell(self, line: str, stdin: Sequence[Path | bytes] = (), limit: float = 60.0) -> Finished:
        done = self._adb(["shell", line], stdin, limit)
        if worker.MARK.encode() not in done.out:
            self._require()  # adb ends like the command it ran, so only asking tells whether the device is still there
        return done

    def install(self, place: str) -> None:
        made = self.shell(f"mkdir -p {shlex.quote(place)}")
        if made.code:
            raise LatencyError(f"cannot make the folder {place} on {self.address}{last_words(made.err)}")
        self.put({"worker.py": worker_file()}, place)

    def put(self, files: Files, place: str) -> None:
        with tempfile.TemporaryDirectory(prefix="archfront-adb-") as folder:
            for name, file in files.items():
                if isinstance(file, bytes):
                    (Path(folder) / name).write_bytes(file)
                else:
                    shutil.copyfile(file, Path(folder) / name)
            staged = [str(Path(folder) / name) for name in files]
            done = self._adb(["push", *staged, f"{place}/"], (), copying_limit(files))
        if done.code:
            self._require()
            full = "its disk is full" if re.search("No space left|Disk quota|File too large", done.err) else "refused"
            raise LatencyError(f"cannot copy to {self.address}: {full}{last_words(done.err, 3, 'adb says')}")

    def _require(self) -> None:
        state = self._adb(["get-state"], (), 15.0)
        if state.code or state.out.strip() != b"device":
            raise Disconnected(explain(self.address, state.err or state.out.decode(errors="replace")))

    def _adb(self, words: Sequence[str], stdin: Sequence[Path | bytes], limit: float) -> Finished:
        return execute(["adb", "-s", self.address, *words], stdin, limit)


REASONS = {
    "unauthorized": "it does not trust this machine yet: unlock it and confirm the debugging prompt",
    "no permissions": "this user may not talk to it: Debian's package android-sdk-platform-tools-common brings the rules",
    "offline": "it is offline: unplug it and plug it in again",
    "not found": "it is not plugged in, or USB debugging is off: `adb devices` lists what there is",
}
"""What a person can do about the messages of adb; the first that occurs counts."""


def explain(serial: str, printed: str) -> str:
    """What keeps adb from a device, and what would help, from what adb printed."""
    reason = next((f": {help_}" for sign, help_ in REASONS.items() if sign in printed), "")
    return f"cannot reach {serial}{reason}{last_words(printed, 2, 'adb says')}"
