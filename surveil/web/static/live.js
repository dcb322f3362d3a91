// Lets the page ask for itself again when something happened: what is shown is made by the server alone.

const QUIET_MS = 300; // Several things that happen at once are one reason to look.
const SHARE = 5; // Looking takes a fifth of the time at most, however much goes on and however slow the line is.
const main = document.querySelector("[data-live]");
const connection = document.querySelector("#connection");

let due = 0;
let asked = 0;
let missed = false; // Something happened after the page was asked for, or while nobody could see it.
let pause = QUIET_MS;

function look() {
  if (asked || document.hidden) missed = true;
  else if (!due) due = setTimeout(ask, pause);
}

function ask() {
  due = 0;
  missed = false;
  asked = performance.now();
  main.dispatchEvent(new CustomEvent("surveil:news"));
}

document.addEventListener("htmx:finally:request", () => {
  pause = Math.max(QUIET_MS, (performance.now() - asked) * SHARE);
  asked = 0;
  if (missed) look();
});
document.addEventListener("visibilitychange", () => {
  if (missed && !asked) look();
});

setInterval(look, 30_000); // What has been going on has gone on for longer.

// From where the page was made, as things happen while it comes; and a page about a build need not hear of others.
const about = new URLSearchParams({ after: main.dataset.after });
if (main.dataset.live) about.set("build", main.dataset.live);
const news = new EventSource(new URL(`../../api/v1/events?${about}`, import.meta.url));
news.addEventListener("note", look);
news.addEventListener("open", () => {
  if (connection.textContent) look(); // What happened while nobody told us.
  connection.textContent = "";
});
news.addEventListener("error", () => {
  connection.textContent = " · not connected; trying again";
});
