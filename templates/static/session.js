// Session Management 1.0 §3.3: answers a site's page whether the session is still the one it knows. Asks nobody, shows nothing.
const { cookie, askers } = document.documentElement.dataset;
const known = new Set(askers.split(" "));

const digest = async (...words) => {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(words.join(" ")));
  return [...new Uint8Array(bytes)].map((one) => one.toString(16).padStart(2, "0")).join("");
};

const kept = () => {
  const found = document.cookie.split("; ").filter((one) => one.startsWith(`${cookie}=`));
  return found.length === 1 ? found[0].slice(cookie.length + 1) : "";
};

const judge = async (asked, origin) => {
  const parts = typeof asked === "string" && asked.length < 500 && /^(\S+) ([0-9a-f]{64})\.([\w-]{8,64})$/.exec(asked);
  if (!parts) return "error";
  const [, client, hash, salt] = parts;
  if (!known.has(await digest(client, origin))) return "error";
  return (await digest(client, origin, kept(), salt)) === hash ? "unchanged" : "changed";
};

addEventListener("message", async (event) => {
  if (!event.source || event.source === window || !/^https?:/.test(event.origin)) return;
  event.source.postMessage(await judge(event.data, event.origin), event.origin);
});
