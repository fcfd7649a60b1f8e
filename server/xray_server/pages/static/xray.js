// What needs a script on X-Ray's pages: "/" to search, copy buttons, ages that stay true, and runs that are still running.
// Every page is whole without it.

const root = document.documentElement;
root.classList.add("js");

const base = new URL(document.querySelector("a.brand").href).pathname.replace(/\/ui$/, "");
const places = { r: "/ui", s: "/ui/steps", a: "/ui/alerts", c: "/ui/compare", h: "/ui/health" };
const keys = document.getElementById("keys");
let going = 0; // when "g" was pressed: the next key within a second says where to

// The next or previous row of the page's list: its first link has the focus.
const step = (by) => {
  const rows = [...document.querySelectorAll("main tbody tr, main .funnel .frow:not(.head), main .plain li")].filter((row) => row.querySelector("a[href]"));
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.max(0, Math.min(rows.length - 1, now < 0 ? (by > 0 ? 0 : rows.length - 1) : now + by))];
  next.querySelector("a[href]").focus();
};

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key === "Escape" && typing?.id === "find") typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || keys?.open) return;
  const gone = performance.now() - going < 1000 && places[event.key];
  going = event.key === "g" ? performance.now() : 0;
  if (gone) location.assign(base + gone);
  else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find")?.select();
  } else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?") keys?.showModal();
  else if (event.key === "[") document.querySelector("a[rel=prev]")?.click();
  else if (event.key === "]") document.querySelector("a[rel=next]")?.click();
});

for (const button of document.querySelectorAll("[data-keys]")) {
  button.hidden = false;
  button.addEventListener("click", () => keys?.showModal());
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element && event.target.closest("button[data-copy], button[data-curl]");
  if (!button) return;
  const said = button.textContent;
  const text = button.dataset.copy ?? `curl -s -H "Authorization: Bearer $XRAY_API_KEY" ${quoted(location.origin + button.dataset.curl)}`;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    // without https a browser may give no clipboard: select nothing, say so
    button.textContent = "not allowed here";
  }
  setTimeout(() => { button.textContent = said; }, 1600);
});

// The forms of /docs: what they ask is answered beneath them. Without a script those without a path to fill in are plain forms.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.dataset.path) return;
  event.preventDefault();
  const root = form.dataset.root;
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const field of form.querySelectorAll("[name]")) {
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    else if (field.dataset.in === "query" && field.value) query.append(field.name, field.value);
  }
  const body = form.querySelector("textarea");
  const out = form.querySelector("output");
  const address = `${root}${path}${query.size ? `?${query}` : ""}`;
  out.hidden = false;
  out.textContent = `${form.dataset.method} ${address} …`;
  try {
    const headers = body ? { "Content-Type": body.dataset.type } : {};
    const answer = await fetch(address, { method: form.dataset.method, headers, body: body?.value });
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ }
    out.textContent = `${form.dataset.method} ${address}\n${answer.status} ${answer.statusText}\n\n${text.slice(0, 20000)}`;
  } catch (error) {
    out.textContent = `${form.dataset.method} ${address}\n${error.message}`;
  }
});

// As formatting.ago: what is two weeks off is left as it stands.
const ago = (seconds) => {
  if (seconds > -60 && seconds < 3) return "just now";
  const off = Math.abs(seconds);
  const [unit, word] = off < 60 ? [1, "s"] : off < 3600 ? [60, "min"] : off < 86400 ? [3600, "h"] : [86400, "days"];
  if (off >= 86400 * 14) return null;
  const n = Math.floor(off / unit);
  const words = `${n} ${word === "days" && n === 1 ? "day" : word}`;
  return seconds < 0 ? `in ${words}` : `${words} ago`;
};

