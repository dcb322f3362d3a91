"""`story`: how a job came to its end, from its commit to its verdict, in plain words with times.

What belongs here: the command. What does not: the sentences, which the dispatcher makes (`surveil.answer.story_words`),
and how they stand on a screen (`surveil.screen.telling`).
"""

from __future__ import annotations

import click

from surveil.cli.connecting import connected
from surveil.cli.options import JOB, client_flags, example, json_flag
from surveil.screen.printing import print_json_line, print_line
from surveil.screen.telling import story_lines


@click.command(epilog=example("surveil story 12/test", "surveil story 12", "surveil story 12/test --json | jq .text"))
@click.argument("job", metavar="BUILD[/JOB]", type=JOB)
@client_flags
@json_flag
def story(job: tuple[int, str], *, as_json: bool, **where: str | None) -> None:
    """Tell the whole history of a job or a build in plain words.

    Who saw the commit, how long it waited and for what, which runner had it, what its steps did, what was lost and
    where it went on, what came too late, and its verdict; each line with its time and how long after the first it was.
    With --json: a line of JSON for each.
    """
    with connected(where) as dispatcher:
        lines = dispatcher.story(*job)
    if as_json:
        for line in lines:
            print_json_line(line)
        return
    for text, state in story_lines(lines, several=not job[1]):
        print_line(text, state)
