// The uploads of this browser tab. Streamlit loads this module once per tab, so uploads continue while other pages of
// the app are open; the component that is mounted at the moment only shows them.

const AT_ONCE = 3
const SHOWN_ROWS = 6
const REPORT_MS = 3000
const RETRY_SECONDS = [1, 2, 4, 8, 15, 30] // after a lost connection
const SYSTEM_FILE = /^(~\$|\._)|^(\.DS_Store|Thumbs\.db|desktop\.ini)$/i

let uploads = []
let leftOut = []
let sessions = new Map() // knowledge base → the newest ticket and address for it
let view = null // the mounted component
let lastPlace = {} // where the component was mounted last
let lostConnections = 0 // since something last arrived
let resumeTimer = 0
let reported = { at: 0, isDone: true } // when the page was last told; 0: not yet

const isPending = (upload) => upload.state === "waiting" || upload.state === "sending"
const pending = () => uploads.filter(isPending)

window.addEventListener("beforeunload", (event) => {
  if (pending().length) event.preventDefault()
})

// --- choosing ---

function add(files, base) {
  const kept = files.filter(({ file, name }) => {
    // Inside a folder, what is hidden belongs to programs: .git, .venv …
    const isHidden = name.includes("/") && name.split("/").some((part) => part.startsWith("."))
    if (!SYSTEM_FILE.test(file.name) && !isHidden) return true
    leftOut.push(name)
    return false
  })
  if (!pending().length) {
    keepFailed()
    if (kept.length === files.length) leftOut = []
    reported = { at: 0, isDone: true }
  }
  for (const { file, name, replaces } of kept) {
    const upload = { file, name, base, replaces, state: "waiting", sent: 0 }
    uploads.push(upload)
    if (file.size > base.limitBytes) fail(upload, { message: base.tooLarge.replace("{name}", name), remedy: "" })
    else reported.isDone = false
  }
  pump()
}

function keepFailed() {
  uploads = uploads.filter((upload) => upload.state === "failed")
}

// A new version of a document, which was chosen in the list of documents (documents.js).
document.addEventListener("zhiwen-new-version", ({ detail: { file, base, replaces } }) => {
  if (view?.data.id !== base) return
  add([{ file, name: file.name, replaces }], view.data)
  view.root.scrollIntoView({ block: "nearest" }) // the row may be far below
})

function chosen(input) {
  // A path longer than a document's name may be would lose its extension.
  const name = (file) => (file.webkitRelativePath.length <= 200 && file.webkitRelativePath) || file.name
  return [...input.files].map((file) => ({ file, name: name(file) }))
}

async function dropped(transfer) {
  // Both must be read before the first await: the browser empties the transfer after the event.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  const plain = [...transfer.files].map((file) => ({ file, name: file.name }))
  if (!entries.some((entry) => entry.isDirectory)) return plain
  const found = []
  for (const entry of entries) await walk(entry, found)
  return found
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null)
    const path = entry.fullPath.replace(/^\//, "")
    if (file) found.push({ file, name: path.length <= 200 ? path : file.name })
    return
  }
  const reader = entry.createReader()
  for (;;) {
    const children = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => [])
    if (!children.length) return // a browser reads a folder in portions
    for (const child of children) await walk(child, found)
  }
}

// --- sending ---

function pump() {
  clearTimeout(resumeTimer)
  let free = AT_ONCE - uploads.filter((upload) => upload.state === "sending").length
  for (const upload of uploads) {
    if (free <= 0) break
    if (upload.state !== "waiting") continue
    send(upload)
    free -= 1
  }
  draw()
  report()
}

function send(upload) {
  const { url, ticket } = sessions.get(upload.base.id)
  const query = new URLSearchParams({ name: upload.name, language: upload.base.language })
  if (upload.replaces) query.set("replaces", upload.replaces.id)
  const request = new XMLHttpRequest() // fetch() reports no progress of uploads
  upload.state = "sending"
  upload.sent = 0
  upload.request = request
  request.upload.onprogress = (event) => {
    upload.sent = Math.min(event.loaded, upload.file.size)
    draw()
  }
  request.onload = () => settle(upload, request)
  request.onerror = () => loseConnection(upload)
  request.open("PUT", `${url}?${query}`)
  request.setRequestHeader("X-Ticket", ticket)
  request.send(upload.file)
}

