"use strict";

const $ = (id) => document.getElementById(id);
const INTERVAL = 5000; // of the heartbeat, in ms
const BASE = 200; // the ceiling of the first wait before a reconnect, in ms
const CAP = 5000; // the ceiling of all of them
const PACE = 50; // between two places of a dot, in ms
const MAX_PENDING = 100; // texts that wait for their acknowledgement
const MAX_SHOWN = 500; // rows

// ANCHOR: state
// What outlives a connection: who we are, what we have heard, what we owe.
let me = null; // {room, name, client, next, pending: [{seq, text}]}
let last = "0-0"; // the id of the newest message on this page
let socket = null;
let isIn = false; // has the server welcomed us on this connection?
let attempts = 0;
let began = 0; // when the connection was opened
let heard = 0; // when something last arrived
let asked = 0; // when we sent a ping that has got no answer, or 0

// A reload keeps us who we are. The note is taken out when it is read: the
// browser copies it when somebody duplicates a tab, and two tabs with one
// identity would take each other's texts for copies.
const NOTE = "real-time";
const unload = () => me && sessionStorage.setItem(NOTE, JSON.stringify(me));
const load = () => {
  const note = sessionStorage.getItem(NOTE);
  sessionStorage.removeItem(NOTE);
  return note && JSON.parse(note);
};
// ANCHOR_END: state

// ANCHOR: connect
function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const mine = new WebSocket(`${scheme}//${location.host}/room`);
  socket = mine;
  isIn = false;
  began = heard = Date.now();
  asked = 0;
  show("connecting");
  mine.onopen = () => send(`join ${me.room} ${me.name} ${last} ${me.client}`);
  mine.onmessage = ({ data }) => {
    heard = Date.now();
    asked = 0;
    take(data);
  };
  mine.onclose = ({ code, reason }) => lost(mine, code, reason);
}

function lost(mine, code, reason) {
  if (mine !== socket) return; // given up before
  socket = null;
  isIn = false;
  $("stage").querySelectorAll(".other").forEach((dot) => dot.remove());
  // Our own mistake, or another tab that took over: trying again at once would
  // not help. What else is our mistake (1002, 1007, 1009), this page cannot make.
  if (code === 1008 || code === 4001) {
    show(`stopped: ${reason}`);
    $("enter").hidden = false;
    $("say").hidden = true; // for which room would that be?
    return;
  }
  // Full jitter, as in step 5. Without it, all pages that one server has lost
  // would be back in the same moment.
  const wait = Math.random() * Math.min(CAP, BASE * 2 ** attempts);
  attempts += 1;
  show(`connection lost${reason && ` (${reason})`}, trying again`);
  setTimeout(connect, wait);
}

function send(line) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(line);
}
// ANCHOR_END: connect

// ANCHOR: heartbeat
// The browser answers the server's pings by itself, even if this script hangs,
// and shows us none. So the page asks with messages of its own.
function beat() {
  if (!socket) return;
  const now = Date.now();
  const isOpen = socket.readyState === WebSocket.OPEN;
  if (isOpen && now - began > INTERVAL) attempts = 0;
  const since = isOpen ? asked : began;
  if (since && now - since > 2 * INTERVAL) {
    const dead = socket;
    lost(dead, 0, "no sign of life");
    dead.close(); // may take long: its goodbye gets no answer either
  } else if (isOpen && !asked && now - heard > INTERVAL) {
    asked = now;
    send("ping");
  }
}
// ANCHOR_END: heartbeat

// ANCHOR: take
function take(line) {
  const [word, ...words] = line.split(" ");
  const rest = (n) => words.slice(n).join(" ");
  switch (word) {
    case "welcome":
      isIn = true;
      sent = null; // with the old connection, our dot has gone
      show(`in ${me.room} as ${me.name}`);
      for (const { seq, text } of me.pending) send(`say ${seq} ${text}`);
      break;
    case "message":
      last = words[0];
      row(words[1], rest(2), Number(last.split("-")[0]));
      break;
    case "ack":
      me.pending = me.pending.filter(({ seq }) => seq > Number(words[0]));
      showPending();
      break;
    case "gone":
      note("Some messages are missing here: you were away too long.");
      break;
    case "dot":
      place(`who-${words[0]}`, words[1], words[2], words[3], true);
      break;
    case "left":
      $(`who-${words[0]}`)?.remove();
      break;
  }
}
// ANCHOR_END: take

