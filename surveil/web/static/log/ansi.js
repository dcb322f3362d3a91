// Draws one row of a job's output as text nodes: colours stay, everything else that a terminal would obey is shown.
//
// What belongs here: from a string to nodes, and the colours that go on to the next row. What does not: which rows.
// A step's output is a stranger's text. Nothing of it is ever taken for markup; an address becomes a link only if it
// leads to http or https, and marks that turn text around are shown in the place where they stand.

const ESCAPES =
  /\x1b\[([0-?]*)([ -/]*)([@-~])|\x1b\]([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b[PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?/y;
const HIDDEN =
  /[\x00-\x08\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u00ad\u061c\u115f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\u3164\ufeff\ufff9-\ufffc\u{e0000}-\u{e007f}]/u;
const PLAIN = /^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f-\u{10ffff}]*$/u;
const COLUMNS_MAX = 40_000; // No row is longer; see surveil/store/log_rows.py.
const LINK = /^https?:\/\/[^\s]+$/i;

export const FRESH = Object.freeze({
  fore: null, back: null, bold: false, faint: false, italic: false, underline: false, inverse: false, struck: false,
  link: null,
});

const SWITCHES = {
  1: { bold: true }, 2: { faint: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true },
  9: { struck: true }, 21: { underline: true }, 22: { bold: false, faint: false }, 23: { italic: false },
  24: { underline: false }, 27: { inverse: false }, 29: { struck: false }, 39: { fore: null }, 49: { back: null },
};

// Draws `text`, which begins in `style`, into `into`; returns the style in which the next row begins.
export function draw(into, text, style) {
  if (style === FRESH && PLAIN.test(text)) {
    into.append(text);
    return style;
  }
  return new Line(style).read(text).drawInto(into);
}

// What stands in a row without its colours, for looking at its first words.
export function plain(text) {
  return text.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "");
}

class Line {
  // Cells, as a terminal has them: what comes after a carriage return overwrites what was there.
  constructor(style) {
    this.style = style;
    this.cells = [];
    this.column = 0;
  }

  read(text) {
    let at = 0;
    while (at < text.length) {
      const code = text.codePointAt(at);
      if (code === 0x1b) {
        ESCAPES.lastIndex = at;
        const found = ESCAPES.exec(text);
        this.escape(found);
        at += found[0].length;
        continue;
      }
      const character = String.fromCodePoint(code);
      if (code === 0x0d) this.column = 0;
      else if (HIDDEN.test(character)) this.put(sign(code), true);
      else this.put(character, false);
      at += character.length;
    }
    return this;
  }

  put(character, hidden) {
    if (this.column >= COLUMNS_MAX) return;
    this.cells[this.column] = { character, hidden, style: this.style };
    this.column += 1;
  }

  escape([whole, parameters, between, final, command]) {
    if (final === "m" && !between && /^[0-9;:]*$/.test(parameters)) this.style = coloured(this.style, parameters);
    else if (final === "K" && !between && /^0?$/.test(parameters)) this.cells.length = Math.min(this.cells.length, this.column);
    else if (command !== undefined && command.startsWith("8;")) this.link(command.slice(command.indexOf(";", 2) + 1));
    else for (const character of shown(whole)) this.put(character, true);
  }

  link(address) {
    if (!address) this.style = { ...this.style, link: null };
    else if (LINK.test(address) && URL.canParse(address)) this.style = { ...this.style, link: new URL(address).href };
    else for (const character of shown(`\x1b]8;;${address}`)) this.put(character, true);
  }

  drawInto(into) {
    let at = 0;
    while (at < this.cells.length) {
      const { style, hidden } = this.cells[at];
      const start = at;
      while (at < this.cells.length && this.cells[at].style === style && this.cells[at].hidden === hidden) at += 1;
      const text = this.cells.slice(start, at).map((cell) => cell.character).join("");
      into.append(piece(text, style, hidden));
    }
    // A link ends with its row, as terminals have it.
    return same(this.style, FRESH) || same({ ...this.style, link: null }, FRESH) ? FRESH : { ...this.style, link: null };
  }
}

function piece(text, style, hidden) {
  if (!hidden && same(style, FRESH)) return document.createTextNode(text);
  const node = document.createElement(style.link ? "a" : "span");
  if (style.link) {
    node.href = style.link;
    node.rel = "noopener noreferrer nofollow";
    node.target = "_blank";
  }
  node.textContent = text;
  for (const name of ["bold", "faint", "italic", "underline", "inverse", "struck"]) {
    if (style[name]) node.classList.add(`sgr-${name}`);
  }
  paint(node, style.fore, "fore", "color");
  paint(node, style.back, "back", "backgroundColor");
  if (hidden) node.classList.add("hidden-mark");
  return node;
}

// One of the sixteen colours has a class, as light and dark pages have their own; others are what they say.
function paint(node, colour, kind, property) {
  if (colour === null) return;
  if (typeof colour === "number") node.classList.add(`sgr-${kind}-${colour}`);
  else node.style[property] = colour;
}

function coloured(before, parameters) {
  const codes = parameters.split(/[;:]/).map((code) => Number(code || 0));
  let style = { ...before };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) style = { ...FRESH, link: style.link };
    else if (code in SWITCHES) Object.assign(style, SWITCHES[code]);
    else if (code >= 30 && code <= 37) style.fore = code - 30;
    else if (code >= 40 && code <= 47) style.back = code - 40;
    else if (code >= 90 && code <= 97) style.fore = code - 82;
    else if (code >= 100 && code <= 107) style.back = code - 92;
    else if (code === 38 || code === 48) {
      const [colour, used] = wide(codes.slice(at + 1));
      if (colour !== undefined) style[code === 38 ? "fore" : "back"] = colour;
      at += used;
    }
  }
  return same(style, before) ? before : style;
}

// A colour of 256, or of 16 million, and how many numbers say so.
function wide([kind, ...numbers]) {
  const valid = (count) => numbers.length >= count && numbers.slice(0, count).every((number) => number <= 255);
  if (kind === 2) return [valid(3) ? `rgb(${numbers[0]}, ${numbers[1]}, ${numbers[2]})` : undefined, 4];
  if (kind !== 5) return [undefined, 1];
  const number = numbers[0];
  if (!valid(1)) return [undefined, 2];
  if (number < 16) return [number, 2];
  if (number >= 232) return [`rgb(${Array(3).fill(8 + (number - 232) * 10).join(", ")})`, 2];
  const level = (part) => (part ? 55 + part * 40 : 0);
  const cube = number - 16;
  return [`rgb(${level(Math.floor(cube / 36))}, ${level(Math.floor(cube / 6) % 6)}, ${level(cube % 6)})`, 2];
}

function same(one, other) {
  return one === other || Object.keys(FRESH).every((name) => one[name] === other[name]);
}

function shown(text) {
  return Array.from(text, (character) => {
    const code = character.codePointAt(0);
    return HIDDEN.test(character) || code === 0x1b || code === 0x0d ? sign(code) : character;
  });
}

// What stands for a character that nobody would see: Unicode's own sign for it, or its number.
function sign(code) {
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "␡";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}