function settle(upload, request) {
  if (request.status === 200 || request.status === 201) {
    const answer = JSON.parse(request.responseText)
    upload.state = answer.was_there ? "present" : "saved"
    upload.sent = upload.file.size
    upload.workersTold = answer.workers_told
    upload.sharesName = answer.shares_name
    lostConnections = 0
    pump()
    return
  }
  let answer = {}
  try {
    answer = JSON.parse(request.responseText)
  } catch {
    answer = { message: upload.base.words.refused.replace("{status}", request.status), can_retry: true }
  }
  if (answer.code === "page_closed") {
    waitForConnection(upload, { message: upload.base.words.closed, canRetry: true })
    return
  }
  const failure = { message: answer.message, remedy: answer.remedy, canRetry: answer.can_retry }
  fail(upload, failure)
  if ([503, 507].includes(request.status) || answer.code === "queue_full") holdWaiting(failure)
  pump()
}

async function loseConnection(upload) {
  const { words } = upload.base
  const isReadable = await upload.file.slice(0, 1).arrayBuffer().then(() => true, () => false)
  if (upload.state !== "sending") return // cancelled meanwhile
  if (!isReadable) {
    fail(upload, { message: words.unreadable })
    pump()
  } else if (upload.file.size && upload.sent === upload.file.size) {
    fail(upload, { message: words.unconfirmed, canRetry: true })
    pump()
  } else {
    waitForConnection(upload, { message: words.lost, canRetry: true })
  }
}

function waitForConnection(upload, failure) {
  const seconds = RETRY_SECONDS[lostConnections]
  lostConnections += 1
  if (seconds === undefined) {
    fail(upload, failure)
    holdWaiting(failure)
    lostConnections = 0
    pump()
    return
  }
  upload.state = "waiting"
  upload.sent = 0
  clearTimeout(resumeTimer)
  resumeTimer = setTimeout(pump, seconds * 1000)
  draw()
}

function fail(upload, failure) {
  upload.state = "failed"
  upload.sent = 0
  upload.failure = failure
}

// What stopped one file stops the others, too: no need to send them to hear it again.
function holdWaiting(failure) {
  for (const upload of uploads) if (upload.state === "waiting") fail(upload, failure)
}

function cancel(upload) {
  upload.state = "cancelled"
  upload.request?.abort()
}

function retry(upload) {
  upload.state = "waiting"
  upload.failure = null
  reported.isDone = false
}

// --- telling the page ---

// The list follows every few seconds, and the last saved file is announced.
function report() {
  if (!view || reported.isDone) return
  const [saved, present] = ["saved", "present"].map((state) =>
    uploads.filter((upload) => upload.state === state && !upload.isAnnounced),
  )
  const isDone = !pending().length
  if (!isDone && (!saved.length || (reported.at && performance.now() - reported.at < REPORT_MS))) return
  const isFirst = !reported.at
  reported = { at: performance.now(), isDone }
  if (isDone) for (const upload of [...saved, ...present]) upload.isAnnounced = true
  const added = saved.filter((upload) => !upload.replaces)
  view.tell({
    saved: saved.length,
    present: present.length,
    knowledge_bases: [...new Set(added.map((upload) => upload.base.id))],
    workers_told: saved.every((upload) => upload.workersTold),
    is_first: isFirst,
    is_done: isDone,
  })
}

// --- drawing ---

let isDrawing = false

function draw() {
  if (isDrawing || !view) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    if (view) drawNow(view)
  })
}

