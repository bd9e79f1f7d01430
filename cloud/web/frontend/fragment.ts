// Links from mails carry their secret behind the #, which no server sees: put it into the form and send that.
export function startFragments(): void {
  const form = document.querySelector<HTMLFormElement>("form[data-fragment]");
  const field = form?.querySelector<HTMLInputElement>("input[name=link]");
  const secret = location.hash.slice(1);
  if (!form || !field || !secret) return;
  field.value = secret;
  history.replaceState(null, "", location.pathname);
  form.requestSubmit();
}
