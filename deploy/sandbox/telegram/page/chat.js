// The chat page: a list of persons, one open chat, and a stream of what happens. No build step, no library.

const $ = (id) => document.getElementById(id);
const chats = new Map(); // person id -> ChatView, see persons_api.py
const messages = new Map(); // message_id -> message of the open chat
let openId = null;
let words = {};
let language = remembered("language") ?? (navigator.language.startsWith("ru") ? "ru" : "en");

const _ = (text) => words[text] ?? text;

function remembered(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* a private window forgets, and that is all */ }
}

// An element with properties and children; texts go in as text, never as HTML.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { "Accept-Language": language, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(answer.errors?.map((fault) => fault.detail).join("; ") || answer.detail || response.statusText);
  }
  return answer;
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    toast(error instanceof TypeError ? _("The sandbox does not answer.") : error.message);
  }
}

const person = (path) => `/sandbox/persons/${openId}/${path}`;

// --- language

async function speak(chosen) {
  language = chosen;
  remember("language", language);
  words = await ask("GET", `/words/${language}`);
  document.documentElement.lang = language;
  document.title = `Kopilka · ${_("Telegram sandbox")}`;
  $("language").textContent = language === "ru" ? "English" : "Русский";
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = _(each.dataset.text);
  for (const each of document.querySelectorAll("[data-hint]")) each.placeholder = _(each.dataset.hint);
  for (const each of document.querySelectorAll("[data-label]")) each.ariaLabel = each.title = _(each.dataset.label);
  showList();
  if (openId !== null) showChat();
}

// --- the list

const fullName = (chat) => [chat.first_name, chat.last_name].filter(Boolean).join(" ");
const initials = (chat) => (chat.first_name[0] + (chat.last_name?.[0] ?? "")).toUpperCase();
const colour = (id) => `hsl(${(id * 47) % 360} 45% 45%)`;
const clock = (date) => new Date(date * 1000).toLocaleTimeString(language, { timeStyle: "short", hourCycle: "h23" });
const day = (date) => new Date(date * 1000).toLocaleDateString(language, { day: "numeric", month: "long" });

function preview(chat) {
  const last = chat.last_message;
  if (!last) return chat.phone;
  const text = last.contact ? _("Contact") : last.text;
  return (last.from_bot ? "" : `${_("You")}: `) + text.replaceAll("\n", " ");
}

function listed(chat) {
  const avatar = make("span", { className: "avatar" }, initials(chat));
  avatar.style.background = colour(chat.id);
  const button = make(
    "button", { type: "button" },
    avatar,
    make("b", {}, (chat.blocked ? "⛔ " : "") + fullName(chat)),
    chat.last_message ? make("time", {}, clock(chat.last_message.date)) : null,
    make("span", { className: "last" }, preview(chat)),
    chat.unread ? make("span", { className: "unread" }, String(chat.unread)) : null,
  );
  button.ariaCurrent = String(chat.id === openId);
  button.onclick = () => { location.hash = chat.id; };
  return make("li", {}, button);
}

let listIsDue = false;

function showList() {
  if (listIsDue) return;
  listIsDue = true;
  requestAnimationFrame(() => {
    listIsDue = false;
    const wanted = $("search").value.trim().toLowerCase();
    const found = [...chats.values()].filter((chat) => `${fullName(chat)} ${chat.phone}`.toLowerCase().includes(wanted));
    found.sort((a, b) => (b.last_message?.date ?? 0) - (a.last_message?.date ?? 0));
    $("chats").replaceChildren(...found.slice(0, 300).map(listed));
    $("nobody").hidden = chats.size > 0;
    const unread = [...chats.values()].reduce((sum, chat) => sum + chat.unread, 0);
    document.title = `${unread ? `(${unread}) ` : ""}Kopilka · ${_("Telegram sandbox")}`;
  });
}

async function loadEverything() {
  const found = await ask("GET", "/sandbox/persons?limit=5000");
  chats.clear();
  for (const chat of found) chats.set(chat.id, chat);
  showList();
  if (openId !== null) await open(openId);
}

