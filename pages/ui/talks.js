// A list of conversations: one line each, with a menu. Python sends what the list shows; this draws it and reports what
// was pressed, typed or renamed. Files are downloaded by links.

const ICONS = {
  menu: "M5 12v.01M12 12v.01M19 12v.01",
  rename: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  share: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  unpin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7M4 4l16 16",
  md: "M12 4v11m0 0 4-4m-4 4-4-4M5 19h14",
  json: "M12 4v11m0 0 4-4m-4 4-4-4M5 19h14",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
}
const TYPING_MS = 250 // without a key, until a search begins

function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  drawing.setAttribute("viewBox", "0 0 24 24")
  drawing.setAttribute("aria-hidden", "true")
  drawing.appendChild(document.createElementNS(drawing.namespaceURI, "path")).setAttribute("d", ICONS[name])
  return drawing
}

function element(tag, className = "") {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (tag === "button") made.type = "button"
  return made
}

function text(target, value) {
  if (target.textContent !== value) target.textContent = value
}

// --- the search field, the line that undoes, and what stands where there is nothing ---

function drawSearch(field, data, press) {
  field.hidden = !data.canSearch
  field.placeholder = data.words.search
  field.setAttribute("aria-label", data.words.search)
  if (document.activeElement !== field) field.value = data.search // else it would lose what is being typed
  field.oninput = () => {
    clearTimeout(field.wait)
    field.wait = setTimeout(() => press({ action: "search", text: field.value }), TYPING_MS)
  }
}

function drawUndo(line, data, press) {
  const token = data.undo?.token ?? ""
  if (line.dataset.token === token) return
  line.dataset.token = token
  clearTimeout(line.wait)
  line.hidden = !token
  if (!token) return
  const told = element("span")
  told.textContent = data.undo.text
  told.title = data.undo.text
  const undo = element("button")
  undo.textContent = data.words.undo
  undo.onclick = () => press({ action: "restore", id: data.undo.id })
  const holder = element("div", "st-key-undo_delete")
  holder.append(undo)
  line.replaceChildren(told, holder)
  line.wait = setTimeout(() => (line.hidden = true), data.undo.seconds * 1000)
}

// --- the rows ---

function newRow() {
  const row = element("div", "")
  const link = row.appendChild(element("a"))
  link.append(element("b"))
  row.append(element("span", "zw-talk-note"), element("button", "zw-talk-menu"))
  row.lastChild.append(icon("menu"))
  row.lastChild.setAttribute("aria-haspopup", "menu")
  return row
}

function drawRow(row, talk, data, menu, press) {
  row.className = `zw-talk st-key-${data.kind === "page" ? "conversation" : "talk"}-${talk.id}`
  row.dataset.open = talk.isOpen
  const [link, note, button] = [row.querySelector("a"), row.querySelector("span"), row.querySelector("button")]
  text(link.lastChild, talk.title)
  link.title = talk.title
  link.href = new URL(`.?conversation=${talk.id}`, document.baseURI).href // a middle click opens a tab
  link.setAttribute("aria-current", talk.isOpen ? "page" : "false")
  const hasPin = link.firstChild !== link.lastChild
  if (talk.isPinned && !hasPin) link.prepend(icon("pin"))
  if (!talk.isPinned && hasPin) link.firstChild.remove()
  link.onclick = (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    press({ action: "open", id: talk.id })
  }
  text(note, talk.note)
  note.hidden = !talk.note
  button.title = data.words.menu
  button.setAttribute("aria-label", `${data.words.menu}: ${talk.title}`)
  button.onclick = () => openMenu(menu, button, row, talk, data, press)
}

function rename(row, talk, data, press) {
  const link = row.querySelector("a")
  const field = element("input")
  field.value = talk.title
  field.maxLength = 200
  field.setAttribute("aria-label", data.words.rename)
  const end = (isKept) => {
    field.onblur = null
    const title = field.value.trim()
    field.replaceWith(link)
    if (isKept && title && title !== talk.title) {
      text(link.lastChild, title)
      press({ action: "rename", id: talk.id, title })
    }
  }
  field.onblur = () => end(true)
  field.onkeydown = (event) => {
    if (event.isComposing) return // Enter chooses the characters of an input method
    if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter")
    event.stopPropagation()
  }
  link.replaceWith(field)
  field.select()
  field.focus()
}

