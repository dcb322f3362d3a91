// Follows a log as it comes, from an exact place on, over connections that break.
//
// What belongs here: the connection, and how often what came over it is given on. What does not: what is done with the
// rows.

const AGAIN_MS = 1000;
const SHARE = 5; // Showing takes a fifth of the time at most: whatever comes faster than that is shown together.
const CAME_MAX = 100; // A page that nobody sees is given its turns rarely.

export class Follow {
  // `place()` says from where to go on, and `behind` which attempts before that are not whole; `on` has `rows`, which takes several pages of them, `end` and `state`, which takes a sentence.
  constructor(address, only, place, on) {
    Object.assign(this, { address, only, place, on, source: null, again: 0, came: [], due: 0, free: 0 });
  }

  get running() {
    return this.source !== null || this.again !== 0;
  }

  start() {
    this.stop();
    const { attempt, at, behind } = this.place();
    const query = new URLSearchParams(attempt ? { attempt, at } : {});
    for (const each of behind) query.append("behind", each);
    if (this.only) query.set("only", "true");
    const source = (this.source = new EventSource(`${this.address}/log/rows/follow?${query}`));
    source.addEventListener("open", () => this.on.state(""));
    source.addEventListener("rows", (event) => {
      this.came.push(JSON.parse(event.data));
      if (this.came.length >= CAME_MAX) this.give();
      else if (!this.due) this.due = setTimeout(() => this.give(), this.free - performance.now());
    });
    source.addEventListener("end", () => {
      this.give();
      if (!this.source) return; // Whoever was given it goes on elsewhere.
      this.stop();
      this.on.end();
    });
    source.addEventListener("problem", (event) => this.later(JSON.parse(event.data).detail));
    // The browser would ask again by itself, but from what it saw last: rows that were dropped here it does not know.
    source.addEventListener("error", () => this.later(`not connected; goes on at byte ${this.place().at} once it is`));
  }

  give() {
    clearTimeout(this.due);
    this.due = 0;
    const came = this.came.splice(0);
    if (!came.length) return;
    const from = performance.now();
    this.on.rows(came);
    const now = performance.now();
    this.free = now + (now - from) * (SHARE - 1);
  }

  later(sentence) {
    this.give();
    if (!this.source) return;
    this.stop();
    this.on.state(sentence);
    this.again = setTimeout(() => this.start(), AGAIN_MS);
  }

  // What was not given on yet comes again: from the place that is shown then.
  stop() {
    clearTimeout(this.again);
    clearTimeout(this.due);
    this.again = this.due = 0;
    this.came = [];
    this.source?.close();
    this.source = null;
  }
}
