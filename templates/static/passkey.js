// Shows what only a browser with passkeys can do, and puts what it answers into the form around it.
const raw = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const make = async ({ challenge, party, partyName, owner, ownerName, ownerLabel, others }) => {
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: new TextEncoder().encode(challenge),
      rp: { id: party, name: partyName },
      user: { id: raw(owner), name: ownerName, displayName: ownerLabel },
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: others.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: raw(id) })),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
      timeout: 300000,
    },
  });
  return {
    credential: made.rawId, client_data: made.response.clientDataJSON, attestation: made.response.attestationObject,
    attachment: made.authenticatorAttachment,
  };
};

const use = async ({ challenge, party }) => {
  const used = await navigator.credentials.get({
    publicKey: {
      challenge: new TextEncoder().encode(challenge), rpId: party, userVerification: "required", timeout: 300000,
    },
  });
  const said = used.response;
  return {
    credential: used.rawId, client_data: said.clientDataJSON, authenticator_data: said.authenticatorData,
    signature: said.signature, user_handle: said.userHandle ?? new ArrayBuffer(0),
  };
};

for (const form of window.PublicKeyCredential ? document.querySelectorAll("form[data-passkey]") : []) {
  const ceremony = form.dataset.passkey === "make" ? make : use;
  const problem = form.querySelector("[data-cancelled]");
  let state = "";
  form.hidden = false;
  for (const words of document.querySelectorAll("[data-no-passkeys]")) words.hidden = true;
  // Before anything else hears of it.
  form.addEventListener("submit", async (event) => {
    if (state === "answered") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (state === "asking") return;
    state = "asking";
    const button = event.submitter;
    problem.textContent = "";
    try {
      for (const [name, part] of Object.entries(await ceremony(form.dataset)))
        form.elements[name].value = typeof part === "string" ? part : text(part);
      state = "answered";
      form.requestSubmit(button);
    } catch (error) {
      state = "";
      const { cancelled, there, failed } = problem.dataset;
      problem.textContent = { NotAllowedError: cancelled, AbortError: cancelled, InvalidStateError: there }[error.name] ?? failed;
    }
  }, { capture: true });
}
