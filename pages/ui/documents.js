// The list of documents: one line each. Python sends what the page shows; this draws it and reports what was pressed.

const ICONS = {
  queued: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  running: "M21 12a9 9 0 1 1-6.2-8.56",
  ready: "m8 12 3 3 5-6M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  failed: "M12 8v5m0 3v.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  cancelled: "M6 18 18 6M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  cancel: "M6 6l12 12M18 6 6 18",
  retry: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  chunks: "M4 6h16M4 12h16M4 18h10",
  replace: "M12 15V4m0 0 4 4m-4-4-4 4M5 19h14",
  download: "M12 4v11m0 0 4-4m-4 4-4-4M5 19h14",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
}
const ACTIONS = ["cancel", "retry", "chunks", "replace", "download", "delete"]

function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  drawing.setAttribute("viewBox", "0 0 24 24")
  drawing.setAttribute("aria-hidden", "true")
  drawing.appendChild(document.createElementNS(drawing.namespaceURI, "path")).setAttribute("d", ICONS[name])
  return drawing
}

function element(tag, className, role) {
  const made = document.createElement(tag)
  made.className = className
  if (role) made.setAttribute("role", role)
  return made
}

function text(target, value) {
  if (target.textContent !== value) target.textContent = value
}

// --- the head: each column sorts ---

function drawHead(head, data, press) {
  data.columns.forEach((column, index) => {
    const cell = head.children[index] ?? head.appendChild(element("div", "", "columnheader"))
    cell.className = `zw-docs-${column.name}`
    if (!column.order) {
      text(cell, column.label)
      return
    }
    const button = cell.firstChild ?? cell.appendChild(element("button", "zw-docs-sort"))
    button.type = "button"
    text(button, column.label)
    const isSorted = column.order === data.order
    button.dataset.sorted = isSorted ? column.direction : ""
    cell.setAttribute("aria-sort", isSorted ? column.direction : "none")
    button.title = isSorted ? data.words.unsort : data.words.sort
    button.onclick = () => press({ action: "sort", order: isSorted ? "" : column.order })
  })
}

// --- the rows ---

function newRow() {
  const row = element("div", "", "row")
  for (const name of ["state", "name", "chunks", "size", "date", "actions"]) {
    row.appendChild(element("div", `zw-docs-${name}`, "cell"))
  }
  row.querySelector(".zw-docs-name").append(element("b", ""), element("span", "zw-docs-note"))
  row.querySelector(".zw-docs-state").append(element("span", "zw-docs-icon"), element("span", "zw-docs-label"))
  return row
}

function drawRow(row, item, data, press) {
  row.className = `zw-docs-row st-key-document-${item.id}`
  row.dataset.state = item.state
  const [state, name, chunks, size, date, actions] = row.children
  if (state.dataset.icon !== item.icon) {
    state.dataset.icon = item.icon
    state.firstChild.replaceChildren(icon(item.icon))
  }
  text(state.lastChild, item.label)
  text(name.firstChild, item.name)
  name.title = item.name
  drawNote(name, item, press)
  text(chunks, item.chunks)
  text(size, item.size)
  text(date, item.date)
  drawDetail(row, item)
  drawActions(actions, item, data, press)
}

// A note on how the file was read opens the drawer, which lists all of them.
function drawNote(name, item, press) {
  const tag = item.hint ? "BUTTON" : "SPAN"
  if (name.lastChild.tagName !== tag) name.lastChild.replaceWith(element(tag, "zw-docs-note"))
  const note = name.lastChild
  text(note, item.note)
  if (!item.hint) return
  note.type = "button"
  note.title = item.hint
  note.onclick = () => press({ action: "chunks", id: item.id })
}

function drawDetail(row, item) {
  let detail = row.querySelector(".zw-docs-detail")
  const tag = item.state === "failed" ? "DETAILS" : "DIV"
  if (!item.detail) {
    detail?.remove()
    return
  }
  if (detail?.tagName !== tag) {
    detail?.remove()
    detail = row.appendChild(element(tag, "zw-docs-detail", "cell"))
    detail.append(element(tag === "DETAILS" ? "summary" : "span", "zw-docs-reason"))
    detail.append(element("div", "zw-docs-bar", "progressbar"))
    detail.lastChild.appendChild(document.createElement("i"))
  }
  text(detail.firstChild, item.detail)
  detail.firstChild.title = item.detail
  const bar = detail.lastChild
  bar.hidden = item.progress === null
  if (item.progress === null) return
  bar.setAttribute("aria-label", item.detail)
  bar.setAttribute("aria-valuenow", Math.round(item.progress * 100))
  bar.firstChild.style.width = `${item.progress * 100}%`
}

// A button stays the same element while its row lasts, so that the keyboard's focus stays on it.
function drawActions(cell, item, data, press) {
  for (const action of ACTIONS) {
    const key = `st-key-${action}-${item.id}`
    let holder = [...cell.children].find((child) => child.dataset.action === action)
    if (!item.actions.includes(action)) {
      holder?.remove()
      continue
    }
    if (!holder) {
      holder = element("span", "")
      holder.dataset.action = action
      const control = holder.appendChild(element(action === "download" ? "a" : "button", "zw-docs-action"))
      control.append(icon(action))
      if (action !== "download") control.type = "button"
      const later = ACTIONS.slice(ACTIONS.indexOf(action) + 1)
      cell.insertBefore(holder, [...cell.children].find((child) => later.includes(child.dataset.action)) ?? null)
    }
    holder.className = key
    const control = holder.firstChild
    control.title = data.words[action]
    control.setAttribute("aria-label", `${data.words[action]}: ${item.name}`)
    if (action === "download") {
      const query = new URLSearchParams({ ticket: data.ticket, language: data.code })
      control.href = new URL(`api/originals/${data.base}/${item.version}?${query}`, document.baseURI).href
      control.download = item.name
    } else if (action === "replace") {
      control.onclick = () => chooseVersion(item, data.base)
    } else {
      control.onclick = () => press({ action, id: item.id })
    }
  }
}

// The uploader of this page (uploader.js) sends the file.
function chooseVersion({ id, name, accept }, base) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept })
  input.onchange = () => {
    const detail = { file: input.files[0], base, replaces: { id, name } }
    if (detail.file) document.dispatchEvent(new CustomEvent("zhiwen-new-version", { detail }))
  }
  input.click()
}

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const table = parentElement.querySelector(".zw-docs")
  const press = (value) => setTriggerValue("pressed", value)
  table.setAttribute("aria-label", data.words.title)
  table.hidden = !data.rows.length
  // Each row is a grid of its own: with as much room for buttons in all, their columns are below each other.
  table.style.setProperty("--zw-actions", Math.max(0, ...data.rows.map((item) => item.actions.length)))
  drawHead(table.querySelector(".zw-docs-head"), data, press)
  const body = table.querySelector(".zw-docs-body")
  const known = new Map([...body.children].map((row) => [row.dataset.id, row]))
  const rows = data.rows.map((item) => {
    const row = known.get(item.id) ?? newRow()
    row.dataset.id = item.id
    drawRow(row, item, data, press)
    return row
  })
  const isSame = rows.length === body.children.length && rows.every((row, index) => body.children[index] === row)
  if (!isSame) body.replaceChildren(...rows)
}
