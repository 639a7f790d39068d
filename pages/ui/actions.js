// What can be done with a message: the list of its citations, and one row of buttons. Python sends what it may offer;
// this draws it, reports what was pressed, copies the text, and makes the citation marks of the message open their
// passages.

const ICONS = {
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  copied: "m5 12 5 5L19 7",
  regenerate: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  go_on: "M5 5v14M10 12h10m-4-5 5 5-5 5",
  own_words: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM15 15l6 6M7 10h6",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  good: "M7 11v9H4v-9zM7 11l4-8c2 0 2.5 1.5 2 3l-1 4h6.5c1.5 0 2 1 1.7 2.2l-1.6 6.2c-.3 1-1 1.6-2 1.6H7",
  bad: "M17 13V4h3v9zM17 13l-4 8c-2 0-2.5-1.5-2-3l1-4H5.5c-1.5 0-2-1-1.7-2.2l1.6-6.2c.3-1 1-1.6 2-1.6H17",
  check: "M9 4h6v3H9zM9 5H5v16h14V5h-4M8.5 14l2.5 2.5 4.5-5",
  test: "M9 3v6L4 19c-.5 1 0 2 1 2h14c1 0 1.5-1 1-2l-5-10V3M8 3h8M7 15h10",
  before: "m14 6-6 6 6 6",
  after: "m10 6 6 6-6 6",
  models: "m6 9 6 6 6-6",
}
const COPIED_MS = 1500

function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  drawing.setAttribute("viewBox", "0 0 24 24")
  drawing.setAttribute("aria-hidden", "true")
  drawing.appendChild(document.createElementNS(drawing.namespaceURI, "path")).setAttribute("d", ICONS[name])
  return drawing
}

function button(name, label, press) {
  const holder = document.createElement("span")
  const made = holder.appendChild(document.createElement("button"))
  made.type = "button"
  made.title = label
  made.setAttribute("aria-label", label)
  made.append(icon(name))
  made.onclick = press
  return holder
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const field = document.createElement("textarea") // on a page without TLS browsers offer nothing else
  field.value = text
  field.style.position = "fixed"
  field.style.opacity = "0"
  document.body.append(field)
  field.select()
  document.execCommand("copy")
  field.remove()
}

function copyButton(data) {
  const holder = button("copy", data.words.copy, async () => {
    await copy(data.text)
    holder.firstChild.replaceChildren(icon("copied"))
    holder.firstChild.title = data.words.copied
    setTimeout(() => {
      holder.firstChild.replaceChildren(icon("copy"))
      holder.firstChild.title = data.words.copy
    }, COPIED_MS)
  })
  return holder
}

// One button for the chosen model, and a list for the others.
function regenerate(data, press) {
  const again = button("regenerate", data.words.regenerate, () => press({ action: "regenerate" }))
  again.className = data.isIncomplete ? "st-key-regenerate" : `st-key-regenerate-${data.id}`
  if (data.isIncomplete) {
    again.firstChild.className = "zw-act-named"
    again.firstChild.append(data.words.regenerate)
  }
  if (!data.models.length) return [again]
  const list = document.createElement("details")
  const summary = list.appendChild(document.createElement("summary"))
  summary.title = data.words.models
  summary.setAttribute("aria-label", data.words.models)
  summary.append(icon("models"))
  const models = list.appendChild(document.createElement("div"))
  models.className = "zw-act-models"
  for (const [id, label] of data.models) {
    const item = models.appendChild(document.createElement("button"))
    item.type = "button"
    item.textContent = label
    item.onclick = () => press({ action: "regenerate", model: id })
  }
  list.onkeydown = (event) => {
    if (event.key === "Escape") list.open = false
  }
  list.addEventListener("focusout", (event) => {
    if (!list.contains(event.relatedTarget)) list.open = false
  })
  return [again, list]
}

function branches(data, press) {
  const { at, count, before, after } = data.branch
  const back = button("before", data.words.before, () => press({ action: "show", id: before }))
  const forth = button("after", data.words.after, () => press({ action: "show", id: after }))
  back.firstChild.disabled = !before
  forth.firstChild.disabled = !after
  back.className = `st-key-before-${data.id}`
  forth.className = `st-key-after-${data.id}`
  const place = document.createElement("span")
  place.textContent = `${at}/${count}`
  const group = document.createElement("span")
  group.className = "zw-act-branch zw-act-kept"
  group.append(back, place, forth)
  return group
}