// Times as ages, as this machine's clock says, or as UTC: the reader's choice, kept by the browser.
const modes = ["ago", "local", "UTC"];
let mode = "ago";
try { mode = modes.find((each) => each === localStorage.getItem("xray-times")) ?? "ago"; } catch { /* no storage: ages */ }
const clock = (date, zone) => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: zone }).format(date);
const spell = (time) => {
  const date = new Date(time.dateTime);
  if (Number.isNaN(date.getTime())) return null;
  if (mode === "local") return clock(date, undefined);
  return mode === "UTC" ? `${clock(date, "UTC")} UTC` : ago((Date.now() - date) / 1000) ?? time.dataset.ago;
};
const tellTimes = () => {
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.dataset.ago ??= time.textContent;
    const words = spell(time);
    if (words && words !== time.textContent) time.textContent = words;
  }
};
for (const button of document.querySelectorAll("[data-times]")) {
  const tell = () => { button.textContent = `times: ${mode}`; };
  button.hidden = false;
  tell();
  button.addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    try { localStorage.setItem("xray-times", mode); } catch { /* for this page alone */ }
    tell();
    tellTimes();
  });
}
if (mode !== "ago") tellTimes();
setInterval(tellTimes, 5000);

// Dragging over a trend narrows the time to what was marked, in whole bars. A click is a click on the bar's own link.
for (const chart of document.querySelectorAll("[data-brush]")) {
  const [since, until, bucket] = [Date.parse(chart.dataset.since), Date.parse(chart.dataset.until), Number(chart.dataset.brush)];
  const share = (event) => {
    const box = chart.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const marked = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  marked.setAttribute("class", "brushing");
  marked.setAttribute("height", "110");
  let from = null;
  let marking = false;
  const mark = (to) => {
    marked.setAttribute("x", `${100 * Math.min(from, to)}%`);
    marked.setAttribute("width", `${100 * Math.abs(to - from)}%`);
  };
  const end = () => { from = null; marking = false; marked.remove(); };
  chart.addEventListener("dragstart", (event) => event.preventDefault());
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = share(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (from === null) return;
    if (!marking && Math.abs(share(event) - from) >= 0.01) {
      marking = true;
      chart.setPointerCapture(event.pointerId);
      chart.append(marked);
    }
    if (marking) mark(share(event));
  });
  chart.addEventListener("pointercancel", end);
  chart.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [first, last] = [from, share(event)].sort((a, b) => a - b);
    const dragged = marking;
    end();
    if (!dragged || last - first < 0.01) return;
    const at = (part, round) => new Date(round((since + (until - since) * part) / bucket) * bucket).toISOString();
    const address = new URL(location.href);
    address.searchParams.set("since", at(first, Math.floor));
    address.searchParams.set("until", at(last, Math.ceil));
    address.searchParams.delete("cursor");
    location.assign(address);
  });
}

// The part of the page that is marked live is fetched again, slower when nothing changes, until it says that it is over.
const follow = (waitMs, everyMs) => setTimeout(async () => {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  if (document.hidden) return follow(everyMs, everyMs);
  let changed = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(live.id);
    changed = fresh !== null && fresh.innerHTML !== live.innerHTML;
    // a reader who is in the middle of something is not disturbed
    const busy = live.contains(document.activeElement) && document.activeElement.matches("input, select, summary");
    if (changed && !busy) {
      for (const open of live.querySelectorAll("details[open]")) {
        const place = [...live.querySelectorAll("details")].indexOf(open);
        fresh.querySelectorAll("details")[place]?.setAttribute("open", "");
      }
      const address = document.activeElement?.closest?.("a[href]")?.getAttribute("href");
      live.replaceWith(document.adoptNode(fresh));
      if (address) [...fresh.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === address)?.focus({ preventScroll: true });
    }
  } catch {
    // the server is away: try again, slower
  }
  follow(changed ? everyMs : Math.min(waitMs * 1.5, 10000), everyMs);
}, waitMs);

const live = document.querySelector("[data-live]");
if (live) follow(Number(live.dataset.live), Number(live.dataset.live));
