// Passkeys (WebAuthn level 2): a form that waits for an authenticator's answer. It asks the API for the options, has
// the browser make a passkey (data-passkey="create") or use one ("get"), and then sends the form with the answer in
// its field `credential`. The words for what can go wrong stand in the page (_passkey.html); here one is shown.
type Told = "missing" | "insecure" | "elsewhere" | "cancelled" | "known" | "failed" | "refused";

interface Descriptor {
  readonly id: string;
  readonly type: "public-key";
  readonly transports?: AuthenticatorTransport[];
}

// The options as JSON: all bytes are base64url (WebAuthn level 3, section 5.1.9).
interface CreationJson extends Omit<PublicKeyCredentialCreationOptions, "challenge" | "user" | "excludeCredentials"> {
  readonly challenge: string;
  readonly user: { readonly id: string; readonly name: string; readonly displayName: string };
  readonly excludeCredentials?: Descriptor[];
}

interface RequestJson extends Omit<PublicKeyCredentialRequestOptions, "challenge" | "allowCredentials"> {
  readonly challenge: string;
  readonly allowCredentials?: Descriptor[];
}

interface Answer {
  readonly id: string;
  readonly clientDataJSON: string;
  readonly [part: string]: unknown;
}

class Refused extends Error {}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
}

function text(buffer: ArrayBuffer): string {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function described(list: Descriptor[] | undefined): PublicKeyCredentialDescriptor[] {
  return (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
}

// What the browser lacks, before anything is asked for.
function hindrance(form: HTMLFormElement): Told | null {
  if (!window.isSecureContext) return "insecure";
  if (location.origin !== form.dataset["origin"]) return "elsewhere";
  return "PublicKeyCredential" in window && "credentials" in navigator ? null : "missing";
}

async function ask<Json>(form: HTMLFormElement): Promise<Json> {
  const token = form.querySelector<HTMLInputElement>("input[name=form_token]")?.value ?? "";
  const answer = await fetch(form.dataset["options"] ?? "", {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-Form-Token": token },
    body: "{}",
  });
  const said = (await answer.json()) as { options?: Json; code?: string; detail?: string };
  if (said.code === "factor_needed") {
    location.assign(`/account/confirm?next=${encodeURIComponent(location.pathname)}`);
    return new Promise<never>(() => undefined); // the page goes
  }
  if (!said.options) throw new Refused(said.detail ?? String(answer.status));
  return said.options;
}

async function create(form: HTMLFormElement): Promise<Answer> {
  const options = await ask<CreationJson>(form);
  const publicKey: PublicKeyCredentialCreationOptions = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: described(options.excludeCredentials),
  };
  const made = (await navigator.credentials.create({ publicKey })) as PublicKeyCredential;
  const response = made.response as AuthenticatorAttestationResponse;
  return {
    clientDataJSON: text(response.clientDataJSON),
    attestationObject: text(response.attestationObject),
    transports: response.getTransports(),
    id: made.id,
  };
}

async function get(form: HTMLFormElement): Promise<Answer> {
  const options = await ask<RequestJson>(form);
  const publicKey: PublicKeyCredentialRequestOptions = {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: described(options.allowCredentials),
  };
  const used = (await navigator.credentials.get({ publicKey })) as PublicKeyCredential;
  const response = used.response as AuthenticatorAssertionResponse;
  return {
    clientDataJSON: text(response.clientDataJSON),
    authenticatorData: text(response.authenticatorData),
    signature: text(response.signature),
    userHandle: response.userHandle ? text(response.userHandle) : undefined,
    id: used.id,
  };
}

function why(error: unknown): Told {
  if (error instanceof Refused) return "refused";
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "AbortError") return "cancelled";
  return name === "InvalidStateError" ? "known" : "failed";
}

function start(form: HTMLFormElement): void {
  const field = form.querySelector<HTMLInputElement>("input[name=credential]");
  const box = document.querySelector<HTMLElement>("[data-passkey-told]");
  const busy = document.querySelector<HTMLElement>("[data-passkey-busy]");
  const button = form.querySelector<HTMLButtonElement>("button[type=submit]");
  if (!field || !box || !busy || !button) return;
  for (const note of document.querySelectorAll<HTMLElement>("[data-passkey-off]")) note.hidden = true;
  const tell = (told: Told | null, words = ""): void => {
    box.hidden = told === null;
    for (const part of box.querySelectorAll<HTMLElement>("[data-told]")) {
      part.hidden = part.dataset["told"] !== told;
      if (part.dataset["told"] === "refused") part.textContent = words;
    }
  };
  const work = async (): Promise<void> => {
    tell(null);
    busy.hidden = false;
    button.disabled = true;
    try {
      const { id, ...response } = await (form.dataset["passkey"] === "create" ? create : get)(form);
      field.value = JSON.stringify({ id, rawId: id, type: "public-key", response });
      form.submit();
    } catch (error) {
      tell(why(error), error instanceof Error ? error.message : "");
      button.disabled = false;
    } finally {
      busy.hidden = true;
    }
  };
  const lacks = hindrance(form);
  if (lacks) {
    tell(lacks);
    button.disabled = true;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault(); // form.submit() fires no such event
    if (!lacks) void work();
  });
}

for (const form of document.querySelectorAll<HTMLFormElement>("form[data-passkey]")) start(form);
