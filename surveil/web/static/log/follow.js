// Follows a log as it comes, from an exact place on, over connections that break.
//
// What belongs here: the connection. What does not: what is done with the rows.

const AGAIN_MS = 1000;

export class Follow {
  // `place()` says from where to go on, and `behind` which attempts before that are not whole; `on` has `rows`, `end` and `state`, which takes a sentence.
  constructor(address, only, place, on) {
    Object.assign(this, { address, only, place, on, source: null, again: 0 });
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
    source.addEventListener("rows", (event) => this.on.rows(JSON.parse(event.data)));
    source.addEventListener("end", () => {
      this.stop();
      this.on.end();
    });
    source.addEventListener("problem", (event) => this.later(JSON.parse(event.data).detail));
    // The browser would ask again by itself, but from what it saw last: rows that were dropped here it does not know.
    source.addEventListener("error", () => this.later(`not connected; goes on at byte ${this.place().at} once it is`));
  }

  later(sentence) {
    this.stop();
    this.on.state(sentence);
    this.again = setTimeout(() => this.start(), AGAIN_MS);
  }

  stop() {
    clearTimeout(this.again);
    this.again = 0;
    this.source?.close();
    this.source = null;
  }
}
