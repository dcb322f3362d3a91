"""Images of servers, for services: one that behaves as databases' images do, and a real one.

What belongs here: what is in them. What does not: images in which steps run (`images`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import docker

from tests.engines.images import found, import_image, libraries_of, links_of

DATABASE: Final = "database:1"
"""Begins as root, gives its data to a user, becomes that user, and listens on the port that it exposes."""
REDIS: Final = "redis:1"
"""A real server with its client, and busybox around them."""
PACKAGES: Final = "apt install redis-server"
PLAIN: Final = "plain:1"
"""Busybox alone: it does as it is told."""
_ENTRY: Final = """\
#!/bin/sh
set -eu
if [ -z "${DB_PASSWORD:-}" ]; then
	echo "error: no DB_PASSWORD is set" >&2
	exit 3
fi
mkdir -p /var/lib/db
echo "the page of $*" > /var/lib/db/page
chown -R db:db /var/lib/db
chmod 700 /var/lib/db
echo "beginning as $(id -un) with $DB_PASSWORD"
sleep "${DB_SLEEP:-0}"
exec su -s /bin/sh db -c 'echo "serving as $(id -un)"; exec httpd -f -p 5432 -h /var/lib/db'
"""


def missing() -> str:
    """What to type for these images; empty if nothing is missing."""
    return "" if shutil.which("redis-server") else f"type `{PACKAGES}`"


def make_servers(api: docker.APIClient, scratch: Path) -> None:
    """Give an engine all of them, by way of the folder `scratch`."""
    busybox = found("busybox")
    import_image(api, PLAIN, {"bin/busybox": busybox}, links_of(busybox), [])
    entry, users, groups = scratch / "entry", scratch / "passwd", scratch / "group"
    entry.write_text(_ENTRY)
    entry.chmod(0o755)
    users.write_text("root:x:0:0::/:/bin/sh\ndb:x:70:70::/:/bin/sh\n")
    groups.write_text("root:x:0:\ndb:x:70:\n")
    files = {"bin/busybox": busybox, "bin/entry": entry, "etc/passwd": users, "etc/group": groups}
    says = ['ENTRYPOINT ["/bin/entry"]', 'CMD ["its own words"]', "EXPOSE 5432", "VOLUME /var/lib/db"]
    import_image(api, DATABASE, files, links_of(busybox), says)
    programs = {f"bin/{name}": found(name) for name in ("redis-server", "redis-cli")}
    libraries = {str(path).lstrip("/"): path for path in libraries_of(*programs.values())}
    says = ['CMD ["redis-server", "--save", "", "--dir", "/tmp"]', "USER 999:999"]
    import_image(api, REDIS, {"bin/busybox": busybox} | programs | libraries, links_of(busybox), says)