function drawNow({ root, data }) {
  const { words, language } = data
  const panel = root.querySelector(".zw-up-panel")
  const shown = uploads.filter((upload) => upload.state !== "cancelled")
  panel.hidden = !shown.length && !leftOut.length
  const count = (state) => shown.filter((upload) => upload.state === state).length
  const [saved, present, failed] = ["saved", "present", "failed"].map(count)
  const shareNames = shown.filter((upload) => upload.sharesName).length
  const total = shown.reduce((sum, upload) => sum + upload.file.size, 0)
  const sent = shown.reduce((sum, upload) => sum + (upload.state === "failed" ? 0 : upload.sent), 0)
  const number = new Intl.NumberFormat(tag(language))

  const counted = (amount, one, many) => fill(amount === 1 ? one : many, { count: number.format(amount) })
  const others = shown.length - present
  const outcome = []
  if (others) outcome.push(fill(words.saved, { done: number.format(saved), total: number.format(others) }))
  if (failed) outcome.push(counted(failed, words.failed, words.failed))
  if (present) outcome.push(counted(present, words.presentOne, words.present))
  const ended = outcome.join(" · ")
  if (pending().length) outcome.push(fill(words.bytes, { done: bytes(sent, language), total: bytes(total, language) }))
  if (lostConnections) outcome.push(words.reconnecting)
  const line = outcome.join(" · ")
  text(panel.querySelector(".zw-up-line"), line)
  const bar = panel.querySelector(".zw-up-total")
  bar.hidden = !pending().length
  setBar(bar, total ? sent / total : 0, line)

  show(panel.querySelector(".zw-up-retry"), shown.some((upload) => upload.failure?.canRetry), words.retryAll)
  show(panel.querySelector(".zw-up-cancel"), pending().length > 0, words.cancelAll)
  show(panel.querySelector(".zw-up-dismiss"), !pending().length, words.dismiss)

  const order = { sending: 0, failed: 1 }
  const rows = shown.filter((upload) => upload.state in order)
  rows.sort((one, other) => order[one.state] - order[other.state])
  drawRows(panel.querySelector(".zw-up-rows"), rows.slice(0, SHOWN_ROWS + AT_ONCE), view)
  const more = [
    [count("waiting"), words.waiting],
    [Math.max(rows.length - SHOWN_ROWS - AT_ONCE, 0), words.moreFailed],
  ].filter(([amount]) => amount)
  text(panel.querySelector(".zw-up-more"), more.map(([n, word]) => fill(word, { count: number.format(n) })).join(" · "))
  text(panel.querySelector(".zw-up-names"), shareNames && !pending().length
    ? counted(shareNames, words.sharesNameOne, words.shareNames) : "")
  const names = leftOut.slice(0, 3).join(", ") + (leftOut.length > 3 ? " …" : "")
  text(panel.querySelector(".zw-up-left"), leftOut.length
    ? fill(words.leftOut, { count: number.format(leftOut.length), names }) : "")
  // Screen readers hear how it ended, and each failure; not every percent.
  if (!pending().length || failed) text(root.querySelector("[role=status]"), ended)
}

function drawRows(list, rows, { data }) {
  const { words } = data
  while (list.children.length > rows.length) list.lastChild.remove()
  rows.forEach((upload, index) => {
    const row = list.children[index] ?? list.appendChild(newRow())
    const { state, failure } = upload
    const isSent = upload.sent === upload.file.size
    row.dataset.state = state
    const name = upload.replaces ? fill(words.newVersion, { name: upload.name, document: upload.replaces.name }) : upload.name
    const target = upload.base.id === data.id ? name : `${name} → ${upload.base.name}`
    text(row.querySelector(".zw-up-name"), target)
    row.querySelector(".zw-up-name").title = target
    const share = upload.file.size ? upload.sent / upload.file.size : 0
    const percent = new Intl.NumberFormat(tag(data.language), { style: "percent" }).format(share)
    const size = bytes(upload.file.size, data.language)
    text(row.querySelector(".zw-up-state"), state === "failed" ? "" : isSent ? words.saving : `${percent} · ${size}`)
    text(row.querySelector(".zw-up-reason"), failure ? joinSentences(failure.message, failure.remedy) : "")
    const bar = row.querySelector("[role=progressbar]")
    bar.hidden = state !== "sending"
    setBar(bar, share, upload.name)
    const again = row.querySelector(".zw-up-again")
    show(again, Boolean(failure?.canRetry), words.retry)
    again.onclick = () => { retry(upload); pump() }
    const stop = row.querySelector(".zw-up-stop")
    show(stop, true, state === "failed" ? words.dismiss : words.cancel)
    stop.setAttribute("aria-label", `${stop.textContent}: ${upload.name}`)
    stop.onclick = () => { cancel(upload); pump() }
  })
}

