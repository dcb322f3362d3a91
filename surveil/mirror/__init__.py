"""Repositories: their addresses, their refs, and bare mirrors of them. The only package that runs git.

What belongs here: everything that knows git's commands, its files on disk and its ways to fail. What does
not: which commits are worth a build (`core.observe`), what a step does in its work tree (`execute`).

* `address` says what a repository may be called, and its one canonical name.
* `typed` finds the repository that a person means; `place` tells that two addresses lead to the same one.
* `command` runs git: fixed arguments, scrubbed environment, bounded output, bounded time, no process left
  behind.
* `access` says how git proves to a server who asks.
* `trouble` says why git could not do what was asked, for people and for the program; `remedy` says it of remotes.
* `local` reads the refs of a repository on this machine without any process; `refs` asks any other one.
* `watch` notices that a local repository changed; `watched` looks at any repository with as little work as it takes.
* `mirror` keeps bare mirrors in a `folder` each; `checkout` makes a private work tree from one, and `spare` does so
  ahead of its time; `objects` reads commits; `sighting` finds a commit's pipeline. `bundle` carries a commit to a
  mirror that cannot fetch it.

Every call blocks; the hands give them to threads. No git ever runs inside a repository that somebody else may
write to, but for one listing of refs in a storage format that `local` does not read.
"""