// --- the menu of a row ---

function openMenu(menu, button, row, talk, data, press) {
  const entry = (name, act) => {
    const made = element(act ? "button" : "a")
    made.setAttribute("role", "menuitem")
    made.dataset.action = name
    made.append(icon(name), data.words[name])
    made.onclick = () => {
      menu.hidePopover()
      act?.()
    }
    return made
  }
  const pin = talk.isPinned ? "unpin" : "pin"
  const items = [
    entry("rename", () => rename(row, talk, data, press)),
    entry(pin, () => press({ action: pin, id: talk.id })),
    entry("share", () => press({ action: "share", id: talk.id })),
  ]
  for (const format of ["md", "json"]) {
    const link = entry(format)
    const query = new URLSearchParams({ format, ...data.download, timezone: timeZone() })
    link.href = new URL(`api/conversations/${talk.id}?${query}`, document.baseURI).href
    link.download = ""
    items.push(link)
  }
  items.push(entry("delete", () => press({ action: "delete", id: talk.id })))
  menu.replaceChildren(...items)
  menu.setAttribute("aria-label", talk.title)
  menu.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (!step) return
    event.preventDefault()
    const at = items.indexOf(document.activeElement)
    items.at((at + step) % items.length).focus()
  }
  menu.showPopover()
  const { left, right, top, bottom } = button.getBoundingClientRect()
  const { offsetWidth: width, offsetHeight: height } = menu
  const isBelow = bottom + height <= innerHeight
  menu.style.top = `${Math.max(4, isBelow ? bottom : top - height)}px`
  menu.style.left = `${Math.max(4, Math.min(data.kind === "page" ? right - width : left, innerWidth - width - 4))}px`
  items[0].focus()
}

function timeZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""
}

function drawGroups(body, data, menu, press) {
  const known = new Map([...body.querySelectorAll(".zw-talk")].map((row) => [row.dataset.id, row]))
  const rowOf = (talk) => {
    const row = known.get(talk.id) ?? newRow()
    row.dataset.id = talk.id
    if (!row.querySelector("input")) drawRow(row, talk, data, menu, press) // else it is being renamed
    return row
  }
  const groups = data.groups.map(({ label, talks }) => [label, talks.map(rowOf)])
  // Where nothing moves, nothing is replaced, so that the keyboard's focus stays.
  const order = JSON.stringify(groups.map(([label, rows]) => [label, rows.map((row) => row.dataset.id)]))
  if (body.dataset.order === order) return
  body.dataset.order = order
  body.replaceChildren(
    ...groups.map(([label, rows]) => {
      const group = element("section", "zw-talks-group")
      group.setAttribute("aria-label", label)
      const head = element("h3")
      head.textContent = label
      group.append(head, ...rows)
      return group
    }),
  )
}

function drawAll(line, data) {
  line.hidden = !data.all
  if (!data.all) return
  const links = ["md", "json"].map((format) => {
    const query = new URLSearchParams({ format, ...data.all, ...data.download, timezone: timeZone() })
    const link = element("a", `st-key-export_${format}`)
    link.href = new URL(`api/conversations?${query}`, document.baseURI).href
    link.download = ""
    link.append(icon(format), data.words[`all_${format}`])
    return link
  })
  line.replaceChildren(...links)
}

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".zw-talks")
  const part = (name) => root.querySelector(`.zw-talks-${name}`)
  const press = (value) => setTriggerValue("pressed", value)
  root.dataset.kind = data.kind
  drawSearch(part("search"), data, press)
  drawUndo(part("undo"), data, press)
  drawGroups(part("groups"), data, part("menu"), press)
  drawAll(part("all"), data)
  part("empty").hidden = !data.empty
  text(part("empty"), data.empty)
  const more = part("more")
  more.hidden = !data.hasMore
  text(more, data.words.more)
  more.onclick = () => press({ action: "more" })
}
