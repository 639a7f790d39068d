// Who is signed in, with a way out; or the way back in, which leads to this very address. Both leave the page.

function element(tag, text, properties = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  return Object.assign(made, properties);
}

export default function ({ data: [data], parentElement }) {
  const place = parentElement.querySelector(".zw-account");
  if (data.signIn) {
    const here = encodeURIComponent(location.pathname + location.search);
    const link = element("a", data.signIn, { className: "zw-sign-in", href: `${data.base}login?next=${here}` });
    place.replaceChildren(link);
    return;
  }
  const form = element("form", "", { method: "post", action: `${data.base}logout` });
  form.append(element("input", "", { type: "hidden", name: "form", value: data.form }), element("button", data.signOut));
  place.replaceChildren(element("a", data.name, { href: `${data.base}account`, title: data.account }), form);
}
