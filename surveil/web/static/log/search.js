// Looks for something in the whole log: the server searches, a bounded part for each question.
//
// What belongs here: the words, what was found, and going from one to the next. What does not: showing rows (view).

import { draw, FRESH, plain } from "./ansi.js";

export class Search {
  constructor(root, view) {
    this.root = root;
    this.view = view;
    this.field = root.querySelector("input");
    this.list = root.querySelector("ol");
    this.more = root.querySelector("[data-more]");
    this.found = [];
    this.at = -1;
    this.next = null;
    this.asked = null;
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.asked?.text === this.field.value) this.step(1);
      else if (this.field.value) this.begin({ text: this.field.value });
    });
    this.more.addEventListener("click", () => this.look());
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.show(Number(button.dataset.which));
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.field.blur();
    });
  }

  focus() {
    this.field.focus();
    this.field.select();
  }

  // What failed first is most likely in the step that failed.
  error() {
    const failed = [...this.view.rows.marks.values()].find((mark) => mark.kind === "step" && mark.state === "failed");
    return this.begin({ kind: "error", limit: 20 }, failed?.at ?? 0);
  }

  async begin(about, at = 0) {
    Object.assign(this, { asked: about, found: [], at: -1, next: at });
    this.list.replaceChildren();
    await this.look();
    if (this.found.length) this.show(0);
  }

  // Goes on until something more is found, or all was seen.
  async look() {
    const [before, asked] = [this.found.length, this.asked];
    this.view.say("searching");
    try {
      while (this.next !== null && this.found.length === before) {
        const page = await this.view.ask("search", { ...asked, at: this.next });
        if (asked !== this.asked) return;
        this.next = page.next;
        for (const row of page.rows) this.add(row);
      }
      this.view.say(this.found.length ? "" : asked.text ? "not in this log" : "no line tells of an error");
    } catch (error) {
      this.view.say(error.message);
    }
    this.more.hidden = this.next === null;
  }

  add(row) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.which = this.found.length;
    const text = document.createElement("bdi");
    draw(text, plain(row.text).slice(0, 200), FRESH);
    button.append(row.number === null ? "" : `${row.number} `, text);
    item.append(button);
    this.list.append(item);
    this.found.push(row);
  }

  async step(by) {
    if (by > 0 && this.at === this.found.length - 1 && this.next !== null) await this.look();
    if (this.found.length) this.show((this.at + by + this.found.length) % this.found.length);
  }

  show(which) {
    this.at = which;
    this.list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    this.list.children[which].firstChild.setAttribute("aria-current", "true");
    this.view.rows.hit = this.found[which].at;
    return this.view.goToByte(this.found[which].at);
  }
}