function newRow() {
  const row = document.createElement("li")
  row.innerHTML = `<span class="zw-up-name"></span><span class="zw-up-state"></span>
    <span class="zw-up-reason"></span>
    <button type="button" class="zw-up-link zw-up-again"></button><button type="button" class="zw-up-link zw-up-stop"></button>
    <div class="zw-up-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100"><i></i></div>`
  return row
}

function setBar(bar, share, label) {
  const percent = Math.round(share * 100)
  bar.setAttribute("aria-valuenow", percent)
  bar.setAttribute("aria-label", label)
  bar.firstElementChild.style.width = `${percent}%`
}

function show(button, isShown, label) {
  button.hidden = !isShown
  text(button, label)
}

function text(element, value) {
  if (element.textContent !== value) element.textContent = value
}

const fill = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name])

// After a full-width stop, no space follows.
const joinSentences = (first, second) => `${first}${second && !/[。！？]$/.test(first) ? " " : ""}${second ?? ""}`

// As browsers write languages: zh-TW for zh_TW.
function tag(language) {
  return language.replace("_", "-")
}

function bytes(amount, language) {
  let unit = 0
  while (amount >= 1000 && unit < 3) {
    amount /= 1000
    unit += 1
  }
  const digits = unit && amount < 10 ? 1 : 0
  const formatted = new Intl.NumberFormat(tag(language), { maximumFractionDigits: digits }).format(amount)
  return `${formatted} ${["B", "kB", "MB", "GB"][unit]}`
}

// --- mounting ---

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".zw-up")
  const { words } = data
  // Relative to the page, so that it also works below a base path.
  const url = new URL(`api/uploads/${data.id}`, document.baseURI).href
  sessions.set(data.id, { ticket: data.ticket, url })
  view = { root, data, tell: (value) => setTriggerValue("saved", value) }

  text(root.querySelector(".zw-up-label"), words.label)
  text(root.querySelector(".zw-up-drop-text"), words.drop)
  text(root.querySelector(".zw-up-hint"), words.hint)
  const input = root.querySelector("input[type=file]")
  input.setAttribute("aria-label", words.label)
  input.onchange = () => {
    add(chosen(input), data)
    input.value = "" // the same file may be chosen again
  }
  const choose = root.querySelector(".zw-up-files")
  text(choose, words.files)
  choose.onclick = () => input.click()
  const folder = root.querySelector(".zw-up-folder")
  text(folder, words.folder)
  folder.onclick = () => {
    const picker = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true })
    picker.onchange = () => add(chosen(picker), data)
    picker.click()
  }
  const zone = root.querySelector(".zw-up-zone")
  zone.ondragenter = zone.ondragover = (event) => {
    event.preventDefault()
    zone.classList.add("zw-over")
  }
  zone.ondragleave = (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("zw-over")
  }
  zone.ondrop = async (event) => {
    event.preventDefault()
    zone.classList.remove("zw-over")
    add(await dropped(event.dataTransfer), data)
  }
  root.querySelector(".zw-up-retry").onclick = () => {
    for (const upload of uploads) if (upload.failure?.canRetry && upload.state === "failed") retry(upload)
    pump()
  }
  root.querySelector(".zw-up-cancel").onclick = () => {
    pending().forEach(cancel)
    pump()
  }
  root.querySelector(".zw-up-dismiss").onclick = () => {
    uploads = []
    leftOut = []
    draw()
  }
  // A file that misses the zone must not replace the page.
  document.ondragover = document.ondrop = (event) => event.preventDefault()

  // What is to be read stays until the page shows something else.
  const hasNotes = uploads.some((upload) => upload.state === "present" || upload.sharesName)
  const isSame = lastPlace.root === root && lastPlace.id === data.id
  if (!pending().length && reported.isDone && !(hasNotes && isSame)) keepFailed()
  lastPlace = { root, id: data.id }
  draw()
  report()
  return () => {
    if (view?.root === root) view = null
    document.ondragover = document.ondrop = null
  }
}
