// The page's frame in the browser: the document's language, Streamlit's own words, the sidebar on a phone, the
// theme, Esc, and what was typed but not sent. session.js belongs to the same module.

const PHONE = "(max-width: 768px)"; // Streamlit's own breakpoint: below it, the sidebar covers the page
const PAUSE_MS = 100; // between two passes over the page while it changes
const CLOSED_BY_ESC = "[role=dialog], [role=listbox], [role=menu]:not([popover]), [popover]:popover-open, [data-testid=stMainMenuPopover], .zw-act details[open]";

const DRAFTS = "zhiwen-drafts"; // in the browser's storage: F5, another page and a new tab find them there. Each user's own
const MOST_DRAFTS = 30;

let rules = []; // [selector, attribute or "" for text, [[pattern, template], …]]
let english = new Map(); // what we wrote → what Streamlit had written, so that another language can follow
let shownChoice; // the last choice that this tab has seen
let lastPass = 0;
let nextPass = 0;

export default function ({ data: [data], setTriggerValue }) {
  document.documentElement.lang = data.language;
  const traditional = document.getElementById("zw-traditional"); // traditional.css
  if (traditional) traditional.media = data.language === "zh-Hant" ? "all" : "not all";
  rules = data.words.map(([selector, attribute, words]) => [
    selector,
    attribute,
    words.map(([from, to]) => [matcher(from), to]),
  ]);
  translate();
  user = data.user;
  queued = data.unsent || data.next;
  dropAsked(...data.asked);
  followConversation(data);
  followSession(data, () => setTriggerValue("ended", Date.now()));
  if (data.unsent) keepUnsent(data.unsent); // the field is gone
  keepDrafts();
  if (shownChoice !== undefined && shownChoice !== data.choice && matchMedia(PHONE).matches) closeSidebar();
  shownChoice = data.choice;
}

