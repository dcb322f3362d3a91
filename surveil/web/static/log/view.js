// The log view: opens at the tail, goes anywhere, follows until the reader scrolls away.
//
// What belongs here: what the reader does, and which rows are fetched for it. What does not: drawing (ansi), the list
// of rows (rows), the connection that follows (follow), searching (search).

import { Follow } from "./follow.js";
import { Rows, ROWS_MAX } from "./rows.js";
import { Search } from "./search.js";

const PAGE_ROWS = 500;
const NEAR_PIXELS = 1200; // So far before its end more of the log is fetched.
const AT_END_PIXELS = 8;
const PLACES = 1000;

class View {
  constructor(root) {
    this.root = root;
    this.address = root.dataset.address;
    this.attempt = Number(root.dataset.attempt);
    this.scroller = root.querySelector(".log-rows");
    this.rows = new Rows(this.scroller);
    this.state = root.querySelector(".log-state");
    this.place = root.querySelector("[name=place]");
    this.button = root.querySelector("[data-do=follow]");
    this.busy = null;
    this.end = 0;
    this.following = true;
    this.over = false;
    this.follow = new Follow(this.address, root.dataset.newest !== "true", () => ({ ...this.rows.place, behind: this.rows.behind }), {
      rows: (pages) => this.come(pages),
      end: () => this.finished(),
      state: (sentence) => this.say(sentence),
    });
    this.search = new Search(root.querySelector(".log-search"), this);
    root.querySelector(".log-tools").hidden = false;
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.scroller.addEventListener("click", (event) => this.clicked(event));
    this.root.querySelector(".log-tools").addEventListener("click", (event) => {
      this.order(event.target.closest("[data-do]")?.dataset.do);
    });
    this.place.addEventListener("change", () => this.goToByte(Math.floor((this.end * this.place.value) / PLACES)));
    addEventListener("hashchange", () => this.goToHash());
    // Before the keys that all pages have.
    document.addEventListener("keydown", (event) => this.typed(event), true);
  }

  // ---- fetching ----

  async ask(what, about) {
    const query = new URLSearchParams(Object.entries(about).filter(([, value]) => value !== null && value !== undefined));
    const attempt = about.attempt || this.rows.bottom.attempt || this.attempt;
    query.delete("attempt");
    const answer = await fetch(`${this.address}/attempts/${attempt}/log/${what}?${query}`, { headers: { accept: "application/json" } });
    const document_ = await answer.json();
    if (!answer.ok) throw new Error(document_.detail ?? answer.statusText);
    return document_;
  }

  // One thing at a time; what fails is said, and can be asked for again.
  async one(work) {
    while (this.busy) await this.busy;
    this.busy = work().catch((error) => this.say(error.message)).finally(() => (this.busy = null));
    await this.busy;
  }

  async open() {
    this.listen();
    if (!this.attempt) {
      this.rows.atEnd = true;
      this.follow.start();
      return;
    }
    if (/^#L\d/.test(location.hash)) await this.goToHash();
    else {
      // The last rows are on the page already, without their colours.
      this.scrollToEnd();
      await this.goToEnd(painted());
    }
  }

  async goToEnd(when = null) {
    await this.one(async () => {
      await when;
      this.show(await this.ask("rows", { attempt: this.newest(), limit: PAGE_ROWS }));
      this.following = true;
      this.scrollToEnd();
      this.attach();
    });
    this.fill();
  }

  newest() {
    return this.root.dataset.newest === "true" ? Math.max(this.attempt, this.rows.bottom.attempt) : this.attempt;
  }

  async goToLine(line, range) {
    await this.goTo({ line }, (row) => row.number === line, range);
  }

  async goToByte(at) {
    await this.goTo({ at }, (row) => row.end > at, this.rows.chosen);
  }

  async goTo(about, wanted, range) {
    await this.one(async () => {
      this.following = false;
      const attempt = this.rows.bottom.attempt || this.attempt;
      const page = await this.ask("rows", { ...about, attempt, limit: PAGE_ROWS });
      this.follow.stop();
      this.show(page);
      this.rows.prepend(await this.ask("rows", { attempt, before: page.at, limit: 100 }));
      this.rows.choose(range);
      const found = this.rows.list.find((row) => row.attempt === page.attempt && row.at >= page.at && wanted(row));
      found?.node.scrollIntoView({ block: "center" });
      this.attach();
      this.told();
    });
  }

  goToHash() {
    const found = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!found) return this.rows.choose(null);
    const [from, to] = [Number(found[1]), Number(found[2] ?? found[1])];
    return this.goToLine(from, [Math.min(from, to), Math.max(from, to)]);
  }

  show(page) {
    if (!this.rows.list.length) this.scroller.replaceChildren();
    this.rows.atEnd = page.next >= page.end;
    this.rows.replace(page);
    this.seen(page);
  }

  seen(page) {
    this.end = Math.max(page.attempt === this.rows.bottom.attempt ? page.end ?? page.next : 0, this.rows.bottom.next);
    if (this.rows.top && this.rows.top.number == null) this.count();
  }

  // Counting a long log takes a moment the first time: its rows are there before their numbers.
  count() {
    const { attempt, at } = this.rows.top;
    if (this.counting === `${attempt}.${at}`) return;
    this.counting = `${attempt}.${at}`;
    this.ask("rows", { attempt, at, limit: 1, numbered: true }).then(
      (page) => this.rows.number(page),
      () => {},
    ).finally(() => (this.counting = null));
  }

