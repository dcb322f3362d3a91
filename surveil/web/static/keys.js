// A few keys for whoever prefers them; `?` shows them. A page that has keys of its own takes them first.

const help = document.querySelector("#keys");
const pages = new Map([...document.querySelectorAll("nav [data-key]")].map((link) => [link.dataset.key, link]));

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  const search = document.querySelector("[data-search]");
  if (event.key === "?") help.showModal();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/" && search) search.focus();
  else if (pages.has(event.key)) pages.get(event.key).click();
  else return;
  event.preventDefault();
});
