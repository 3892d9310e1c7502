"""Devices reached by the system's `ssh`: keys, agents, ports and jump hosts are those of its configuration."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from . import answers
from .profile import LatencyError
from .remote import Disconnected, Files, Finished, Remote, copying_limit, execute, size, worker_file
from .transport import last_words

OPTIONS = {
    "BatchMode": "yes",  # never asks: who has no key gets an error, not a prompt that nobody sees
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
}

ADDRESS = re.compile(r"[\w.+@%:\[\]][\w.+@%:/\[\]-]*")


class Ssh(Remote):
    """A device that runs an SSH server.

    Args:
        address: `user@host`, a host of the ssh configuration, or `ssh://user@host:port`.

    Raises:
        LatencyError: the address has characters that none has.
    """

    PLACE = ".cache/archfront"
    HOME = ""
    SHOWN = "~/"

    def __init__(self, address: str) -> None:
        if not ADDRESS.fullmatch(address):  # one that begins with a dash would be an option
            raise LatencyError(f"{address!r} is no address for ssh; like user@host or ssh://user@host:port")
        super().__init__(address)

    def shell(self, line: str, stdin: Sequence[Path | bytes] = (), limit: float = 60.0) -> Finished:
        options = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
        done = execute(["ssh", "-T", "-a", "-x", *options, "--", self.address, f"cd && {line}"], stdin, limit)
        if done.code == 255:  # ssh's own, or the command there was killed by a signal, which may be tried again too
            raise Disconnected(explain(self.address, done.err))
        return done

    def install(self, place: str) -> None:
        where = shlex.quote(place)
        line = f"umask 077 && mkdir -p {where} && cat > {where}/worker.part && mv {where}/worker.part {where}/worker.py"
        done = self.shell(f"sh -c {shlex.quote(line)}", [worker_file()])
        if done.code:
            full = f"the disk of {self.address} is full" if "No space left" in done.err else f"no folder {place}"
            raise LatencyError(f"cannot copy to {self.address}: {full}{last_words(done.err)}")

    def put(self, files: Files, place: str) -> None:
        stream: list[Path | bytes] = []
        for name, file in files.items():
            stream += [json.dumps({"name": name, "size": size(file)}).encode() + b"\n", file]
        self.call(place, "receive", place, stdin=stream, limit=copying_limit(files))


REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key is not the one that known_hosts holds: another machine answers, or it was set up anew. Find out "
        "which; only then `ssh-keygen -R {known}` and connect once by hand"
    ),
    "Host key verification failed": (
        "its host key is not known here. Connect once by hand, `ssh {address}`, and compare the fingerprint with the "
        "device's (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there); or take it over a network that you "
        "trust: `ssh-keyscan {scan} >> ~/.ssh/known_hosts`"
    ),
    "Permission denied": (
        "it accepts none of your keys, and passwords are not asked for: `ssh-copy-id {address}` once, or name the key "
        "in ~/.ssh/config"
    ),
    "Could not resolve hostname": "there is no host of that name: check the spelling, and the network",
    "Connection refused": "nothing listens there: is the SSH server running, and is the port right?",
    "timed out": "it does not answer: is it switched on, and on this network?",
    "No route to host": "there is no way to it: is it switched on, and on this network?",
    "not responding": "it stopped answering",
    "Connection closed": "the connection was closed at the other end",
    "Connection reset": "the connection was cut",
    "Broken pipe": "the connection was cut",
}
"""What a person can do about the messages of ssh; the first that occurs counts."""


def explain(address: str, printed: str) -> str:
    """What went wrong with a connection, and what would help, from what ssh printed."""
    found = re.search(r"key (?:is known )?for (\S+) (?:and|has)", printed)
    known = answers.plain(found[1]) if found else address.removeprefix("ssh://").rpartition("@")[2]
    host, _, port = known.replace("[", "").replace("]", "").rpartition(":") if "]:" in known else (known, "", "")
    scan = f"-p {port} {host}" if port else host
    for sign, reason in REASONS.items():
        if sign.lower() in printed.lower():
            help_ = reason.format(address=address, known=shlex.quote(known), scan=scan)
            return f"cannot reach {address}: {help_}{last_words(printed, 2, 'ssh says')}"
    return f"cannot reach {address}{last_words(printed, 5, 'ssh says')}"