function draw(bar, data, press) {
  const items = []
  const add = (name) => {
    const holder = button(name, data.words[name], () => press({ action: name }))
    holder.className = `st-key-${name}-${data.id}`
    items.push(holder)
    return holder
  }
  if (data.actions.includes("go_on")) {
    const holder = add("go_on")
    holder.firstChild.className = "zw-act-named"
    holder.firstChild.append(data.words.go_on)
  }
  if (data.actions.includes("regenerate") && data.isIncomplete) items.push(...regenerate(data, press))
  if (data.branch) items.push(branches(data, press))
  if (data.text) items.push(copyButton(data))
  if (data.actions.includes("edit")) add("edit")
  if (data.actions.includes("own_words")) add("own_words")
  if (data.actions.includes("regenerate") && !data.isIncomplete) items.push(...regenerate(data, press))
  for (const [name, value] of [["good", 1], ["bad", -1]]) {
    if (!data.actions.includes("rate")) break
    const holder = button(name, data.words[name], () =>
      press({ action: "rate", value: data.rating === value ? 0 : value }),
    )
    holder.className = `st-key-${name}-${data.id}`
    holder.firstChild.setAttribute("aria-pressed", data.rating === value)
    if (data.rating === value) holder.classList.add("zw-act-kept")
    items.push(holder)
  }
  if (data.actions.includes("check")) add("check")
  if (data.actions.includes("test")) add("test")
  if (data.usage) {
    const usage = document.createElement("span")
    usage.className = "zw-act-usage"
    usage.textContent = data.usage
    usage.title = data.usageDetail
    items.push(usage)
  }
  bar.dataset.side = data.side
  bar.dataset.latest = data.isLatest
  bar.dataset.incomplete = data.isIncomplete
  bar.setAttribute("aria-label", data.words.title)
  bar.replaceChildren(...items)
}

// --- citations ---

function list(cited, data, press) {
  cited.replaceChildren()
  if (!data.cited.length) return
  cited.className = `zw-cited st-key-cited${data.isLatest ? "" : `-${data.id}`}`
  cited.setAttribute("aria-label", data.words.cited)
  for (const [rank, label] of data.cited) {
    const holder = cited.appendChild(document.createElement("span"))
    if (data.isLatest) holder.className = `st-key-citation-${rank}`
    const link = holder.appendChild(document.createElement("button"))
    link.type = "button"
    link.textContent = label
    link.onclick = () => press({ action: "cite", rank })
  }
}

const SHORT_FORMULA = 24 // characters as written, which fit a phone's line

// Browsers break a line after a formula, whatever character follows, unless the formula itself does not wrap.
function keepBesideFormulas(message) {
  for (const badge of message.querySelectorAll(".katex + .stMarkdownBadge")) {
    const formula = badge.previousElementSibling
    const written = formula.querySelector("annotation")?.textContent
    if (written?.length <= SHORT_FORMULA && !badge.previousSibling.textContent.trim()) formula.style.whiteSpace = "nowrap"
  }
}

const watched = new WeakMap() // a message → what ends the watch over its citations

function cites(data, message, press) {
  watched.get(message)?.()
  if (!data.ranks.length) return () => {}
  const mark = () => {
    for (const badge of message.querySelectorAll(".stMarkdownBadge:not([data-cites])")) {
      const rank = Number(badge.textContent)
      if (!data.ranks.includes(rank)) continue
      badge.dataset.cites = rank
      badge.tabIndex = 0
      badge.setAttribute("role", "button")
      badge.setAttribute("aria-label", data.words.cite.replace("{rank}", rank))
    }
    keepBesideFormulas(message)
  }
  const open = (event) => {
    const badge = event.target.closest?.("[data-cites]")
    if (!badge || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return
    event.preventDefault()
    press({ action: "cite", rank: Number(badge.dataset.cites) })
  }
  mark()
  const watch = new MutationObserver(mark)
  watch.observe(message, { subtree: true, childList: true })
  message.addEventListener("click", open)
  message.addEventListener("keydown", open)
  const end = () => {
    watch.disconnect()
    message.removeEventListener("click", open)
    message.removeEventListener("keydown", open)
  }
  watched.set(message, end)
  return end
}

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const press = (value) => setTriggerValue("pressed", value)
  list(parentElement.querySelector(".zw-cited"), data, press)
  draw(parentElement.querySelector(".zw-act"), data, press)
  return cites(data, parentElement.closest('[class*="st-key-message-"]'), press)
}
