"""Lists of builds by their author, and by a state or an event within one repository, are found without the builds that
are not in them.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0013"
down_revision: Final = "0012"

_NOT_PASSED: Final = "state IN ('cancelled', 'errored', 'failed', 'skipped')"


def upgrade() -> None:
    op.drop_index("builds_repo", "builds")
    op.create_index("builds_repo", "builds", ["repo", "id", "event"])
    op.drop_index("builds_ended", "builds")
    op.create_index(
        "builds_not_passed", "builds", ["state", "id", "repo", "ref", "author"], sqlite_where=sa.text(_NOT_PASSED)
    )
    op.create_index(
        "builds_repo_not_passed", "builds", ["repo", "state", "id", "ref"], sqlite_where=sa.text(_NOT_PASSED)
    )
    op.create_index("builds_author", "builds", ["author", "id", "repo", "event"])