// --- the open chat

async function open(id) {
  const chat = chats.get(id);
  openId = chat ? id : null;
  document.body.classList.toggle("in-chat", Boolean(chat));
  $("chat").hidden = !chat;
  $("nothing").hidden = Boolean(chat);
  $("commands").hidden = true;
  showList();
  if (!chat) return;
  const loaded = await ask("GET", person("messages"));
  if (openId !== id) return;
  messages.clear();
  for (const message of loaded) messages.set(message.message_id, message);
  showChat();
  await markRead();
}

async function markRead() {
  if (openId !== null && !document.hidden && chats.get(openId)?.unread) await ask("POST", person("read"));
}

function inlineButton(message, button) {
  const label = button.text + (button.url ? " ↗" : "");
  const made = make("button", { type: "button" }, label);
  made.onclick = () => attempt(async () => {
    if (button.url) {
      window.open(button.url, "_blank", "noopener");
      return;
    }
    made.disabled = true;
    try {
      await ask("POST", person("press"), { message_id: message.message_id, data: button.callback_data });
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

function card(contact) {
  const name = [contact.first_name, contact.last_name].filter(Boolean).join(" ");
  return make(
    "div", { className: "contact" }, "👤",
    make("span", {}, name, make("small", {}, `+${contact.phone_number.replace(/^\+/, "")}`)),
  );
}

function bubble(message) {
  const edited = message.edit_date ? `${_("edited")} ` : "";
  const body = make(
    "div", { className: "bubble" },
    message.contact ? card(message.contact) : message.text,
    make("time", {}, edited + clock(message.date)),
  );
  const rows = (message.buttons ?? []).map(
    (row) => make("div", {}, ...row.map((button) => inlineButton(message, button))),
  );
  return make(
    "div", { className: message.from_bot ? "message" : "message mine" },
    body, rows.length ? make("div", { className: "buttons" }, ...rows) : null,
  );
}

function showMessages() {
  const box = $("messages");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  const shown = [];
  let lastDay = null;
  for (const message of [...messages.values()].sort((a, b) => a.message_id - b.message_id)) {
    if (day(message.date) !== lastDay) {
      lastDay = day(message.date);
      shown.push(make("div", { className: "day" }, lastDay));
    }
    shown.push(bubble(message));
  }
  box.replaceChildren(...shown);
  return atEnd;
}

function showChat() {
  const chat = chats.get(openId);
  $("who-avatar").textContent = initials(chat);
  $("who-avatar").style.background = colour(chat.id);
  $("who-name").textContent = fullName(chat);
  showControls();
  showMessages();
  $("messages").scrollTop = $("messages").scrollHeight;
}

function showControls() {
  const chat = chats.get(openId);
  $("who-phone").textContent = `${chat.phone}${chat.blocked ? ` · ${_("has blocked the bot")}` : ""}`;
  $("block").textContent = _("Block");
  $("block").hidden = chat.blocked || !chat.started;
  $("start").hidden = chat.started || chat.blocked;
  $("unblock").hidden = !chat.blocked;
  $("composer").hidden = !chat.started || chat.blocked;
  const rows = chat.blocked ? [] : (chat.keyboard?.keyboard ?? []);
  $("keyboard").replaceChildren(...rows.map((row) => make("div", {}, ...row.map(keyboardButton))));
}

function keyboardButton(button) {
  const made = make("button", { type: "button" }, (button.request_contact ? "📱 " : "") + button.text);
  made.onclick = () => attempt(
    () => button.request_contact ? ask("POST", person("contact")) : ask("POST", person("text"), { text: button.text }),
  );
  return made;
}

const send = (text) => attempt(() => ask("POST", person("text"), { text }));

// --- words over the chat

let toastEnds;

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => { $("toast").hidden = true; }, 4000);
}

function alertOver(text) {
  $("alert").firstElementChild.textContent = text;
  $("alert").showModal();
}

let noteEnds;

function typing() {
  let note = $("messages").querySelector(".note");
  if (!note) {
    note = make("div", { className: "note" }, _("the bot is typing…"));
    $("messages").append(note);
  }
  clearTimeout(noteEnds);
  noteEnds = setTimeout(() => note.remove(), 5000);
}

// --- what happens

const happened = {
  chat({ chat }) {
    chats.set(chat.id, chat);
    showList();
    if (chat.id === openId) {
      showControls();
      attempt(markRead);
    }
  },
  message({ chat, message }) {
    if (chat !== openId) return;
    const isNew = !messages.has(message.message_id);
    messages.set(message.message_id, message);
    const atEnd = showMessages();
    if (isNew && (atEnd || !message.from_bot)) $("messages").scrollTop = $("messages").scrollHeight;
  },
  toast({ chat, text, alert }) {
    if (chat === openId && text) (alert ? alertOver : toast)(text);
  },
  action({ chat }) {
    if (chat === openId) typing();
  },
  commands() {},
  reload() { attempt(loadEverything); },
};

function listen() {
  const stream = new EventSource("/events");
  // After each connection, also a new one: what happened in between is loaded.
  stream.onopen = () => attempt(loadEverything);
  stream.onmessage = (event) => {
    const fact = JSON.parse(event.data);
    happened[fact.kind]?.(fact);
  };
}

// --- what the person at the page does

$("language").onclick = () => attempt(() => speak(language === "ru" ? "en" : "ru"));
$("search").oninput = showList;
$("back").onclick = () => { location.hash = ""; };
$("start").onclick = () => send("/start");
$("block").onclick = () => attempt(() => ask("POST", person("block")));
$("unblock").onclick = () => attempt(() => ask("POST", person("unblock")));
window.onhashchange = () => attempt(() => open(Number(location.hash.slice(1)) || null));
document.onvisibilitychange = () => attempt(markRead);

$("text").oninput = () => {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
};
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
};
$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  $("text").oninput();
  send(text);
};

