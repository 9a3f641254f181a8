// Optional: every page works without this. No innerHTML, nothing loaded, nothing stored.
const words = document.body.dataset.working;
const live = document.getElementById("live");

for (const form of document.querySelectorAll("form[method=post]")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) { event.preventDefault(); return; }
    sent = true;
    const button = event.submitter;
    setTimeout(() => {
      if (!button || event.defaultPrevented) return;
      button.dataset.words = button.textContent;
      (button.querySelector("span:not(.vh)") ?? button).textContent = words;
      button.setAttribute("aria-disabled", "true");
      live.textContent = words;
    }, 400);
  });
}
document.querySelector("form[data-at-once]")?.requestSubmit();
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

for (const select of document.querySelectorAll("select[data-guess-zone]")) {
  if (!here || !/^[\w+-]+(\/[\w+-]+)*$/.test(here)) continue;
  // First in the list, not selected: an optional detail is the person's to give.
  const option = [...select.options].find((one) => one.value === here) ?? new Option(here, here);
  select.options[0].after(option);
}

const day = { day: "numeric", month: "short", year: "numeric" };
const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
for (const shown of document.querySelectorAll("time[data-local]")) {
  const moment = new Date(shown.dateTime);
  if (Number.isNaN(moment.valueOf())) continue;
  const lang = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
  const form = shown.dataset.local === "time" ? time : { ...day, ...time };
  shown.textContent = new Intl.DateTimeFormat(lang, form).format(moment);
}
