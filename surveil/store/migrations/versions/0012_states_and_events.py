"""Lists of builds by their state and by what made them are found without the builds that are not in them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0012"
down_revision: Final = "0011"

_ENDED: Final = "state IN ('cancelled', 'errored', 'failed', 'passed', 'skipped')"


def upgrade() -> None:
    op.create_index("builds_ended", "builds", ["state", "id", "repo", "ref"], sqlite_where=sa.text(_ENDED))
    op.create_index("builds_event", "builds", ["event", "id"])