// "Help for {name}" matches every name; all other characters stand for themselves.
function matcher(text) {
  const escaped = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\{(\w+)\}/g, "(?<$1>[^]*)")}$`);
}

function closeSidebar() {
  const sidebar = document.querySelector('[data-testid="stSidebar"][data-collapsed="false"]');
  if (sidebar?.contains(document.activeElement)) document.activeElement.blur(); // else its list would not open again
  sidebar?.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
}

// The line above the input field names what the sidebar's choices are (composer.py).
document.addEventListener("click", (event) => {
  if (event.target.closest(".st-key-choice button")) {
    document.querySelector('[data-testid="stExpandSidebarButton"]')?.click();
  }
});

// Streamlit keeps a chosen theme for the page that was loaded. It is meant for all of them.
document.addEventListener(
  "click",
  (event) => {
    const item = event.target.closest('[data-testid^="stMainMenuItem-theme-"]');
    if (!item) return;
    const theme = JSON.stringify(item.dataset.testid.split("-").pop());
    for (const link of document.querySelectorAll('[data-testid="stSidebarNavLink"]')) {
      localStorage.setItem(`stActiveTheme-${new URL(link.href).pathname}-v2`, theme);
    }
  },
  { capture: true }, // before the menu closes
);

// What is opened stays where it was clicked. A page that is at its end follows that end when it grows, by writing
// `scrollTop` in an animation, and lets go only when somebody scrolls: a step that was opened would leave the view.
const HELD_MS = 2500;
const RELEASE_MS = 130; // Streamlit looks at most every 100 ms whether somebody has scrolled
const PAGE = '[data-testid="stAppScrollToBottomContainer"]';
const SCROLL_TOP = Object.getOwnPropertyDescriptor(Element.prototype, "scrollTop");

function holdPlace(box) {
  if (Object.hasOwn(box, "scrollTop")) return;
  let pulledAt = -Infinity;
  let step = 1;
  const place = () => SCROLL_TOP.get.call(box);
  Object.defineProperty(box, "scrollTop", { configurable: true, get: place, set: () => (pulledAt = performance.now()) });
  const release = setInterval(() => {
    if (performance.now() - pulledAt > RELEASE_MS) return;
    box.dispatchEvent(new Event("wheel")); // ends the animation
    SCROLL_TOP.set.call(box, place() + step);
    step = -step;
  }, RELEASE_MS);
  setTimeout(() => (clearInterval(release), delete box.scrollTop), HELD_MS);
}
document.addEventListener(
  "click",
  (event) => {
    const box = event.target.closest?.("summary")?.closest(PAGE);
    if (box) holdPlace(box);
  },
  { capture: true },
);

// The drawer of a passage opens at the sentence that matches: on the image of its page, else in its text. Once somebody
// has moved in it, it stays.
const AROUND = 80; // pixels of the drawer that stay in view above and below
const settled = new WeakSet(); // drawers
const shownMatches = new WeakMap(); // a drawer → what it was scrolled to

function showMatch() {
  const drawer = document.querySelector(".st-key-drawer")?.closest("[role=dialog]");
  if (!drawer || settled.has(drawer)) return;
  const match = drawer.querySelector(".zw-match") ?? drawer.querySelector("mark");
  if (!match || shownMatches.get(drawer) === match) return;
  shownMatches.set(drawer, match);
  const show = () => settled.has(drawer) || bringIntoView(match);
  show();
  match.closest(".zw-page")?.querySelector("img").addEventListener("load", show); // which moves the match
}

// `scrollIntoView` would scroll sideways, too, as the drawer is still sliding in.
function bringIntoView(element) {
  let box = element.parentElement;
  while (box && !(box.scrollHeight > box.clientHeight && /auto|scroll/.test(getComputedStyle(box).overflowY))) {
    box = box.parentElement;
  }
  if (!box) return;
  const place = element.getBoundingClientRect();
  const view = box.getBoundingClientRect();
  if (place.top < view.top + AROUND) box.scrollTop += place.top - view.top - AROUND;
  else if (place.bottom > view.bottom - AROUND) box.scrollTop += place.bottom - view.bottom + AROUND;
}
for (const kind of ["wheel", "pointerdown", "keydown"]) {
  const settle = ({ target }) => target.closest?.("[role=dialog]") && settled.add(target.closest("[role=dialog]"));
  document.addEventListener(kind, settle, { capture: true, passive: true });
}

// A question that is sent comes into view, also from a page that no longer follows its end.
function goToEnd() {
  const box = document.querySelector(PAGE);
  if (!box) return;
  delete box.scrollTop;
  box.scrollTop = box.scrollHeight;
}

// Esc stops the running answer, unless there is something open that it closes. Capturing: before that is closed.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key !== "Escape" || event.isComposing || document.querySelector(CLOSED_BY_ESC)) return;
    document.querySelector(".st-key-stop button")?.click();
  },
  { capture: true },
);

// Streamlit sends a question without the files that the browser refused, and forgets them. It is to wait instead, until
// they are removed; composer.py says so above the field.
const REFUSED_FILE = '.st-key-question [data-testid="stFileChip"][aria-invalid="true"]';
// It ignores Enter while the browser uploads a file. The question is sent then, unless somebody has changed it.
const UPLOADING_FILE = '.st-key-question [data-testid="stFileChipIconSpinner"]';
let awaiting; // that question

function beforeSending(event) {
  const isSent =
    event.type === "click"
      ? event.target.closest?.('.st-key-question [data-testid="stChatInputSubmitButton"]')
      : event.key === "Enter" && !event.isComposing && event.target.closest?.(".st-key-question textarea");
  if (event.type === "click" && event.target.closest?.(".st-key-question")) awaiting = undefined;
  if (!isSent || event.shiftKey) return;
  if (document.querySelector(UPLOADING_FILE)) {
    awaiting = event.target.value || undefined; // the button is disabled
  } else if (!document.querySelector(REFUSED_FILE)) {
    noteSending();
    return goToEnd();
  }
  event.preventDefault();
  event.stopImmediatePropagation();
}
for (const type of ["click", "keydown"]) document.addEventListener(type, beforeSending, { capture: true });

function sendAwaiting() {
  if (awaiting === undefined || document.querySelector(UPLOADING_FILE)) return;
  const isUnchanged = document.querySelector(".st-key-question textarea")?.value === awaiting;
  awaiting = undefined;
  if (isUnchanged) document.querySelector('.st-key-question [data-testid="stChatInputSubmitButton"]')?.click();
}

function translate() {
  lastPass = performance.now();
  for (const [selector, attribute, words] of rules) {
    for (const element of document.querySelectorAll(selector)) {
      if (attribute) {
        const ours = inOurWords(element.getAttribute(attribute) ?? "", words);
        if (ours !== undefined) element.setAttribute(attribute, ours);
      } else {
        const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
          const ours = inOurWords(texts.currentNode.nodeValue, words);
          if (ours !== undefined) texts.currentNode.nodeValue = ours; // in place: React keeps its nodes
        }
      }
    }
  }
}

// Undefined where nothing is to be changed.
function inOurWords(shown, words) {
  const original = english.get(shown) ?? shown.trim();
  for (const [pattern, template] of words) {
    const match = pattern.exec(original);
    if (!match) continue;
    const ours = template.replace(/\{(\w+)\}/g, (_, name) => match.groups[name]);
    english.set(ours, original);
    return ours === shown ? undefined : ours;
  }
}

// --- drafts ---

let user = ""; // whose page it is; "" without a login
let queued = ""; // what is asked once the running answer has ended: a draft until then, for F5 forgets it. In no field
let droppedNumber = 0; // of the last queued question that is known to have been asked
let conversation; // whose question is in the chat's field; "" for one that is not begun yet
const touched = new WeakSet(); // fields that somebody has used since they were drawn
const tries = new WeakMap(); // a field → how often it was given its draft: Streamlit may empty a new one once more
const MOST_TRIES = 10;

// Another conversation has a draft of its own. One that was begun by sending takes along what was typed meanwhile.
function followConversation(data) {
  const field = document.querySelector(".st-key-question textarea");
  const before = conversation;
  if (before === data.conversation) return;
  conversation = data.conversation;
  if (!field || before === undefined) return;
  if (before === "" && data.conversation === data.begun) {
    keep("chat:", "");
    keep(`chat:${conversation}`, field.value);
  } else {
    touched.delete(field);
    tries.delete(field);
    fill(field, draftFor("question"));
  }
}

function dropAsked(of, question, number) {
  if (number === droppedNumber) return;
  droppedNumber = number;
  if (drafts()[`chat:${of}`] === question) keep(`chat:${of}`, "");
}

const FIELDS = { question: "textarea", test_question: "input" };

// What stands in a field that somebody uses is its draft; one that has just been drawn gets it back.
function keepDrafts() {
  if (conversation === undefined) return;
  for (const [key, tag] of Object.entries(FIELDS)) {
    const field = document.querySelector(`.st-key-${key} ${tag}`);
    if (!field) continue;
    const count = tries.get(field) ?? 0;
    if (touched.has(field) || field.value) keep(nameOf(key), field.value || (key === "question" ? queued : ""));
    else if (draftFor(key) && count < MOST_TRIES) {
      tries.set(field, count + 1);
      fill(field, draftFor(key));
    }
  }
}

function nameOf(key) {
  return key === "question" ? `chat:${conversation}` : "test";
}

// What a field that was just drawn gets back. A question that is asked by itself would be asked twice.
function draftFor(key) {
  const draft = drafts()[nameOf(key)] ?? "";
  return key === "question" && draft === queued ? "" : draft;
}

function touch({ target, isTrusted }) {
  for (const [key, tag] of Object.entries(FIELDS)) {
    const field = isTrusted && target.closest?.(`.st-key-${key}`)?.querySelector(tag);
    if (field) touched.add(field);
  }
}

// As if it were typed: React notices no other way.
function fill(field, value) {
  if (field.value === value) return;
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, value);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

// Before what was typed since, if anything was.
function keepUnsent(unsent) {
  const name = `chat:${conversation}`;
  const typed = drafts()[name] ?? "";
  if (unsent.includes(typed)) keep(name, unsent);
  else if (!typed.startsWith(unsent)) keep(name, `${unsent}\n\n${typed}`);
}

function keep(name, value) {
  const { [name]: stored, ...others } = drafts();
  if ((stored ?? "") === value) return;
  const latest = Object.entries(others).slice(1 - MOST_DRAFTS);
  try {
    localStorage.setItem(draftsName(), JSON.stringify(Object.fromEntries(value ? [...latest, [name, value]] : latest)));
  } catch {
    // The browser keeps nothing for this site.
  }
}

function draftsName() {
  return user ? `${DRAFTS}-${user}` : DRAFTS;
}

function drafts() {
  try {
    return JSON.parse(localStorage.getItem(draftsName())) ?? {};
  } catch {
    return {};
  }
}

for (const kind of ["keydown", "pointerdown", "input"]) document.addEventListener(kind, touch, true);
document.addEventListener("input", keepDrafts);
// A question that the page itself put into a field comes without an event.
for (const [kind, target] of [["pagehide", window], ["visibilitychange", document]]) target.addEventListener(kind, keepDrafts);

function pass() {
  translate();
  keepDrafts();
  followFiles();
  showMatch();
  sendAwaiting();
}

new MutationObserver(() => {
  clearTimeout(nextPass);
  const wait = lastPass + PAUSE_MS - performance.now();
  if (wait <= 0) pass();
  else nextPass = setTimeout(pass, wait);
}).observe(document.body, {
  subtree: true,
  childList: true,
  characterData: true,
  attributeFilter: ["aria-label", "placeholder", "title"],
});
