// What needs a script on X-Ray's pages: "/" to search, copy buttons, ages that stay true, and runs that are still running.
// Every page is whole without it.

const root = document.documentElement;
root.classList.add("js");

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById("find")?.select();
  }
  if (event.key === "Escape" && typing?.id === "find") typing.blur();
});

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element && event.target.closest("button[data-copy]");
  if (!button) return;
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
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

setInterval(() => {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (words !== null && words !== time.textContent) time.textContent = words;
  }
}, 5000);

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
