// A login session that ends while its page is open, and the files in the chat's field, which a sign-in would lose.
// One module with frame.js.

const LOOK_MS = 3_000; // between two looks of a page that is not connected, or signed out
const IDLE_LOOK_MS = 20_000; // and of any other one that is in view
const DAY_MS = 86_400_000;

let home = ""; // the chat's path, where there is a login
let isSignedOut = false;
let tellServer = () => {};
let lastLook = performance.now();
let isLooking = false;
let keeping = Promise.resolve();

function followSession(data, tell) {
  home = data.home;
  isSignedOut = data.isSignedOut;
  tellServer = tell;
  if (!isSignedOut) return restoreFiles();
  keepFiles(data.hasUnsentFiles ? sent : attached);
  soughtFor = undefined;
}

// The page of a session that was ended elsewhere would stay as it is until the next click. What it shows goes away by
// itself, and comes back once its user has signed in again in any tab. Of a page that is not connected, only the
// browser can tell: the server takes nobody in without a session, and Streamlit would try to connect for ever.
async function look() {
  const app = document.querySelector("[data-testid=stApp]");
  if (!home || !app || isLooking || document.hidden) return;
  const isConnected = app.dataset.testConnectionState === "CONNECTED";
  if (isConnected && !isSignedOut && performance.now() - lastLook < IDLE_LOOK_MS) return;
  lastLook = performance.now();
  isLooking = true;
  try {
    const reply = await fetch(`${home}session`, { cache: "no-store" });
    if (!reply.ok && reply.status !== 401) return;
    const isHere = reply.ok && (await reply.json()).user === user;
    if (isSignedOut) {
      if (isHere) keeping.then(() => location.reload());
    } else if (isConnected) {
      if (!isHere) tellServer();
    } else if (!reply.ok) {
      keepDrafts();
      keepFiles(attached);
      await keeping;
      location.assign(`${home}login?next=${encodeURIComponent(location.pathname + location.search)}`);
    }
  } catch {
    // The server itself is away; the next look may find it.
  } finally {
    isLooking = false;
  }
}

function lookNow() {
  lastLook = -Infinity;
  look();
}

setInterval(look, LOOK_MS);
document.addEventListener("visibilitychange", lookNow);
window.addEventListener("focus", lookNow);

// --- the files in the chat's field ---

const FILE_FIELD = '.st-key-question input[type="file"]';
let attached = []; // { file, isShown }
let sent = []; // what left the field with the last question
let soughtFor; // the conversation whose kept files were looked for

function noteFiles(event) {
  if (!event.target.closest?.(".st-key-question")) return;
  const files = event.type === "change" ? event.target.files : (event.dataTransfer ?? event.clipboardData)?.files;
  attached.push(...Array.from(files ?? [], (file) => ({ file, isShown: false })));
}
for (const type of ["change", "drop", "paste"]) document.addEventListener(type, noteFiles, { capture: true });

function noteSending() {
  sent = attached;
}

// Files that the field shows no longer were sent or removed.
function followFiles() {
  const field = document.querySelector(".st-key-question");
  if (!field) return;
  const shown = Array.from(field.querySelectorAll('[data-testid="stFileChipName"]'), (name) => name.title);
  attached = attached.filter((each) => {
    const place = shown.indexOf(each.file.name);
    if (place < 0) return !each.isShown;
    shown.splice(place, 1);
    return (each.isShown = true);
  });
  restoreFiles();
}

// Only for the way through the sign-in: nothing of a user stays in a browser that somebody else uses next.
function keepFiles(files) {
  if (!files.length) return;
  const kept = { user, conversation, files: files.map(({ file }) => file), time: Date.now() };
  keeping = inStore("readwrite", (store) => store.put(kept, "files"));
}

async function restoreFiles() {
  if (!home || isSignedOut || soughtFor === conversation || !document.querySelector(FILE_FIELD)) return;
  soughtFor = conversation;
  const kept = await inStore("readonly", (store) => store.get("files"));
  const isOurs = kept?.user === user && Date.now() - kept.time < DAY_MS;
  if (!kept || (isOurs && kept.conversation !== conversation)) return;
  await inStore("readwrite", (store) => store.delete("files"));
  if (!isOurs) return;
  const field = document.querySelector(FILE_FIELD);
  const choice = new DataTransfer();
  for (const file of kept.files) choice.items.add(file);
  field.files = choice.files; // as if they were chosen: Streamlit sends them to the server again
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

// What `act` asks of the browser's own store; undefined where that keeps nothing for this site.
function inStore(mode, act) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("zhiwen", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
    opening.onerror = reject;
    opening.onsuccess = () => {
      const transaction = opening.result.transaction("kept", mode);
      const request = act(transaction.objectStore("kept"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = reject;
      opening.result.close(); // once the transaction has ended
    };
  }).catch(() => undefined);
}
