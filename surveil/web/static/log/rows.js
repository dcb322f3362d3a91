// The rows of a log that are on the page: some thousands of them, however long the log is.
//
// What belongs here: which rows there are, their numbers, marks between them, and folding. What does not: where they
// come from (view), and how one is drawn (ansi).
//
// Rows lie in one list that has no holes but at attempts. What is added at one end is taken away at the other, so that
// the memory of a page is bounded; a row is known by its attempt and its first byte. What comes at the end costs as much
// as comes, however much is there: some tens of times a second, a look at all of it is more than a busy machine has.

import { draw, FRESH, plain } from "./ansi.js";

export const ROWS_MAX = 3000;
const GROUP = /^(?:::|##\[)(group|endgroup)(?:::|\])(.*)$/;

export class Rows {
  constructor(into) {
    this.into = into;
    this.list = [];
    this.marks = new Map();
    this.folded = new Set();
    this.chosen = null;
    this.hit = null;
    this.bottom = { attempt: 0, next: 0 };
    this.ends = new Map(); // How far each attempt on the page was told.
    this.below = 0; // So many marks come after the last row.
    this.atEnd = false;
  }

  get top() {
    return this.list[0] ?? null;
  }

  replace(page) {
    for (const row of this.list) row.node.remove();
    this.list = [];
    this.ends.clear();
    this.bottom = { attempt: page.attempt, next: page.at };
    this.append(page);
  }

  // Rows after those that there are, or again what was open; false where something is missing between.
  append(page) {
    if (page.attempt < this.bottom.attempt) return this.insert(page);
    if (page.attempt === this.bottom.attempt && page.at > this.bottom.next) return false;
    if (page.attempt > this.bottom.attempt) this.bottom = { attempt: page.attempt, next: page.at };
    while (this.list.length && this.last.attempt === page.attempt && this.last.at >= page.at) this.list.pop().node.remove();
    const [from, before] = [this.list.length, this.last];
    this.put(from, page, before && before.attempt === page.attempt ? before.style : FRESH);
    const last = this.last;
    this.bottom = { attempt: page.attempt, next: last && last.attempt === page.attempt ? last.end : page.at };
    this.ends.set(page.attempt, this.place.at);
    if (page.number == null && from > 0) this.numberFrom(from);
    else this.number(page);
    this.shorten();
    if (this.note(page) || from === 0 || this.below || this.folded.size) this.arrange();
    return true;
  }

  // What came late of an attempt before the newest one: its runner was away, and came back with it.
  insert(page) {
    if (page.at !== this.ends.get(page.attempt)) return true;
    let stop = this.list.findIndex((row) => row.attempt > page.attempt);
    if (stop < 0) stop = this.list.length;
    const before = () => (this.list[stop - 1]?.attempt === page.attempt ? this.list[stop - 1] : null);
    while (before()?.at >= page.at) this.list.splice((stop -= 1), 1)[0].node.remove();
    if (!before() && page.at > 0) return true;
    this.put(stop, page, before()?.style ?? FRESH);
    const last = page.rows.at(-1);
    if (last) this.ends.set(page.attempt, last.open ? last.at : last.end);
    this.number(page);
    this.shorten();
    this.note(page);
    this.arrange();
    return true;
  }

  // Makes rows of a page and puts them where the row number `at` is now.
  put(at, page, style) {
    const nodes = document.createDocumentFragment();
    const rows = [];
    for (const told of page.rows.slice(-ROWS_MAX)) {
      rows.push(makeRow(page, told, style));
      style = rows.at(-1).style;
      nodes.append(rows.at(-1).node);
    }
    this.into.insertBefore(nodes, this.list[at]?.node ?? null);
    this.list.splice(at, 0, ...rows);
  }

  // Takes the first rows away, and the marks before them.
  shorten() {
    const gone = this.list.splice(0, Math.max(0, this.list.length - ROWS_MAX)).at(-1);
    while (gone?.node.previousSibling) gone.node.previousSibling.remove();
    gone?.node.remove();
  }

  prepend(page) {
    this.put(0, page, FRESH);
    this.number(page);
    while (this.list.length > ROWS_MAX) {
      this.list.pop().node.remove();
      this.atEnd = false;
      this.bottom = { attempt: this.last.attempt, next: this.last.end };
    }
    this.note(page);
    this.arrange();
  }

  get last() {
    return this.list.at(-1);
  }

  // Where more may come of attempts before the newest one.
  get behind() {
    const waits = (attempt) => attempt < this.bottom.attempt && this.marks.has(`${attempt} missing`);
    return [...this.ends].filter(([attempt]) => waits(attempt)).map(([attempt, at]) => `${attempt}.${at}`);
  }

  // Where to go on reading: an open row is read again, as a whole.
  get place() {
    const { attempt, next } = this.bottom;
    const last = this.last;
    return { attempt, at: last?.open && last.attempt === attempt ? last.at : next };
  }

  // Gives rows their lines' numbers, as far as one of them, or the page, knows one.
  number(page) {
    const first = this.list.findIndex((row) => row.attempt === page.attempt && row.at === page.at);
    if (page.number != null && first >= 0) setNumber(this.list[first], page.number);
    this.numberFrom(1);
    if (this.list[0]?.at === 0 && this.list[0].number == null) {
      setNumber(this.list[0], 1);
      this.number({});
      return;
    }
    for (let at = this.list.length - 2; at >= 0; at -= 1) {
      const [row, after] = [this.list[at], this.list[at + 1]];
      if (row.number == null && after.number != null && row.attempt === after.attempt) {
        setNumber(row, after.number - (after.begins ? 1 : 0));
      }
    }
    this.choose(this.chosen);
  }

  // The same from the row number `at` on, by those before it.
  numberFrom(at) {
    for (; at < this.list.length; at += 1) {
      const [before, row] = [this.list[at - 1], this.list[at]];
      if (row.number != null) continue;
      if (row.attempt !== before.attempt) {
        if (row.at === 0) setNumber(row, 1);
      } else if (before.number != null) setNumber(row, before.number + (row.begins ? 1 : 0));
      if (this.chosen !== null || this.hit !== null) this.mark(row);
    }
  }

  // Marks lines `[from, to]` of the attempt of the page, as `#L12-L14` names them.
  choose(range) {
    this.chosen = range;
    for (const row of this.list) this.mark(row);
  }

  mark(row) {
    const range = this.chosen;
    row.node.classList.toggle("chosen", range !== null && row.number >= range[0] && row.number <= range[1]);
    row.node.classList.toggle("hit", this.hit !== null && row.at === this.hit);
  }

  // What a page tells beside its rows: steps, what surveil remarked, what is damaged or missing; whether that is news.
  note({ attempt, steps, runner, missing, damaged, at, next }) {
    let news = false;
    const put = (name, mark) => {
      const key = `${attempt} ${name}`;
      const known = this.marks.get(key);
      if (known && Object.entries(mark).every(([each, value]) => known[each] === value)) return;
      this.marks.set(key, { attempt, ...mark });
      news = true;
    };
    put("seam", { at: -1, kind: "seam", text: `attempt ${attempt}${runner ? ` on ${runner}` : ""}` });
    (steps ?? []).forEach((step, number) => {
      if (step.log_at != null && step.state !== "skipped" && step.state !== "pending") {
        put(`step ${number}`, { at: step.log_at, kind: "step", text: step.name, state: step.state });
      }
      (step.remarks ?? []).forEach((remark, which) => {
        put(`remark ${number} ${which}`, { at: remark.at, kind: "remark", text: remark.text });
      });
    });
    for (const range of damaged === true ? [{ at, end: next }] : damaged || []) {
      const text = `between bytes ${range.at} and ${range.end} not all is what was written: the log is damaged`;
      put(`damage ${range.at}`, { at: range.at, kind: "damage", text });
    }
    if (missing) put("missing", { at: Infinity, kind: "damage", text: missing });
    else if (this.marks.delete(`${attempt} missing`)) news = true;
    return news;
  }

  // Puts marks where they belong between the rows, and hides what is folded.
  arrange() {
    for (const node of this.into.querySelectorAll(":scope > .mark")) node.remove();
    const marks = [...this.marks.entries()].sort(([, a], [, b]) => a.attempt - b.attempt || a.at - b.at);
    let next = 0;
    let step = false;
    let group = false;
    const first = this.list[0];
    const early = ([, mark]) => first && (mark.attempt < first.attempt || (mark.attempt === first.attempt && mark.at < first.at));
    while (next < marks.length && early(marks[next])) {
      const [key, mark] = marks[next];
      // The step in which the first row stands is folded, even if its head is not here.
      if (mark.kind === "step") step = this.folded.has(key);
      next += 1;
    }
    for (const row of this.list) {
      while (next < marks.length && comesBefore(marks[next][1], row)) {
        const [key, mark] = marks[next];
        if (mark.kind === "step" || mark.kind === "seam") [step, group] = [this.folded.has(key), false];
        this.into.insertBefore(this.markNode(key, mark), row.node);
        next += 1;
      }
      if (row.fold === "group") group = this.folded.has(row.key);
      const hide = step || row.fold === "endgroup" || (group && row.fold !== "group");
      if (row.fold === "endgroup") group = false;
      if (row.node.hidden !== hide) row.node.hidden = hide;
      if (row.fold === "group") row.button.setAttribute("aria-expanded", String(!group));
    }
    this.below = marks.length - next;
    for (const [key, mark] of this.atEnd ? marks.slice(next) : []) this.into.append(this.markNode(key, mark));
  }

  markNode(key, { kind, text, state, attempt, at }) {
    const node = document.createElement("div");
    node.className = `mark ${kind}`;
    node.dataset.at = `${attempt}.${at}`;
    const name = document.createElement("bdi");
    draw(name, text, FRESH);
    if (kind !== "step") {
      node.append(name);
      return node;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.fold = key;
    button.setAttribute("aria-expanded", String(!this.folded.has(key)));
    button.append(name);
    const word = document.createElement("span");
    word.className = `state ${state}`;
    word.textContent = state;
    node.append(button, " ", word);
    return node;
  }

  fold(key) {
    if (!this.folded.delete(key)) this.folded.add(key);
    this.arrange();
  }
}

function comesBefore(mark, row) {
  return mark.attempt < row.attempt || (mark.attempt === row.attempt && mark.at <= row.at);
}

function makeRow(page, told, style) {
  const node = document.createElement("div");
  node.className = told.begins ? "row" : "row goes-on";
  node.dataset.at = `${page.attempt}.${told.at}`;
  const number = document.createElement("a");
  number.className = "no";
  const text = document.createElement("span");
  text.className = "text";
  node.append(number, text);
  const row = { attempt: page.attempt, at: told.at, end: told.end, begins: told.begins, open: told.open, node, style };
  const fold = told.begins ? GROUP.exec(plain(told.text)) : null;
  if (fold === null) {
    row.style = draw(text, told.text, style);
    return row;
  }
  row.fold = fold[1];
  node.hidden = row.fold === "endgroup";
  row.key = `${page.attempt} group ${told.at}`;
  row.button = document.createElement("button");
  row.button.type = "button";
  row.button.dataset.fold = row.key;
  row.button.setAttribute("aria-expanded", "true");
  draw(row.button, fold[2] || "group", FRESH);
  text.append(row.button);
  return row;
}

function setNumber(row, number) {
  row.number = number;
  if (!row.begins) return;
  const link = row.node.firstChild;
  link.href = `#L${number}`;
  link.dataset.no = number;
  link.setAttribute("aria-label", `Line ${number}`);
}
