// Draws plots, copies commands, and takes a policy that is dropped. Every page works without it, but for the drawings.
"use strict";

const plots = new WeakMap();

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(place) {
  const data = JSON.parse(place.dataset.plot);
  const points = { show: data.lines.flat().includes(null), size: 4 }; // a value between two that are missing is no line
  const options = {
    width: Math.max(200, place.clientWidth),
    height: 160,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { show: false },
    axes: [
      // As everywhere else here, in UTC.
      { stroke: color("--quiet"), grid: { show: false }, ticks: { show: false }, values: (_, at) => at.map((one) => new Date(one * 1000).toISOString().slice(11, 16)) },
      { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, size: 56 },
    ],
    scales: { y: { range: (_, least, most) => [0, Math.max(data.top, most * 1.1)] } },
    series: [
      {},
      { stroke: color("--accent"), width: 2, fill: color("--accent-soft"), points },
      { stroke: color("--danger"), width: 2, dash: [6, 3], points },
    ],
  };
  plots.get(place)?.destroy();
  plots.set(place, new uPlot(options, [data.starts, ...data.lines], place));
}

function ready(root) {
  for (const place of root.querySelectorAll("[data-plot]")) draw(place);
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("DOMContentLoaded", () => ready(document));
document.addEventListener("htmx:afterSwap", (event) => ready(event.detail.target));

// A live part is replaced every few seconds: the place somebody has reached in it, and the tables they have opened, stay.
let kept = {};
const places = (root) => [...root.querySelectorAll("a[href], button, summary, [tabindex]")];
const name = (place) => [place.tagName, place.getAttribute("href"), place.getAttribute("aria-label"), place.textContent].join("\n");
function order(root, place) {
  return places(root).filter((one) => name(one) === name(place)).indexOf(place);
}
document.addEventListener("htmx:beforeSwap", (event) => {
  const root = event.detail.target;
  const active = root.contains(document.activeElement) && root !== document.activeElement ? document.activeElement : null;
  kept = {
    focus: active && { name: name(active), order: order(root, active) },
    open: [...root.querySelectorAll("details")].map((one) => one.open),
    scrolled: [...root.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]),
  };
});
document.addEventListener("htmx:afterSwap", (event) => {
  const root = event.detail.target;
  root.querySelectorAll("details").forEach((one, index) => { one.open = Boolean(kept.open?.[index]); });
  root.querySelectorAll(".scroll").forEach((one, index) => { [one.scrollLeft, one.scrollTop] = kept.scrolled?.[index] ?? [0, 0]; });
  if (!kept.focus) return;
  const same = places(root).filter((one) => name(one) === kept.focus.name);
  same[Math.min(kept.focus.order, same.length - 1)]?.focus({ preventScroll: true });
});
// A page that the browser kept shows what was true then: after a revocation, "back" must not show somebody as active.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => ready(document));
let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => ready(document), 150);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const said = button.textContent;
  await navigator.clipboard.writeText(button.dataset.copy).then(
    () => { button.textContent = "Copied"; },
    () => { button.textContent = "Not copied"; },
  );
  setTimeout(() => { button.textContent = said; }, 1500);
});

// The command on a confirmation has the reason that is typed, quoted for a shell.
document.addEventListener("input", (event) => {
  const place = event.target.name === "reason" && document.querySelector("[data-reason-of]");
  if (!place) return;
  const reason = event.target.value.trim();
  const quoted = /^[\w@%+=:,./-]+$/.test(reason) ? reason : `'${reason.replaceAll("'", `'"'"'`)}'`;
  const command = `${place.dataset.reasonOf} ${quoted}`;
  place.querySelector("code").textContent = command;
  place.querySelector("[data-copy]").dataset.copy = command;
});

const zone = () => document.getElementById("drop-zone");
document.addEventListener("dragover", (event) => { if (zone()) event.preventDefault(); });
document.addEventListener("drop", async (event) => {
  const file = event.dataTransfer?.files[0];
  if (!zone() || !file) return;
  event.preventDefault();
  zone().elements.text.value = await file.text();
  zone().requestSubmit();
});

// What cannot be had shows that it is old. htmx tells of every answer that has come, a failed one too, that it was loaded.
document.addEventListener("htmx:sendError", () => document.body.classList.add("away"));
document.addEventListener("htmx:afterOnLoad", (event) => document.body.classList.toggle("away", !event.detail.successful));
// Our own server, and no other, says that this browser is not let in any more: the whole page says so then, and why.
document.addEventListener("htmx:responseError", (event) => {
  if ([401, 403].includes(event.detail.xhr.status)) location.reload();
});