  attach() {
    if (this.rows.atEnd && !this.over && !this.follow.running) this.follow.start();
    this.told();
  }

  async older() {
    const top = this.rows.top;
    if (this.busy || !top || top.at === 0) return;
    await this.one(async () => {
      const page = await this.ask("rows", { attempt: top.attempt, before: top.at, limit: PAGE_ROWS });
      this.keepingPlace(top.node, () => this.rows.prepend(page));
      this.seen(page);
      if (!this.rows.atEnd) this.follow.stop();
    });
    this.fill();
  }

  async newer() {
    if (this.busy || this.rows.atEnd) return;
    await this.one(async () => {
      const { attempt, at } = this.rows.place;
      const page = await this.ask("rows", { attempt, at, limit: PAGE_ROWS });
      this.rows.atEnd = page.next >= page.end;
      this.keepingPlace(this.rows.last?.node, () => this.rows.append(page));
      this.seen(page);
      this.attach();
    });
    this.fill();
  }

  // What is folded away leaves room for more.
  fill() {
    const { scrollHeight, clientHeight } = this.scroller;
    if (scrollHeight <= clientHeight + NEAR_PIXELS) this.rows.atEnd ? this.older() : this.newer();
  }

  // Rows that come or go above leave what is read where it is.
  keepingPlace(node, change) {
    const before = node?.offsetTop ?? 0;
    const scrolled = this.scroller.scrollTop;
    change();
    if (node?.isConnected) this.scroller.scrollTop = scrolled + node.offsetTop - before;
  }

  // ---- following ----

  come(pages) {
    if (!this.rows.list.length) this.scroller.replaceChildren();
    const count = pages.reduce((sum, page) => sum + page.rows.length, 0);
    if (!this.following && this.rows.list.length + count > ROWS_MAX) {
      // Whoever reads further up keeps what is read; the rest is fetched once it is wanted.
      this.rows.atEnd = false;
      this.follow.stop();
      this.told();
      return;
    }
    const add = () => {
      if (!pages.every((page) => this.rows.append(page))) {
        this.rows.atEnd = false;
        this.newer();
      }
    };
    if (this.following) add();
    else this.keepingPlace(this.middle(), add);
    this.seen(pages.at(-1));
    if (this.following) this.scrollToEnd();
    this.told();
  }

  finished() {
    this.over = true;
    this.told();
  }

  scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const below = scrollHeight - clientHeight - scrollTop;
    this.following = this.rows.atEnd && below <= AT_END_PIXELS;
    if (scrollTop < NEAR_PIXELS) this.older();
    if (below < NEAR_PIXELS) this.newer();
    this.told();
  }

  middle() {
    const box = this.scroller.getBoundingClientRect();
    const found = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height / 2, 200));
    return found?.closest(".row") ?? this.rows.top?.node;
  }

  told() {
    const word = this.over ? "over" : this.following ? "following" : "paused";
    this.root.dataset.state = word;
    this.button.setAttribute("aria-pressed", String(this.following && !this.over));
    if (document.activeElement === this.place) return;
    if (this.following) {
      this.place.value = PLACES;
      return;
    }
    // Where the reader is costs a look at the whole page.
    const at = Number(this.middle()?.dataset.at?.split(".")[1] ?? 0);
    this.place.value = Math.round((at / (this.end || 1)) * PLACES);
  }

  say(sentence) {
    this.state.textContent = sentence;
  }

  // ---- the reader ----

  clicked(event) {
    const fold = event.target.closest("[data-fold]");
    if (fold) {
      this.keepingPlace(fold.closest(".row, .mark"), () => this.rows.fold(fold.dataset.fold));
      this.scroller.querySelector(`[data-fold="${CSS.escape(fold.dataset.fold)}"]`)?.focus({ preventScroll: true });
      this.fill();
      return;
    }
    const link = event.target.closest(".no[href]");
    if (!link) return;
    event.preventDefault();
    const line = Number(link.dataset.no);
    const from = event.shiftKey && this.rows.chosen ? this.rows.chosen[0] : line;
    const range = [Math.min(from, line), Math.max(from, line)];
    history.replaceState(null, "", range[0] === range[1] ? `#L${line}` : `#L${range[0]}-L${range[1]}`);
    this.rows.choose(range);
  }

  typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    const order = { "/": "search", n: "next", N: "before", e: "error", f: "follow", g: "start", G: "end", w: "wrap" }[event.key];
    if (!order) return;
    event.preventDefault();
    this.order(order);
  }

  order(order) {
    if (order === "follow") return this.following ? this.letGo() : this.goToEnd();
    if (order === "start") return this.goToByte(0);
    if (order === "end") return this.goToEnd();
    if (order === "error") return this.search.error();
    if (order === "search") return this.search.focus();
    if (order === "next") return this.search.step(1);
    if (order === "before") return this.search.step(-1);
    if (order === "wrap") return this.root.classList.toggle("unwrapped");
    return undefined;
  }

  letGo() {
    this.following = false;
    this.scroller.scrollTop -= AT_END_PIXELS * 4;
    this.told();
  }
}

// When what there is can be seen; a page that nobody sees is not painted.
function painted() {
  if (document.hidden) return Promise.resolve();
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

const root = document.querySelector("#log");
if (root) new View(root).open();
