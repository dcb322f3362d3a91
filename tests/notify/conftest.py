"""What these tests share: a forge, and the file with its token."""

from tests.forge.conftest import forge, token

__all__ = ["forge", "token"]