$("menu").onclick = () => attempt(async () => {
  const commands = await ask("GET", `/sandbox/commands?language_code=${chats.get(openId).language_code}`);
  $("commands").replaceChildren(...commands.map(({ command, description }) => {
    const button = make("button", { type: "button" }, make("b", {}, `/${command}`), description);
    button.onclick = () => {
      $("commands").hidden = true;
      send(`/${command}`);
    };
    return make("li", {}, button);
  }));
  $("commands").hidden = !$("commands").hidden || commands.length === 0;
});

const NAMES = {
  ru: ["Анна Соколова", "Иван Петров", "Мария Орлова", "Олег Белов", "Ольга Волкова", "Пётр Зимин"],
  en: ["Anna Brown", "John Smith", "Mary Clark", "Oliver Stone", "Grace Moore", "Peter White"],
};

$("new").onclick = () => {
  const form = $("person-form");
  const names = NAMES[language];
  const digits = String(Math.floor(Math.random() * 1e7)).padStart(7, "0");
  [form.first_name.value, form.last_name.value] = names[Math.floor(Math.random() * names.length)].split(" ");
  form.phone.value = `+7 916 ${digits.slice(0, 3)}-${digits.slice(3, 5)}-${digits.slice(5)}`;
  form.language_code.value = language;
  $("person-fault").textContent = "";
  $("person").showModal();
};
$("person-cancel").onclick = () => $("person").close();
$("person-form").onsubmit = async (event) => {
  event.preventDefault();
  const { first_name, last_name, phone, language_code } = Object.fromEntries(new FormData(event.target));
  try {
    const chat = await ask(
      "POST", "/sandbox/persons", { first_name, last_name: last_name.trim() || null, phone, language_code },
    );
    chats.set(chat.id, chat);
    $("person").close();
    location.hash = chat.id;
  } catch (error) {
    $("person-fault").textContent = error.message;
  }
};

await speak(language);
openId = Number(location.hash.slice(1)) || null;
listen();