// ANCHOR: say
// A text is kept until it is acknowledged, and has one number for all its
// copies. They leave in order: the server takes a number that is smaller than
// the last for a copy. So a new text waits for the old ones, which `welcome`
// sends.
function say(text) {
  if (me.pending.length >= MAX_PENDING) return "too many wait already";
  if (new TextEncoder().encode(text).length > 1000) return "that is too long";
  const seq = me.next++;
  me.pending.push({ seq, text });
  showPending();
  if (isIn) send(`say ${seq} ${text}`);
  return "";
}

// A place is worth nothing once there is a newer one. While bytes wait to
// leave, we queue none behind them: the newest goes when there is room.
let wanted = null;
let sent = null;
function sendDot() {
  if (!isIn || wanted === sent || socket.bufferedAmount) return;
  sent = wanted;
  send(`dot ${wanted}`);
}

function moveTo(x, y) {
  const inside = (n) => Math.round(Math.min(1000, Math.max(0, n)));
  place("me", me.name, inside(x), inside(y), false);
  wanted = `${inside(x)} ${inside(y)}`;
}
// ANCHOR_END: say

// ANCHOR: show
// What others wrote becomes text, never HTML: only `textContent`.
function row(name, text, ms) {
  const time = document.createElement("time");
  time.textContent = new Date(ms).toLocaleTimeString();
  const who = document.createElement("b");
  who.textContent = name;
  const what = document.createElement("span");
  what.textContent = text;
  append(time, who, what);
}
// ANCHOR_END: show

function note(text) {
  const words = document.createElement("span");
  words.className = "note";
  words.textContent = text;
  append(words);
}

function append(...parts) {
  const [list, log] = [$("messages"), $("log")];
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const item = document.createElement("li");
  item.append(...parts);
  list.append(item);
  if (list.children.length > MAX_SHOWN) list.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function showPending() {
  const items = me.pending.map(({ text }) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  $("pending").replaceChildren(...items);
}

function show(status) {
  $("status").textContent = status;
}

function place(id, name, x, y, isOther) {
  let dot = $(id);
  if (!dot) {
    dot = document.createElement("div");
    dot.id = id;
    dot.className = isOther ? "dot other" : "dot";
    if (isOther) {
      const hue = (Number(id.slice(4)) * 137) % 360;
      dot.style.setProperty("--dot", `hsl(${hue} 70% 45%)`);
    }
    $("stage").append(dot);
  }
  dot.dataset.name = name;
  dot.dataset.x = x;
  dot.dataset.y = y;
  dot.style.left = `${x / 10}%`;
  dot.style.top = `${y / 10}%`;
}

// ---- What the reader does

function enter(note) {
  me = note;
  $("enter").hidden = true;
  $("inside").hidden = $("say").hidden = false;
  showPending();
  connect();
  $("text").focus();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = $("room").value;
  const name = $("name").value.trim().replace(/\s+/g, "-").normalize("NFC");
  // After a refusal: the same numbers, so that what is in the room already is
  // a copy. What was written for another room stays out of this one.
  if (me?.room === room) return enter({ ...me, name });
  $("messages").replaceChildren();
  last = "0-0";
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const digits = [...bytes].map((b) => b.toString(16).padStart(2, "0"));
  enter({ room, name, client: digits.join(""), next: 1, pending: [] });
});

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.replace(/\p{Cc}/gu, " ").trim();
  const problem = text ? say(text) : "";
  $("problem").textContent = problem && `Not sent: ${problem}.`;
  if (!problem) $("text").value = "";
});

$("stage").addEventListener("pointermove", (event) => {
  const box = $("stage").getBoundingClientRect();
  const part = (at, size) => (1000 * at) / size;
  moveTo(
    part(event.clientX - box.left, box.width),
    part(event.clientY - box.top, box.height),
  );
});

const KEYS = {
  ArrowLeft: [-20, 0],
  ArrowRight: [20, 0],
  ArrowUp: [0, -20],
  ArrowDown: [0, 20],
};
$("stage").addEventListener("keydown", (event) => {
  const by = KEYS[event.key];
  if (!by) return;
  event.preventDefault();
  const { x, y } = $("me")?.dataset ?? { x: 500, y: 500 };
  moveTo(Number(x) + by[0], Number(y) + by[1]);
});

addEventListener("pagehide", unload);
addEventListener("pageshow", load); // back from the browser's cache
setInterval(beat, 1000);
setInterval(sendDot, PACE);

const asks = new URLSearchParams(location.search).get("room");
if (asks) $("room").value = asks;
const saved = load();
if (saved) enter(saved);
