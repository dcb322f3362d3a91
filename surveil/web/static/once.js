// A form that changes something is sent once, though its button is pressed twice: a second build would begin, and a
// link that was used up by the first press would be refused.

const AGAIN_MS = 5_000; // Whoever waits for so long, or has stopped the page, may press again.
let sent = new WeakMap();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (performance.now() - (sent.get(form) ?? -Infinity) < AGAIN_MS) event.preventDefault();
  else sent.set(form, performance.now());
});

// Whoever comes back to a page, and finds it as they left it, may mean something else.
addEventListener("pageshow", (event) => {
  if (event.persisted) sent = new WeakMap();
});
