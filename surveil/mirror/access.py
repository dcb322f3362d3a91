"""How git proves to a server who asks: ssh's own keys and known hosts, or a line of a file of credentials.

What belongs here: what git is told in its environment for one address, and who else may read or change the files. What
does not: everything else that git is told (`command`), and what a refusal means (`remedy`).

For ssh everything is the user's: `~/.ssh` with its keys, known hosts and configuration, and an agent; or one
configuration file that stands for all of these. For https it is a file of lines like git's own
`~/.git-credentials`, read anew for each call, so that a new token needs no restart. A secret is in the environment of
git, which only this user and root may read, and never in arguments, which are for everybody's `ps`.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from surveil.errors import UsageError
from surveil.frozen import dataclass
from surveil.mirror.address import Address, Kind, parse
from surveil.mirror.trouble import MirrorError, Trouble

FILE_BYTES_MAX: Final = 256 * 1024
CONNECT_TIMEOUT_S: Final = 10
_LINE = re.compile(r"(https?)://([^:@/\s]+):([^:@/\s]*)@([^@/\s]+)(/\S*)?")
_KNOWN_HOSTS = re.compile(r"^\s*UserKnownHostsFile\s+(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_CHANGING: Final = stat.S_IWGRP | stat.S_IWOTH
_READING: Final = stat.S_IRWXG | stat.S_IRWXO
_HELPER: Final = '!f() { printf "username=%s\\npassword=%s\\n" "$SURVEIL_GIT_USER" "$SURVEIL_GIT_PASSWORD"; }; f'
_SSH: Final = (
    "ssh",
    # Nobody is asked anything: an unknown or changed host key is a failure, and so is a key with a passphrase.
    *("-oBatchMode=yes", "-oStrictHostKeyChecking=yes"),
    *(f"-oConnectTimeout={CONNECT_TIMEOUT_S}", "-oServerAliveInterval=10", "-oServerAliveCountMax=3"),
    # Nothing is left running, written or handed on, whatever the user's own configuration says for other uses.
    *("-oControlMaster=no", "-oUpdateHostKeys=no", "-oPermitLocalCommand=no"),
    *("-oForwardAgent=no", "-oForwardX11=no", "-oClearAllForwardings=yes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user and a password for all repositories at `place` and below it."""

    place: str
    user: str
    password: str = field(repr=False)

    def opens(self, address: Address) -> bool:
        """Whether it is meant for this repository."""
        key, place = address.key.removesuffix(".git"), self.place.removesuffix(".git")
        return (key == place or key.startswith(place + "/")) and address.user in {"", self.user}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The files that a person named: one for ssh, in its own form, and one with credentials for https."""

    ssh_config: Path | None = None
    credentials: Path | None = None

    def check(self) -> None:
        """See that the files can be used. Raises MirrorError with what is wrong."""
        if self.ssh_config is not None:
            _read_private(self.ssh_config, others=_CHANGING)
        self._logins()

    def environment(self, address: Address) -> dict[str, str]:
        """What git is told so that it may read this repository. Raises MirrorError when a file cannot be used."""
        if address.kind is Kind.SSH:
            return self._for_ssh()
        login = self.login(address)
        if login is None:
            return {}
        return {
            # For this server alone, wherever it sends us on to.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"credential.{address.server}.helper",
            "GIT_CONFIG_VALUE_0": _HELPER,
            "SURVEIL_GIT_USER": login.user,
            "SURVEIL_GIT_PASSWORD": login.password,
        }

    def login(self, address: Address) -> Login | None:
        """The credentials for an https address: those for the nearest place around it. Raises MirrorError."""
        if address.kind not in {Kind.HTTPS, Kind.HTTP}:
            return None
        fitting = [login for login in self._logins() if login.opens(address)]
        return max(fitting, key=lambda login: len(login.place), default=None)

    def known_hosts(self) -> str:
        """Where ssh looks for the keys of hosts, as a shell takes it."""
        text = "" if self.ssh_config is None else _read_private(self.ssh_config, others=_CHANGING)
        named = set(_KNOWN_HOSTS.findall(text))
        return shlex.quote(named.pop()) if len(named) == 1 else "~/.ssh/known_hosts"

    def _for_ssh(self) -> dict[str, str]:
        command = list(_SSH)
        if self.ssh_config is not None:
            _read_private(self.ssh_config, others=_CHANGING)
            command.append(f"-F{self.ssh_config}")
        environment = {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}
        if "SSH_AUTH_SOCK" in os.environ:
            environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
        return environment

    def _logins(self) -> list[Login]:
        if self.credentials is None:
            return []
        text = _read_private(self.credentials, others=_READING)
        lines = enumerate(text.splitlines(), start=1)
        return [self._login(line, at) for at, line in lines if line.strip() and not line.startswith("#")]

    def _login(self, line: str, at: int) -> Login:
        # What stands there is not shown, for it may be a secret at the wrong place.
        wrong = (
            f"{self.credentials}, line {at}, is not like `https://USER:TOKEN@HOST` or `https://USER:TOKEN@HOST/PATH`."
        )
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise MirrorError(wrong, Trouble.REFUSED)
        scheme, user, password, host, path = match.groups("")
        user, password = unquote(user), unquote(password)
        try:
            place = parse(f"{scheme}://{host}{path.rstrip('/')}/*", "/").key.removesuffix("/*")
        except UsageError as problem:
            raise MirrorError(wrong, Trouble.REFUSED) from problem
        if not (user + password).isprintable():
            raise MirrorError(wrong, Trouble.REFUSED)
        return Login(place=place, user=user, password=password)


NO_ACCESS: Final = Access()
"""Nothing but what this user's ssh has by itself."""


def _read_private(path: Path, others: int) -> str:
    """The text of a file that is this user's or root's, and with which others may do nothing of `others`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as problem:
        sentence = f"{path} cannot be read: {problem.strerror}; look at it with `ls -l {shlex.quote(str(path))}`."
        raise MirrorError(sentence, Trouble.REFUSED) from problem
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MirrorError(f"{path} is not a file; name one.", Trouble.REFUSED)
        if status.st_uid not in {os.geteuid(), 0}:
            sentence = f"{path} belongs to another user; type `sudo chown {os.geteuid()} {shlex.quote(str(path))}`."
            raise MirrorError(sentence, Trouble.REFUSED)
        if status.st_mode & others:
            sentence = f"{path} is open to other users; type `chmod 600 {shlex.quote(str(path))}`."
            raise MirrorError(sentence, Trouble.REFUSED)
        if status.st_size > FILE_BYTES_MAX:
            raise MirrorError(f"{path} has more than {FILE_BYTES_MAX} bytes; name another file.", Trouble.TOO_LARGE)
        return os.read(descriptor, FILE_BYTES_MAX).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
