"""The pages: what a browser shows, made here as HTML that is whole without a script.

What belongs here: the contract of the package. What does not: the routes: `looking` shows, `doing` changes, `signing`
lets people in and out; `drawing` fills templates, `shown` are the words in them, `assets` are the files beside them,
`problem` is the page that says what is wrong.

Each page can be read, used by keyboard and printed without a script. Where there are scripts, a page asks for itself
again when something happens (`static/live.js`), and only what differs is changed in place.
"""
